// SPDX-License-Identifier: Apache-2.0
// A real cluster under churn: eight daemons over an origin with a delay, objects that lie at random
// nodes (as jobs with readers of their own on each host leave them), and newer ones that push them
// out. Where an object is in truth is read from the daemons' own memory, which costs them nothing.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/random.h"
#include "bench/servers.h"
#include "holdfast/client.h"
#include "io/shm/attach.h"
#include "jobclient/client/collector.h"

namespace holdfast::bench {

constexpr size_t kNodes = 8;

struct WorldOptions {
  uint64_t node_bytes = 48 * kMiB;
  uint32_t object_bytes = 4 * 1024;
  uint32_t objects = 80'000;  // that the job chooses from
  Duration delay = 30ms;
  double churn_per_s = 1'000;      // other objects that come while the job reads
  uint64_t index_objects = 0;      // of a node; 0: as the daemon chooses
  std::string log_directory = {};  // where to keep the snapshots, for `holdfast snapshot`
};

class World {
 public:
  explicit World(const WorldOptions& options);
  ~World();
  World(const World&) = delete;

  // The dynamic job: a client that has no node of its own.
  Client& client() { return *client_; }
  const std::string& name(uint32_t object) const { return names_[object]; }
  const Oid& oid(uint32_t object) const { return oids_[object]; }

  // Puts `count` random objects at random nodes, whoever else has them.
  void Place(uint32_t count);
  // Puts each of the objects [first, last) at one node.
  void PlaceEach(uint32_t first, uint32_t last);
  // Takes a snapshot and gives it to the nodes.
  Collected Snapshot(bool full = false);
  // Other objects come at options.churn_per_s until Stop; how many came.
  void StartChurn();
  uint64_t StopChurn();
  // The node that has it now, the lowest one; kNoNode when none has. Any thread.
  NodeId Truth(uint32_t object);
  // Requests to the origin so far, of all nodes and of the client.
  uint64_t FarRequests();
  const snapshot::SnapshotLog& log() const { return log_; }

 private:
  // Has `node` fetch these; waits until they are there.
  void Fetch(const std::vector<std::pair<NodeId, std::string>>& wanted);

  WorldOptions options_;
  std::string directory_;
  std::vector<ServerProcess> servers_;
  std::vector<std::unique_ptr<shm::LocalAttachment>> attached_;
  std::unique_ptr<Client> client_;
  std::unique_ptr<Client> other_;  // places and churns
  std::vector<std::string> names_;
  std::vector<Oid> oids_;
  Random random_{1};
  snapshot::SnapshotLog log_;
  std::unique_ptr<SnapshotCollector> collector_;
  size_t full_bytes_ = 0;
  std::vector<std::byte> since_full_;
  std::string log_file_;
  std::thread churn_;
  std::atomic<bool> churning_{false};
  std::atomic<uint64_t> churned_{0};
  uint64_t next_other_ = 0;
};

}  // namespace holdfast::bench
