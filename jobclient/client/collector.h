// SPDX-License-Identifier: Apache-2.0
// Virtual snapshots by way of a client, waited for: snapshot_round.h says how they are taken. For
// programs of this project, not for users of the library.
//
// For one thread at a time; the client must outlive it.
#pragma once

#include <functional>
#include <vector>

#include "holdfast/client.h"
#include "jobclient/client/snapshot_round.h"

namespace holdfast {

class SnapshotCollector {
 public:
  // `log` holds what was collected before, and gets what is collected.
  SnapshotCollector(Client* client, snapshot::SnapshotLog* log) : client_(client), log_(log) {}

  // kUnavailable, and the log as it was, when no node answers at all. `stamp` is the wall clock.
  Result<Collected> Collect(snapshot::Stamp stamp, Duration deadline, bool full);

  // Gives the frame to the nodes that answered, and to those that lack what comes before it
  // `since_full()`: all frames from the last full one on, this one included. How many have it then.
  uint32_t Broadcast(const Collected& collected,
                     const std::function<std::vector<std::byte>()>& since_full, Duration deadline);

 private:
  Client* client_;
  snapshot::SnapshotLog* log_;
};

}  // namespace holdfast
