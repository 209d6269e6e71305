// SPDX-License-Identifier: Apache-2.0
// Serves a node's segments to readers on TCP and unix sockets (wire/bulk_format.h). The payload
// never passes through the deciding thread: this server has I/O threads and a session of its own on
// the node's region.
//
// Small records are gathered: the headers and payloads of many in one system call, each pinned
// until it returns. Large records go by sendfile out of the region's file and stay pinned until the
// reader has said that it took the bytes; when more segments than allowed would be pinned so, they
// are copied instead.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/status.h"
#include "base/units.h"
#include "wire/bulk_format.h"
#include "wire/local_reader.h"

namespace holdfast::bulk {

struct BulkServerOptions {
  // "tcp://127.0.0.1:7071" (port 0: any), "tcp://[::1]:0", "unix:/run/holdfast/bulk.sock"
  std::vector<std::string> endpoints{};
  std::string cluster{};  // both sides' names must be equal
  Token token{};          // all zero: no cluster key
  uint32_t threads = 1;
  // Records of this size and more go by sendfile: where it costs less CPU, both ends counted, than
  // to copy.
  uint64_t sendfile_bytes = 40 * kKiB;

  // Limits. A connection over max_connections is refused with kNoSpace.
  uint32_t max_connections = 1024;
  uint32_t max_pinned_segments = 64;  // of records on their way; beyond it records are copied
  uint32_t max_queued_items = 8192;   // per connection; beyond it the server stops to read from it
  uint32_t max_misses = 65'536;       // handed to the miss handler at a time; beyond it kNoSpace
  Duration pin_timeout = 30s;  // a reader that does not take a record for this long is disconnected
  Duration idle_timeout = 60s;  // a connection without any request for this long is closed
};

struct BulkServerStats {
  uint64_t connections = 0;  // open now
  uint64_t refused = 0;      // handshakes
  uint64_t items = 0;        // answered
  uint64_t hits = 0;         // with kOk
  uint64_t bytes = 0;        // of payload
  uint64_t misses = 0;       // handed to the miss handler
  uint64_t places = 0;       // answered with a place on the disk
  uint64_t timed_out = 0;    // connections closed because a reader stalled
};

class BulkServer {
 public:
  // Listens and starts the threads. `reader` is on a session that nobody else uses, `region_fd` the
  // region's file that it maps (-1: never sendfile); both outlive the server, as does `log` (may be
  // null). `on_miss` may be empty: then every miss is kNotFound. kDenied for an address other than
  // loopback without a token, kInvalid for what is no endpoint, kUnavailable for one in use. A unix
  // socket's stale file is replaced, a live one is "in use".
  static Result<std::unique_ptr<BulkServer>> Start(BulkServerOptions options, LocalReader* reader,
                                                   int region_fd, MissHandler on_miss, Log* log);
  // Closes everything; answers to misses that come later are dropped.
  ~BulkServer();
  BulkServer(const BulkServer&) = delete;

  // As in the options, with real port numbers.
  const std::vector<std::string>& endpoints() const;
  // From any thread.
  BulkServerStats Stats() const;

 private:
  struct Impl;
  explicit BulkServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace holdfast::bulk
