// SPDX-License-Identifier: Apache-2.0
// Stream sockets of bulk connections: endpoints as text, listening, dialling. All sockets are
// non-blocking.
#pragma once

#include <sys/socket.h>

#include <string>
#include <utility>

#include "base/status.h"

namespace holdfast::bulk {

// Owner of a file descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
  Fd& operator=(Fd&& o) noexcept {
    std::swap(fd_, o.fd_);
    return *this;
  }
  ~Fd();
  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

struct Endpoint {
  std::string text;  // as it was given
  sockaddr_storage address{};
  socklen_t length = 0;

  bool tcp() const { return address.ss_family != AF_UNIX; }
  // A unix socket, or an address of 127.0.0.0/8 or ::1.
  bool local() const;
};

// "tcp://127.0.0.1:7071", "tcp://[::1]:7071", "tcp://host:7071", "unix:/path". A host that is no
// number is looked up, which may block for as long as the resolver does. kInvalid with the accepted
// forms; kUnavailable for a host that is not found.
Result<Endpoint> ParseEndpoint(const std::string& text);

// Listens; `endpoint` gets the real port. kUnavailable when it is in use. The file of a unix socket
// that nobody listens to is replaced; a new one is 0660.
Result<Fd> Listen(Endpoint* endpoint);
// Begins to connect: done, or not, when the socket becomes writable (ConnectError).
Result<Fd> Dial(const Endpoint& endpoint);
// What became of a Dial.
Status ConnectError(int fd, const Endpoint& endpoint);

// Of a connected TCP socket: small messages leave at once, and within this host congestion is not
// controlled by pacing. There is none to be measured, and where the system's choice is BBR its timers
// took a third of what a connection carries. Listen and Dial see to loopback addresses themselves,
// before there is a connection: what was paced once, as over another address of this host, keeps its
// timers.
void SetUpTcp(int fd);
// The next close drops what was not sent and tells the peer so.
void SetAbortOnClose(int fd);
// "Connection refused" of an errno.
std::string ErrnoText(int error);

}  // namespace holdfast::bulk
