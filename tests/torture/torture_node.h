// SPDX-License-Identifier: Apache-2.0
// The writing side of a torture: a memory tier with tiny segments that is never at rest.
#pragma once

#include <deque>
#include <string>

#include "base/random.h"
#include "base/status.h"
#include "cached/store/memory_tier.h"
#include "tests/torture/torture_counters.h"

namespace holdfast::torture {

// Memory of 128 segments of 8 KiB.
store::MemoryTierOptions TinyTier(Incarnation incarnation);
Time Now();

// Loads, promises, promises no longer, drops and reclaims at random.
class Churn {
 public:
  Churn(store::MemoryTier* tier, uint64_t seed, NodeCounters* counters)
      : tier_(tier), random_(seed), counters_(counters) {}
  // A few dozen steps.
  void Step();
  // No new records; what is held is let go and what readers have left is freed.
  void Rest();

 private:
  struct Held {
    Oid oid;
    VersionHash version;
  };
  void Load();
  void Publish();

  store::MemoryTier* tier_;
  Random random_;
  NodeCounters* counters_;
  std::deque<Held> held_;
  uint64_t dropped_ = 0;  // what of the tier's count has been added to the counters
};

// A daemon over files in `directory`, until shared->node_ends. The exit code of its process.
int RunNode(const std::string& directory, uint64_t seed, Shared* shared);

}  // namespace holdfast::torture
