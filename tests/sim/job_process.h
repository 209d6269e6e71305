// SPDX-License-Identifier: Apache-2.0
// A training job of the simulation: plans its list, reads it in order for some epochs as the real client library does
// (own memory first, then what the ordered reader brings), holds views for a while, and looks at every byte.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "holdfast/object_list.h"
#include "jobclient/job.h"
#include "jobclient/ordered_reader.h"
#include "tests/sim/node_host.h"

namespace holdfast::sim {

struct JobSetup {
  std::string name;
  HostId host = 0;               // a node's host, or beyond them
  NodeHost* own_node = nullptr;  // on that host; null: none
  jobclient::JobOptions job;
  jobclient::OrderedReaderOptions reader;
  std::vector<uint32_t> objects;  // indices in the far world, in list order
  uint32_t epochs = 1;
  Duration think{};       // mean time between two reads
  double view_share = 0;  // of local reads that are views
  Duration hold_views{};  // longest
};

struct ReadCounts {
  uint64_t reads = 0;
  uint64_t local = 0;
  uint64_t views = 0;
  uint64_t peer = 0;
  uint64_t through_home = 0;
  uint64_t far = 0;
  uint64_t failed = 0;  // because the far store refuses
};

class JobProcess {
 public:
  JobProcess(Fabric* fabric, FarWorld* far, ProcessId process, const JobSetup* setup,
             ReadCounts* counts);
  ~JobProcess();

  void Start();
  // All epochs are read and the job has said that it ends.
  bool done() const { return done_; }
  // As kill -9: pins and session stay as they are until the daemon notices. Afterwards only the destructor may follow.
  void Kill();

  ProcessId process() const { return process_; }
  SimClock& clock() { return env_.clock; }
  const std::optional<jobclient::PlanReport>& report() const { return report_; }
  // For "stuck" messages.
  std::string Where() const;

 private:
  struct HeldView {
    LocalView view;
    uint32_t object = 0;
  };
  void Planned(Result<jobclient::PlanReport> report);
  void StartEpoch();
  void ReadNext();
  void WaitFor(uint64_t ordinal);
  void Ready(uint64_t ordinal, jobclient::ReadResult result);
  bool ExpectLocal(uint32_t index);
  bool ReadLocally(const FarObject& object, uint32_t index);
  bool ViewLocally(const FarObject& object, uint32_t index);
  void Take(jobclient::ReadResult result);
  void Failed(const FarObject& object, const Status& status);
  void Check(const FarObject& object, ByteView bytes, std::string_view what);
  void Advance(uint64_t how, uint64_t hash);
  void ReleaseView(uint64_t id);
  void UseSession();
  const FarObject& ObjectAt(uint64_t ordinal) const {
    return far_->object(setup_->objects[order_[ordinal]]);
  }

  World* world_;
  FarWorld* far_;
  ProcessId process_;
  const JobSetup* setup_;
  ReadCounts* counts_;
  Random random_;
  SimEnv env_;
  ObjectList list_;
  std::shared_ptr<SessionFile> session_;
  std::unique_ptr<jobclient::Job> job_;
  std::unique_ptr<jobclient::OrderedReader> reader_;
  std::optional<jobclient::PlanReport> report_;

  uint32_t epoch_ = 0;
  std::vector<uint32_t> order_;
  uint64_t next_ = 0;
  bool waiting_ = false;
  bool asked_ = false;  // Missed was called for next_
  uint32_t tries_ = 0;  // for next_
  std::map<uint32_t, bool> expected_local_;
  std::map<uint64_t, jobclient::ReadResult> ready_;
  uint64_t last_view_ = 0;
  std::map<uint64_t, HeldView> views_;
  bool done_ = false;
};

}  // namespace holdfast::sim
