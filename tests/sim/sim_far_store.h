// SPDX-License-Identifier: Apache-2.0
// One process's view of the far store, with its latency and its faults. It keeps the contract of
// base/env.h and nothing more: until `done` the caller's memory holds garbage, and on an error it
// stays so.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>

#include "base/env.h"
#include "tests/sim/far_world.h"
#include "tests/sim/sim_clock.h"
#include "tests/sim/world.h"

namespace holdfast::sim {

class SimFarStore : public FarStore {
 public:
  SimFarStore(World* world, FarWorld* far, ProcessId process, const SimClock* clock);

  void Get(FarGet get, std::function<void(Status, FarInfo, uint64_t hash)> done) override;
  void Head(const std::string& uri, Time deadline,
            std::function<void(Result<FarInfo>)> done) override;
  void List(const std::string& prefix, const std::string& token, bool delimited, Time deadline,
            std::function<void(Result<FarPage>)> done) override;
  FarCounters Counters() const override { return counters_; }

  // Did this process get such an error for `uri`? Checkers ask whether a failed read may fail: of one
  // object several pieces may be under way.
  bool FailedWith(const std::string& uri, Code code) const;
  uint64_t in_flight() const { return in_flight_; }

 private:
  struct Plan {
    Duration delay{};
    Code code = Code::
        kOk;  // what goes wrong on the way; the object's own state is looked at when the answer comes
    std::string text;
  };
  Plan PlanGet(const FarGet& get);
  Result<FarInfo> InfoOf(const std::string& uri) const;
  Status Answer(const FarGet& get, const Plan& plan, FarInfo* info);
  void Count(const FarGet& get, const FarObject& object, const FarInfo& info);

  World* world_;
  FarWorld* far_;
  ProcessId process_;
  const SimClock* clock_;
  Random random_;
  FarCounters counters_;
  uint64_t in_flight_ = 0;
  std::map<std::string, std::set<Code>> errors_;
};

}  // namespace holdfast::sim
