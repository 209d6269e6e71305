// SPDX-License-Identifier: Apache-2.0
// Virtual snapshots, taken: asks every node at once what it holds, and makes a frame of the
// snapshot log of the answers (snapshot/log.h). Where the log is kept is the caller's; this is for
// programs of this project, not for users of the library.
//
//   1. Collect    every node's listing, within a deadline; the evidence since the snapshot before
//   2. (the caller writes the frame down)
//   3. Broadcast  the frame to every node; to those that miss frames before it, those as well
//
// For one thread at a time; the client must outlive it.
#pragma once

#include <functional>
#include <vector>

#include "holdfast/client.h"
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

class SnapshotCollector {
 public:
  // `log` holds what was collected before, and gets what is collected.
  SnapshotCollector(Client* client, snapshot::SnapshotLog* log) : client_(client), log_(log) {}

  // kUnavailable, and the log as it was, when no node answers at all. `stamp` is the wall clock.
  Result<Collected> Collect(snapshot::Stamp stamp, Duration deadline, bool full);

  // Gives the nodes `frame`, and to those that lack what comes before it `since_full()`: all frames
  // from the last full one on, this one included. How many have it then.
  uint32_t Broadcast(ByteView frame, const std::function<std::vector<std::byte>()>& since_full,
                     Duration deadline);

 private:
  Client* client_;
  snapshot::SnapshotLog* log_;
};

}  // namespace holdfast
