// SPDX-License-Identifier: Apache-2.0
// The oracle of snapshots. It reads along on the wire: what a node lists is what its index holds
// when it answers, and whoever gets a log from a node, from its full frame on, can read all of it.
#pragma once

#include <cstdint>
#include <functional>
#include <set>

#include "tests/sim/dynamic_counts.h"
#include "tests/sim/fabric.h"
#include "tests/sim/node_host.h"

namespace holdfast::sim {

class Snapshots {
 public:
  Snapshots(World* world, std::function<NodeHost*(ProcessId)> host_of)
      : world_(world), host_of_(std::move(host_of)) {}

  void Observe(const Delivery& delivery);
  const SnapshotCounts& counts() const { return counts_; }

 private:
  void OnListing(NodeHost& host, const wire::SnapshotReply& reply);
  void OnLog(NodeHost& host, const wire::LogReply& reply);

  World* world_;
  std::function<NodeHost*(ProcessId)> host_of_;
  std::set<uint64_t> read_;  // hashes of logs
  SnapshotCounts counts_;
};

}  // namespace holdfast::sim
