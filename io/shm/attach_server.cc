// SPDX-License-Identifier: Apache-2.0
#include "io/shm/attach_server.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>

#include "io/shm/attach.h"

namespace holdfast::shm {
namespace {

bool Watch(int epoll, int fd) {
  struct epoll_event event = {};
  event.events = EPOLLIN;
  event.data.fd = fd;
  return ::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

// False when it does not go out at once: the replies are far smaller than an empty socket's buffer,
// so then the client has been sending without reading.
bool Send(int socket, const AttachReply& reply, const int* fds, size_t fd_count) {
  struct iovec part = {const_cast<AttachReply*>(&reply), sizeof(reply)};
  struct msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(struct cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))] = {};
  if (fd_count > 0) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
    struct cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
    std::memcpy(CMSG_DATA(rights), fds, fd_count * sizeof(int));
  }
  return ::sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) ==
         static_cast<ssize_t>(sizeof(reply));
}

Fd OpenSpare() { return Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

}  // namespace

Result<std::unique_ptr<AttachServer>> AttachServer::Open(AttachServerOptions options) {
  if (options.disk_directory.size() > kAttachTextBytes) options.disk_directory.clear();
  std::unique_ptr<AttachServer> server(new AttachServer(std::move(options)));
  HF_RETURN_IF_ERROR(server->Listen());
  return server;
}

AttachServer::~AttachServer() {
  while (!connections_.empty()) Close(connections_.begin());
  if (listener_) ::unlink(options_.path.c_str());
}

Status AttachServer::Listen() {
  Result<struct sockaddr_un> address = AttachAddress(options_.path);
  if (!address.ok()) return address.status();
  epoll_ = Fd(::epoll_create1(EPOLL_CLOEXEC));
  spare_ = OpenSpare();
  Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!epoll_ || !spare_ || !socket)
    return ErrnoStatus("cannot open a socket for " + options_.path);
  ::unlink(options_.path.c_str());
  if (::bind(socket.get(), reinterpret_cast<struct sockaddr*>(&*address), sizeof(*address)) != 0) {
    return ErrnoStatus("cannot bind " + options_.path);
  }
  // Nobody can connect before listen: the access is right from the first connection on.
  const char* path = options_.path.c_str();
  if ((options_.group && ::lchown(path, static_cast<uid_t>(-1), *options_.group) != 0) ||
      ::chmod(path, options_.group ? 0660 : 0600) != 0) {
    return ErrnoStatus("cannot set the access of " + options_.path);
  }
  if (::listen(socket.get(), kMaxPendingAttaches) != 0 || !Watch(epoll_.get(), socket.get())) {
    return ErrnoStatus("cannot listen at " + options_.path);
  }
  listener_ = std::move(socket);
  return {};
}

void AttachServer::OnReadable(Time now) {
  struct epoll_event events[kMaxPendingAttaches];
  int n = ::epoll_wait(epoll_.get(), events, kMaxPendingAttaches, 0);
  for (int i = 0; i < n; ++i) {
    if (events[i].data.fd == listener_.get()) continue;
    auto connection = connections_.find(events[i].data.fd);
    if (connection != connections_.end()) Read(connection, now);
  }
  // Last, so that a descriptor that was closed above is not taken for the new connection that has
  // its number.
  Accept(now);
}

void AttachServer::OnTick(Time now) {
  for (auto at = connections_.begin(); at != connections_.end();) {
    auto connection = at++;
    if (now - connection->second.since > kAttachWithin) Close(connection);
  }
}

void AttachServer::Accept(Time now) {
  for (size_t turns = 0; turns < kMaxPendingAttaches; ++turns) {
    Fd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!socket && (errno == EMFILE || errno == ENFILE)) {
      spare_.Reset();
      socket = Fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (socket) Refuse(socket.get(), Status::NoSpace("the daemon has no file descriptors left"));
      socket.Reset();
      spare_ = OpenSpare();
      continue;
    }
    if (!socket) return;
    Result<PeerCredentials> peer = CredentialsOf(socket.get());
    if (!peer.ok() || !MayAttach(socket.get(), *peer, options_.group)) {
      Refuse(socket.get(), Status::Denied("this user may not read from this node; join the group "
                                          "that its configuration names"));
      continue;
    }
    if (connections_.size() >= kMaxPendingAttaches || !Watch(epoll_.get(), socket.get())) {
      Refuse(socket.get(), Status::NoSpace("too many processes are attaching at once; try again"));
      continue;
    }
    int number = socket.get();
    connections_.emplace(
        number, Connection{.socket = std::move(socket), .peer = *peer, .session = 0, .since = now});
  }
}

void AttachServer::Read(Connections::iterator connection, Time now) {
  // Larger than any message, so that a longer one is seen to be wrong. Descriptors that a client
  // sends along are closed by the kernel, because there is no room for them here.
  union {
    AttachRequest request;
    AttachLocked locked;
    char bytes[64];
  } message = {.request = {}};
  ssize_t n = ::recv(connection->second.socket.get(), &message, sizeof(message), MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return Close(connection);
  static_assert(sizeof(AttachRequest) == sizeof(AttachLocked));
  if (n != static_cast<ssize_t>(sizeof(AttachRequest)) || message.request.magic != kAttachMagic) {
    Refuse(connection->second.socket.get(), Status::Corrupt("this is not an attach message"));
    return Close(connection);
  }
  if (connection->second.session == 0) {
    OnRequest(connection, message.request, now);
  } else {
    OnLocked(connection, message.locked);
  }
}

void AttachServer::OnRequest(Connections::iterator connection, const AttachRequest& request,
                             Time now) {
  int socket = connection->second.socket.get();
  if (request.version != kAttachVersion || request.layout_version != kLayoutVersion) {
    Refuse(socket,
           Status::Invalid("the daemon speaks attach version " + std::to_string(kAttachVersion) +
                           " and memory layout " + std::to_string(kLayoutVersion) +
                           ", the client " + std::to_string(request.version) + " and " +
                           std::to_string(request.layout_version) +
                           "; use the client library of the daemon's release"));
    return Close(connection);
  }
  Result<SessionFiles::Created> created =
      options_.sessions->Create(static_cast<uint32_t>(connection->second.peer.pid), now);
  if (!created.ok()) {
    Refuse(socket, created.status());
    return Close(connection);
  }
  connection->second.session = created->session;
  AttachReply reply = Reply({});
  reply.session = created->session;
  int fds[2] = {options_.region_fd, created->fd};
  if (!Send(socket, reply, fds, 2)) Close(connection);
}

void AttachServer::OnLocked(Connections::iterator connection, const AttachLocked& locked) {
  uint32_t session = connection->second.session;
  Status status = locked.session == session
                      ? options_.sessions->Confirm(session)
                      : Status::Invalid("the client confirms a session that is not its own");
  if (!status.ok()) {
    Refuse(connection->second.socket.get(), status);
    return Close(connection);
  }
  AttachReply reply = Reply({});
  reply.session = session;
  // A client that does not get this one gives up, and with its lock its session.
  Send(connection->second.socket.get(), reply, nullptr, 0);
  if (options_.log != nullptr) {
    options_.log->Write(LogLevel::kDebug, "process " + std::to_string(connection->second.peer.pid) +
                                              " attached as session " + std::to_string(session));
  }
  Close(connection);
}

void AttachServer::Refuse(int socket, const Status& why) const {
  Send(socket, Reply(why), nullptr, 0);
}

void AttachServer::Close(Connections::iterator connection) {
  if (connection->second.session != 0) options_.sessions->Abandon(connection->second.session);
  connections_.erase(connection);
}

AttachReply AttachServer::Reply(const Status& status) const {
  AttachReply reply;
  reply.code = static_cast<uint8_t>(status.code());
  std::string_view text = std::string_view(status.message()).substr(0, kAttachTextBytes);
  if (status.ok()) text = options_.disk_directory;
  reply.text_bytes = static_cast<uint16_t>(text.size());
  std::memcpy(reply.text, text.data(), text.size());
  reply.node = options_.node;
  reply.incarnation = options_.incarnation;
  reply.region_bytes = options_.region_bytes;
  reply.session_bytes = options_.sessions->session_bytes();
  return reply;
}

}  // namespace holdfast::shm
