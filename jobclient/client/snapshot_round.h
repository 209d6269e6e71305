// SPDX-License-Identifier: Apache-2.0
// Virtual snapshots, taken: asks every node at once what it holds, and makes a frame of the
// snapshot log of the answers (snapshot/log.h). Where the log is kept is the caller's.
//
//   1. AskForListings   every node's, within a deadline
//   2. MakeFrame        of them, with the evidence since the snapshot before
//   3. (the caller writes the frame down)
//   4. BroadcastFrame   to every node; to those that miss frames before it, those as well
//
// 1 and 4 on the loop's thread; 2 takes its time for millions of objects, and may be on another.
#pragma once

#include <functional>
#include <map>
#include <vector>

#include "base/env.h"
#include "jobclient/client/cluster_view.h"
#include "snapshot/log.h"

namespace holdfast {

struct Collected {
  std::vector<std::byte> frame;
  bool full = false;
  uint32_t answered = 0;
  std::vector<NodeId> absent{};  // asked, and silent
  uint64_t objects = 0;          // that the nodes which answered hold
  uint64_t added = 0;            // against the snapshot before
  uint64_t removed = 0;
  double evictions = 0;  // effective ones, that were learned from
  Duration took{};       // from the question to the last listing
};

namespace client {

using Listings = std::map<NodeId, wire::SnapshotReply>;

// Asks `nodes`, of which there is one at least, what they hold, and what they evicted since
// snapshot `previous`. `done` gets, once, what was answered until the deadline.
void AskForListings(ClusterView* cluster, const std::vector<NodeId>& nodes, uint64_t previous,
                    Time deadline, std::function<void(Listings)> done);

// All but `took`. kUnavailable, and the log as it was, when no node answered at all.
Result<Collected> MakeFrame(const std::vector<NodeId>& nodes, const Listings& replies,
                            snapshot::Stamp stamp, bool full, snapshot::SnapshotLog* log);

// Gives `nodes` the frame, and to those that answer, but lack what comes before it, `since_full()`:
// all frames from the last full one on, this one included. `done` gets, once, how many have it by the
// deadline.
void BroadcastFrame(ClusterView* cluster, const std::vector<NodeId>& nodes, ByteView frame,
                    std::function<std::vector<std::byte>()> since_full, Time deadline,
                    std::function<void(uint32_t have)> done);

}  // namespace client
}  // namespace holdfast
