// SPDX-License-Identifier: Apache-2.0
// The daemon's end of attaching (io/shm/attach_protocol.h): a non-blocking acceptor that an event
// loop drives. What clients send is hostile input: whatever it is, the connection ends with a text
// or without, and nothing else happens.
#pragma once

#include <sys/types.h>

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/ids.h"
#include "base/log.h"
#include "base/status.h"
#include "base/units.h"
#include "io/shm/access.h"
#include "io/shm/attach_protocol.h"
#include "io/shm/fd.h"
#include "io/shm/session_files.h"

namespace holdfast::shm {

struct AttachServerOptions {
  std::string
      path;  // of the socket; one that is there is replaced (the region's lock keeps others away)
  std::optional<gid_t> group;  // whose members may attach, besides root and this user
  NodeId node = kNoNode;
  Incarnation incarnation = 0;
  int region_fd = -1;  // open for reading only; outlives the server
  uint64_t region_bytes = 0;
  // Of the node's segments on disk, for clients that can read them; empty: none. A path that does not
  // fit into a reply is not told.
  std::string disk_directory{};
  SessionFiles* sessions = nullptr;  // outlives the server
  Log* log = nullptr;                // may be null
};

constexpr size_t kMaxPendingAttaches = 64;
constexpr Duration kAttachWithin = 5s;  // a connection that has not ended by then is closed

// Not thread-safe: the event loop's.
class AttachServer {
 public:
  static Result<std::unique_ptr<AttachServer>> Open(AttachServerOptions options);
  ~AttachServer();  // closes what is open and removes the socket
  AttachServer(const AttachServer&) = delete;

  // Readable when there is work (an epoll descriptor): level-triggered, for poll, epoll or a ZeroMQ
  // poller.
  int fd() const { return epoll_.get(); }
  void OnReadable(Time now);
  // Closes connections that take too long. Once a second is often enough.
  void OnTick(Time now);

  size_t pending() const { return connections_.size(); }

 private:
  struct Connection {
    Fd socket;
    PeerCredentials peer;
    uint32_t session = 0;  // once one was made for it
    Time since;
  };
  using Connections = std::map<int, Connection>;
  explicit AttachServer(AttachServerOptions options) : options_(std::move(options)) {}
  Status Listen();
  void Accept(Time now);
  void Read(Connections::iterator connection, Time now);
  void OnRequest(Connections::iterator connection, const AttachRequest& request, Time now);
  void OnLocked(Connections::iterator connection, const AttachLocked& locked);
  void Refuse(int socket, const Status& why) const;
  void Close(Connections::iterator connection);
  AttachReply Reply(const Status& status) const;

  AttachServerOptions options_;
  Fd epoll_;
  Fd listener_;
  Fd spare_;  // given up for a moment to accept and refuse when there are no descriptors left
  Connections connections_;
};

}  // namespace holdfast::shm
