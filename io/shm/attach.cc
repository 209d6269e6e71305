// SPDX-License-Identifier: Apache-2.0
#include "io/shm/attach.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <mutex>
#include <string_view>
#include <thread>

#include "io/shm/attach_protocol.h"
#include "io/shm/fd.h"

namespace holdfast::shm {
namespace {

constexpr uint64_t kPopulateSlice = 32 * kMiB;

std::atomic<uint32_t> forks{0};

bool FitsFile(int fd, uint64_t bytes) {
  struct stat info;
  return ::fstat(fd, &info) == 0 && bytes > 0 && static_cast<uint64_t>(info.st_size) == bytes;
}

Result<ByteSpan> Map(int fd, uint64_t bytes, int protection) {
  // A shorter file would end this process with SIGBUS at the first read.
  if (!FitsFile(fd, bytes))
    return Status::Corrupt("the daemon's file has not the size that it says");
  void* at = ::mmap(nullptr, bytes, protection, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) return ErrnoStatus("cannot map the node's memory");
  return ByteSpan(static_cast<std::byte*>(at), bytes);
}

Status Lock(int fd) {
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = 0;
  lock.l_len = 1;
  if (::fcntl(fd, F_SETLK, &lock) == 0) return {};
  return ErrnoStatus("cannot lock the session");
}

Status Timed(const std::string& what) {
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINPROGRESS) {
    return Status::Timeout("the daemon does not answer (" + what + ")");
  }
  return ErrnoStatus(what);
}

}  // namespace

const std::atomic<uint32_t>* ForkCounter() {
  static std::once_flag registered;
  std::call_once(registered, [] {
    ::pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); });
  });
  return &forks;
}

Result<struct sockaddr_un> AttachAddress(const std::string& path) {
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return Status::Invalid("the path \"" + path + "\" of a socket must have 1 to " +
                           std::to_string(sizeof(address.sun_path) - 1) +
                           " bytes; choose a shorter directory");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

// The page tables of a region, built beside the first reads.
struct LocalAttachment::Populator {
  std::atomic<bool> stop{false};
  std::atomic<bool> ended{false};
};

// The conversation of one AttachLocal, step by step.
class Attaching {
 public:
  explicit Attaching(const LocalAttachOptions& options)
      : options_(options), attachment_(new LocalAttachment()) {}

  Status Connect();
  Status Ask();
  Status MapAndLock();
  Status Confirm();
  Status OpenReader();
  std::unique_ptr<LocalAttachment> Take() { return std::move(attachment_); }

 private:
  Status Send(const void* bytes, size_t size);
  // Descriptors are taken when there are exactly two; more or fewer are closed.
  Status Receive();
  void TakeDescriptors(struct msghdr* message);

  const LocalAttachOptions& options_;
  std::unique_ptr<LocalAttachment> attachment_;
  Fd socket_;
  Fd region_;
  Fd session_;
  AttachReply reply_;
};

Status Attaching::Connect() {
  Result<struct sockaddr_un> address = AttachAddress(options_.path);
  if (!address.ok()) return address.status();
  socket_ = Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket_) return ErrnoStatus("cannot open a socket");
  auto us = std::max<int64_t>(options_.timeout.count(), 1);
  struct timeval limit = {.tv_sec = us / 1'000'000, .tv_usec = us % 1'000'000};
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  if (::connect(socket_.get(), reinterpret_cast<struct sockaddr*>(&*address), sizeof(*address)) ==
      0) {
    return {};
  }
  if (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTDIR) {
    return Status::Unavailable("no daemon listens at " + options_.path +
                               "; is cached running here?");
  }
  if (errno == EACCES) {
    return Status::Denied("this user may not open " + options_.path +
                          "; join the group that the node's configuration names");
  }
  return Timed("connecting to " + options_.path);
}

Status Attaching::Ask() {
  AttachRequest request;
  request.layout_version = kLayoutVersion;
  HF_RETURN_IF_ERROR(Send(&request, sizeof(request)));
  HF_RETURN_IF_ERROR(Receive());
  if (!region_ || !session_) return Status::Corrupt("the daemon sent no memory");
  attachment_->node_ = reply_.node;
  attachment_->session_ = reply_.session;
  attachment_->disk_directory_.assign(reply_.text, reply_.text_bytes);
  return {};
}

Status Attaching::MapAndLock() {
  Result<ByteSpan> region = Map(region_.get(), reply_.region_bytes, PROT_READ);
  if (!region.ok()) return region.status();
  attachment_->region_ = *region;
  Result<ByteSpan> session = Map(session_.get(), reply_.session_bytes, PROT_READ | PROT_WRITE);
  if (!session.ok()) return session.status();
  attachment_->session_memory_ = *session;
  attachment_->forks_ = ForkCounter()->load(std::memory_order_relaxed);
  // Moved and never duplicated: closing a duplicate would drop the lock.
  attachment_->session_fd_ = std::move(session_);
  return Lock(attachment_->session_fd_.get());
}

Status Attaching::Confirm() {
  AttachLocked locked;
  locked.session = attachment_->session_;
  HF_RETURN_IF_ERROR(Send(&locked, sizeof(locked)));
  return Receive();
}

Status Attaching::OpenReader() {
  Result<std::unique_ptr<LocalReader>> reader =
      LocalReader::Open(attachment_->region_, attachment_->session_memory_, ForkCounter(),
                        [] { return WallTime{std::time(nullptr)}; });
  if (!reader.ok()) return reader.status();
  attachment_->reader_ = std::move(*reader);
  if (options_.populate) attachment_->Populate();
  return {};
}

Status Attaching::Send(const void* bytes, size_t size) {
  if (::send(socket_.get(), bytes, size, MSG_NOSIGNAL) == static_cast<ssize_t>(size)) return {};
  // A daemon that refuses at once has closed its end, but its reason is still there to be read.
  if (errno == EPIPE || errno == ECONNRESET) return {};
  return Timed("asking " + options_.path);
}

Status Attaching::Receive() {
  struct iovec part = {&reply_, sizeof(reply_)};
  alignas(struct cmsghdr) char control[CMSG_SPACE(8 * sizeof(int))];
  struct msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  // A daemon that refuses before it has read what was sent resets the connection, which is told
  // before its reason is.
  ssize_t n = -1;
  for (int resets = 0; n < 0 && resets < 2; resets += errno == ECONNRESET ? 1 : 0) {
    n = ::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC);
    if (n < 0 && errno != EINTR && errno != ECONNRESET) break;
  }
  if (n < 0) return Timed("waiting for " + options_.path);
  TakeDescriptors(&message);
  if (n == 0) return Status::Unavailable("the daemon closed the connection; is it stopping?");
  if (n != static_cast<ssize_t>(sizeof(reply_)) || reply_.magic != kAttachMagic ||
      reply_.text_bytes > kAttachTextBytes || reply_.code > static_cast<uint8_t>(Code::kTimeout)) {
    return Status::Corrupt(options_.path + " is not the socket of a daemon of this version");
  }
  if (reply_.code == 0) return {};
  return {static_cast<Code>(reply_.code), std::string(reply_.text, reply_.text_bytes)};
}

void Attaching::TakeDescriptors(struct msghdr* message) {
  for (struct cmsghdr* c = CMSG_FIRSTHDR(message); c != nullptr; c = CMSG_NXTHDR(message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int number;
      std::memcpy(&number, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
      Fd fd(number);
      if (count == 2 && !region_ && i == 0) region_ = std::move(fd);
      if (count == 2 && !session_ && i == 1) session_ = std::move(fd);
    }
  }
}

Result<std::unique_ptr<LocalAttachment>> AttachLocal(const LocalAttachOptions& options) {
  Attaching attaching(options);
  HF_RETURN_IF_ERROR(attaching.Connect());
  HF_RETURN_IF_ERROR(attaching.Ask());
  HF_RETURN_IF_ERROR(attaching.MapAndLock());
  HF_RETURN_IF_ERROR(attaching.Confirm());
  HF_RETURN_IF_ERROR(attaching.OpenReader());
  return attaching.Take();
}

// Detached, so that a forked child, which does not have the thread, has nothing to join.
void LocalAttachment::Populate() {
  populator_ = std::make_shared<Populator>();
  std::thread([region = region_, populator = populator_] {
    for (uint64_t at = 0; at < region.size() && !populator->stop.load(std::memory_order_relaxed);
         at += kPopulateSlice) {
      // Kernels before 5.14 do not know it; then the pages come as they are read.
      uint64_t slice = std::min<uint64_t>(kPopulateSlice, region.size() - at);
      if (::madvise(region.data() + at, slice, MADV_POPULATE_READ) != 0) break;
    }
    populator->ended.store(true, std::memory_order_release);
    populator->ended.notify_all();
  }).detach();
}

LocalAttachment::~LocalAttachment() {
  bool here = ForkCounter()->load(std::memory_order_relaxed) == forks_;
  if (populator_ != nullptr && here) {
    populator_->stop.store(true, std::memory_order_relaxed);
    populator_->ended.wait(false, std::memory_order_acquire);
  }
  reader_.reset();
  if (!region_.empty()) ::munmap(region_.data(), region_.size());
  if (!session_memory_.empty()) ::munmap(session_memory_.data(), session_memory_.size());
}  // the descriptor is closed after this, and with it goes the lock

}  // namespace holdfast::shm
