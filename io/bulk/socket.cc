// SPDX-License-Identifier: Apache-2.0
#include "io/bulk/socket.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <system_error>

#include "base/bytes.h"

namespace holdfast::bulk {
namespace {

Status BadEndpoint(const std::string& text) {
  return Status::Invalid("bulk endpoint '" + text +
                         "' is not of the form tcp://HOST:PORT, tcp://[IPV6]:PORT or unix:/PATH");
}

Result<Endpoint> ParseUnix(const std::string& text) {
  Endpoint endpoint{.text = text};
  std::string path = text.substr(sizeof("unix:") - 1);
  auto* un = reinterpret_cast<sockaddr_un*>(&endpoint.address);
  if (path.empty() || path[0] != '/' || path.find('\0') != std::string::npos) {
    return BadEndpoint(text);
  }
  if (path.size() >= sizeof(un->sun_path)) {
    return Status::Invalid("bulk endpoint '" + text + "': the path of a unix socket has at most " +
                           std::to_string(sizeof(un->sun_path) - 1) + " bytes");
  }
  un->sun_family = AF_UNIX;
  std::memcpy(un->sun_path, path.data(), path.size());
  endpoint.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return endpoint;
}

// A live listener answers; a stale file refuses, and may be replaced.
bool SomebodyListens(const Endpoint& endpoint) {
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return true;
  int error = 0;
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&endpoint.address), endpoint.length)) {
    error = errno;
  }
  return error != ECONNREFUSED && error != ENOENT;
}

ByteView HostOf(const sockaddr_storage& address) {
  const void* host = &reinterpret_cast<const sockaddr_in*>(&address)->sin_addr;
  size_t bytes = sizeof(in_addr);
  if (address.ss_family == AF_INET6) {
    host = &reinterpret_cast<const sockaddr_in6*>(&address)->sin6_addr;
    bytes = sizeof(in6_addr);
  }
  return {static_cast<const std::byte*>(host), bytes};
}

// Both ends are this host's. A socket that is connecting may not know yet.
bool StaysOnHost(int fd) {
  Endpoint own;
  sockaddr_storage peer{};
  socklen_t own_bytes = sizeof(own.address), peer_bytes = sizeof(peer);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&own.address), &own_bytes) != 0) return false;
  if (own.local()) return true;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &peer_bytes) != 0) return false;
  return std::ranges::equal(HostOf(own.address), HostOf(peer));
}

// With the congestion control that every system allows.
void DoNotPace(int fd) {
  constexpr std::string_view kUnpaced = "reno";
  setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, kUnpaced.data(), kUnpaced.size());
}

Status CannotListen(const Endpoint& endpoint, int error) {
  Code code = error == EACCES ? Code::kDenied : Code::kUnavailable;
  return {
      code,
      "cannot listen on " + endpoint.text + ": " + ErrnoText(error) +
          (error == EADDRINUSE ? "; choose another address or stop the process that has it" : "")};
}

}  // namespace

Fd::~Fd() {
  if (fd_ >= 0) close(fd_);
}

std::string ErrnoText(int error) { return std::generic_category().message(error); }

bool Endpoint::local() const {
  if (address.ss_family == AF_INET) {
    auto* in = reinterpret_cast<const sockaddr_in*>(&address);
    return (ntohl(in->sin_addr.s_addr) >> 24) == 127;
  }
  if (address.ss_family == AF_INET6) {
    return IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6*>(&address)->sin6_addr);
  }
  return address.ss_family == AF_UNIX;
}

Result<Endpoint> ParseEndpoint(const std::string& text) {
  if (text.starts_with("unix:")) return ParseUnix(text);
  size_t colon = text.rfind(':');
  constexpr size_t kScheme = sizeof("tcp://") - 1;
  if (!text.starts_with("tcp://") || colon < kScheme + 1 || colon + 1 >= text.size()) {
    return BadEndpoint(text);
  }
  std::string host = text.substr(kScheme, colon - kScheme);
  std::string port = text.substr(colon + 1);
  bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  bool digits = port.size() <= 5 && port.find_first_not_of("0123456789") == std::string::npos;
  if (!digits || std::stoi(port) > 65535 || (!bracketed && host.find(':') != std::string::npos)) {
    return BadEndpoint(text);
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &found); error != 0) {
    return Status::Unavailable("bulk endpoint '" + text + "': " + gai_strerror(error));
  }
  Endpoint endpoint{.text = text};
  std::memcpy(&endpoint.address, found->ai_addr, found->ai_addrlen);
  endpoint.length = found->ai_addrlen;
  freeaddrinfo(found);
  return endpoint;
}

Result<Fd> Listen(Endpoint* endpoint) {
  Fd fd(socket(endpoint->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return CannotListen(*endpoint, errno);
  auto* address = reinterpret_cast<sockaddr*>(&endpoint->address);
  if (endpoint->tcp()) {
    int on = 1;
    setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (endpoint->local()) DoNotPace(fd.get());
  } else {
    if (SomebodyListens(*endpoint)) return CannotListen(*endpoint, EADDRINUSE);
    unlink(reinterpret_cast<sockaddr_un*>(address)->sun_path);
  }
  if (bind(fd.get(), address, endpoint->length) != 0) return CannotListen(*endpoint, errno);
  if (!endpoint->tcp() && chmod(reinterpret_cast<sockaddr_un*>(address)->sun_path, 0660) != 0) {
    return CannotListen(*endpoint, errno);
  }
  if (listen(fd.get(), 256) != 0) return CannotListen(*endpoint, errno);
  if (endpoint->tcp()) {
    socklen_t length = sizeof(endpoint->address);
    if (getsockname(fd.get(), address, &length) != 0) return CannotListen(*endpoint, errno);
    // sin_port and sin6_port lie at the same place.
    uint16_t port = ntohs(reinterpret_cast<sockaddr_in*>(address)->sin_port);
    endpoint->text = endpoint->text.substr(0, endpoint->text.rfind(':') + 1) + std::to_string(port);
  }
  return fd;
}

Result<Fd> Dial(const Endpoint& endpoint) {
  Fd fd(socket(endpoint.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (fd && endpoint.tcp() && endpoint.local()) DoNotPace(fd.get());
  int error = 0;
  if (!fd) {
    error = errno;
  } else if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&endpoint.address),
                     endpoint.length) != 0 &&
             errno != EINPROGRESS) {
    error = errno;
  }
  if (error != 0) {
    return Status::Unavailable("cannot connect to " + endpoint.text + ": " + ErrnoText(error));
  }
  if (endpoint.tcp()) SetUpTcp(fd.get());
  return fd;
}

Status ConnectError(int fd, const Endpoint& endpoint) {
  int error = 0;
  socklen_t length = sizeof(error);
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) error = errno;
  if (error == 0) return {};
  return Status::Unavailable("cannot connect to " + endpoint.text + ": " + ErrnoText(error));
}

void SetUpTcp(int fd) {
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (StaysOnHost(fd)) DoNotPace(fd);
}

void SetAbortOnClose(int fd) {
  linger abort{.l_onoff = 1, .l_linger = 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort, sizeof(abort));
}

}  // namespace holdfast::bulk
