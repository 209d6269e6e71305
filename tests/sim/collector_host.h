// SPDX-License-Identifier: Apache-2.0
// A host with a snapshot log on its disk, and the collector that runs there now, if one does: at
// random times it asks the nodes what they hold, writes the frame down, and gives it to them. It is
// killed between any two of these, and may start again with an old log.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "jobclient/client/cluster_view.h"
#include "jobclient/client/snapshot_round.h"
#include "snapshot/log.h"
#include "tests/sim/dynamic_counts.h"
#include "tests/sim/node_host.h"

namespace holdfast::sim {

struct CollectorSetup {
  std::string name;
  HostId host = 0;
  jobclient::JobOptions job;  // cluster and members
  Duration pause{};           // mean, between two rounds
  Duration deadline{};
  double full_share = 0;  // of frames
};

class CollectorHost {
 public:
  CollectorHost(Fabric* fabric, FarWorld* far, CollectorSetup setup, CollectorCounts* counts);
  ~CollectorHost();

  void Start();
  // As kill -9. The last `forget` frames were not on the disk yet, or it is that of a backup.
  void Kill(uint64_t forget);
  bool up() const { return process_ != nullptr; }
  ProcessId process() const { return process_->id; }
  SimClock& clock() { return process_->env.clock; }
  size_t frames() const { return disk_.size(); }

  // Begins no more rounds.
  void Stop() { stopped_ = true; }
  bool done() const { return stopped_ && !collecting_; }
  // One more round, all of whose nodes must answer, and must have the frame then.
  void CollectFromAll();

 private:
  struct Process {
    ProcessId id;
    SimEnv env;
    client::ClusterView cluster;
    snapshot::SnapshotLog log;
    Process(Fabric* fabric, FarWorld* far, ProcessId p, const CollectorSetup& setup,
            SimClockOptions clock)
        : id(p),
          env(fabric, far, p, setup.host, clock, ""),
          cluster(env.env(), setup.job),
          log(snapshot::ClusterHash(setup.job.cluster)) {}
  };
  void Later(std::function<void()> run);
  void Pause();
  void Collect();
  void Write(const client::Listings& listings);
  void Broadcast();
  void Ended(uint32_t have);
  std::vector<std::byte> SinceFull() const;
  snapshot::Stamp Now() const;

  Fabric* fabric_;
  World* world_;
  FarWorld* far_;
  CollectorSetup setup_;
  CollectorCounts* counts_;
  std::vector<NodeId> nodes_;
  Random random_;
  uint32_t starts_ = 0;
  std::vector<std::vector<std::byte>> disk_;  // frames
  std::unique_ptr<Process> process_;
  bool collecting_ = false;
  bool stopped_ = false;
  bool all_ = false;  // the round under way is CollectFromAll's
};

}  // namespace holdfast::sim
