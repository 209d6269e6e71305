// SPDX-License-Identifier: Apache-2.0
// A whole cluster in one process, from its first event to its last: nodes, jobs, faults, checkers.
//
//   0 s      nodes start; jobs start within 15 s; faults happen
//   40 s     faults end: partitions are mended, everybody is started again
//   then     every job must finish, and so every read of those that announce nothing; a collector reaches all nodes;
//            promises and leases run out; what is left in the nodes' books must be nothing
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/sim/dynamic_access.h"
#include "tests/sim/fabric.h"
#include "tests/sim/far_world.h"
#include "tests/sim/grants.h"
#include "tests/sim/job_process.h"
#include "tests/sim/node_host.h"
#include "tests/sim/promises.h"
#include "tests/sim/scenario.h"
#include "tests/sim/stream_access.h"
#include "tests/sim/visitors.h"
#include "tests/sim/world.h"

namespace holdfast::sim {

// Spill-over, as the nodes have counted it that were up at the end.
struct SpillCounts {
  uint64_t guests = 0;
  uint64_t disk_guests = 0;
  uint64_t reads = 0;
  uint64_t kept = 0;
  uint64_t given_up = 0;
  uint64_t sent = 0;    // by homes to where something lodges
  uint64_t lifted = 0;  // from the own disk

  SpillCounts& operator+=(const SpillCounts& o) {
    guests += o.guests, disk_guests += o.disk_guests, reads += o.reads;
    kept += o.kept, given_up += o.given_up, sent += o.sent, lifted += o.lifted;
    return *this;
  }
};

// What a seed's run did.
struct RunReport {
  uint64_t seed = 0;
  Verdict verdict = Verdict::kOk;
  uint64_t trace = 0;
  uint64_t events = 0;
  uint64_t messages = 0;
  double simulated_s = 0;
  FaultCounts faults{};
  bool faultless = false;
  bool ample = false;
  ReadCounts reads;
  PromiseCounts promises;
  VisitCounts visits;
  DynamicAccessCounts dynamic;
  StreamCounts streams;
  SpillCounts spill;
  uint64_t planned_objects = 0;   // in plans, but for those that are too large for any node
  uint64_t covered_objects = 0;   // of those, promised by a node
  uint64_t far_gets = 0;          // that succeeded
  uint64_t distinct_objects = 0;  // (object, version) that were fetched
  uint64_t dropped_objects = 0;   // by reclaim
  uint64_t moved_bytes = 0;       // by reclaim
  uint64_t grants = 0;            // by homes
  uint32_t deepest_queue = 0;
};

class Cluster {
 public:
  Cluster(uint64_t seed, std::FILE* trace);
  ~Cluster();

  // Runs to the end, or to the first thing that is wrong.
  RunReport Run();
  World& world() { return world_; }

  // For chaos.
  std::vector<std::unique_ptr<NodeHost>>& hosts() { return hosts_; }
  size_t jobs() const { return jobs_.size(); }
  bool JobRuns(size_t job) const {
    return jobs_[job].process != nullptr && !jobs_[job].process->done();
  }
  JobProcess& job(size_t job) { return *jobs_[job].process; }
  // Starts a job again after `delay`, or never.
  void KillJob(size_t job, bool again, Duration delay);
  DynamicAccess& dynamic() { return dynamic_; }
  StreamAccess& streams() { return streams_; }
  size_t machines() const {
    return hosts_.size() + jobs_.size() + dynamic_.machines() + streams_.machines();
  }
  Fabric& fabric() { return fabric_; }
  FarWorld& far() { return far_; }

 private:
  struct JobSlot {
    JobSetup setup;
    std::unique_ptr<JobProcess> process;
    uint32_t starts = 0;
    bool abandoned = false;
  };
  void StartJob(size_t job);
  void LookAround();
  void StopFaults();
  bool AllJobsDone() const;
  bool DynamicDone() const { return dynamic_.done(); }
  bool StreamsDone() const { return streams_.done(); }
  void EndDynamic();
  void EndStreams();
  void RunUntil(Time end, bool (Cluster::*enough)() const);
  void CheckNode(NodeHost& host);
  void CheckEmpty(NodeHost& host);
  NodeHost* HostOf(ProcessId process) const;
  void NoteLease(const Delivery& delivery);
  void CheckFarGets();
  void AddPlan(const JobProcess& job);
  RunReport Report();

  World world_;
  FarWorld far_;
  Fabric fabric_;
  Random random_;
  Scenario scenario_;
  Promises promises_;
  Grants grants_;
  std::set<ProcessId> long_leases_;  // daemons that have jobs for longer than a run
  std::vector<std::unique_ptr<NodeHost>> hosts_;
  DynamicAccess dynamic_;
  StreamAccess streams_;
  std::vector<Visitor> visitors_;
  std::vector<JobSlot> jobs_;
  RunReport report_;
  Time jobs_ended_{};
};

}  // namespace holdfast::sim
