// SPDX-License-Identifier: Apache-2.0
// Reads many objects from nodes' bulk servers into the caller's buffers: connections are kept per
// endpoint, requests pipelined within a window, payloads received in place where they are large,
// and verified against their XXH3.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/env.h"
#include "base/units.h"
#include "wire/bulk_format.h"

namespace holdfast::bulk {

struct BulkClientOptions {
  std::string cluster{};
  Token token{};
  uint32_t connections_per_endpoint = 1;
  uint32_t window_items = 1024;           // asked for and not answered, per connection
  uint64_t window_bytes = 32 * kMiB;      // the same by room for the bytes; one item always goes
  uint32_t max_queued_items = 8'000'000;  // over all Reads; beyond it kNoSpace
  uint32_t max_endpoints = 4096;
  Duration connect_timeout = 5s;
  Duration idle_timeout =
      20s;  // below the server's, so that no request meets a connection about to close
  Duration backoff_min =
      20ms;  // after a failure new Reads fail at once for this long, doubled each time
  Duration backoff_max = 2s;
};

// Thread-safe. One I/O thread.
class BulkClient {
 public:
  explicit BulkClient(BulkClientOptions options);
  // Everything that is still open ends with kUnavailable, before this returns.
  ~BulkClient();
  BulkClient(const BulkClient&) = delete;

  // `each` runs exactly once per item, on the I/O thread, in any order, never inside this call; it
  // must not block and may call Read. `deadline` is on CLOCK_MONOTONIC in microseconds. An item's
  // `into` is written until its `each` runs, and never after. Outcomes:
  //   kOk           into[0, size) holds the bytes, verified; version is set
  //   kNotFound     the node does not have it (kLook), nobody loads it (kWait), it does not exist
  //   (kFetch) kNoSpace      `into` is too small (size > 0 says what it takes), or a limit was
  //   reached kTimeout      the deadline passed kUnavailable  the connection could not be made, or
  //   broke; the same for a while after (backoff) kDenied       the node refuses us: token or
  //   cluster name kCorrupt      the bytes failed their checksum, or the peer does not speak the
  //   protocol
  // and whatever the node's miss handler says. Names are sent with kFetch only.
  //
  // With `placed` the reader says that it can read the segments of this node's disk itself. It runs
  // instead of `each`, under the same rules, for an item that the node has only told the place of.
  void Read(const std::string& endpoint, BulkMode mode, std::vector<BulkItem> items, Time deadline,
            std::function<void(size_t index, BulkOutcome outcome)> each,
            std::function<void(size_t index, disk::Place place)> placed = {});

  // CLOCK_MONOTONIC now, for deadlines.
  static Time Now();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace holdfast::bulk
