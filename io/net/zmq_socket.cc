// SPDX-License-Identifier: Apache-2.0
#include "io/net/zmq_socket.h"

#include <zmq.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace holdfast::net {
namespace {

// Smaller frames are copied: on the way out it is cheaper than a reference, on the way in ZeroMQ's
// message may be a part of a larger receive buffer that it would keep alive, and its bytes lie at
// odd addresses.
constexpr size_t kCopyBelowBytes = 2048;

// What one peer's copy of a frame holds on to.
struct Lease {
  std::shared_ptr<const Buffer> frame;
  std::shared_ptr<ByteGauge> gauge;
  // ZeroMQ's own queues already order a lease's making before its end; this says so to
  // ThreadSanitizer, which cannot see into the library.
  std::atomic<bool> made{false};
};

void EndLease(void*, void* hint) {
  std::unique_ptr<Lease> lease(static_cast<Lease*>(hint));
  HF_CHECK(lease->made.load(std::memory_order_acquire));
  lease->gauge->fetch_sub(lease->frame->size(), std::memory_order_relaxed);
}

void CopyInto(zmq_msg_t* part, ByteView bytes) {
  HF_CHECK(zmq_msg_init_size(part, bytes.size()) == 0);
  if (!bytes.empty()) std::memcpy(zmq_msg_data(part), bytes.data(), bytes.size());
}

void InitPart(zmq_msg_t* part, const std::shared_ptr<const Buffer>& frame,
              const std::shared_ptr<ByteGauge>& gauge) {
  if (frame->size() < kCopyBelowBytes) return CopyInto(part, frame->view());
  gauge->fetch_add(frame->size(), std::memory_order_relaxed);
  auto* lease = new Lease{frame, gauge};
  lease->made.store(true, std::memory_order_release);
  // ZeroMQ asks for mutable bytes and does not write them.
  HF_CHECK(zmq_msg_init_data(part, const_cast<std::byte*>(frame->data()), frame->size(), EndLease,
                             lease) == 0);
}

bool SendPart(void* socket, zmq_msg_t* part, bool more) {
  int rc;
  do {
    rc = zmq_msg_send(part, socket, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0));
  } while (rc < 0 && errno == EINTR);
  if (rc < 0) {
    int error = errno;
    zmq_msg_close(part);
    errno = error;
  }
  return rc >= 0;
}

void FreeMessage(void* context) {
  auto* part = static_cast<zmq_msg_t*>(context);
  zmq_msg_close(part);
  delete part;
}

// Takes `part`.
Buffer BufferOf(zmq_msg_t* part) {
  auto* data = static_cast<std::byte*>(zmq_msg_data(part));
  size_t size = zmq_msg_size(part);
  if (size < kCopyBelowBytes) {
    Buffer copy = Buffer::CopyOf({data, size});
    zmq_msg_close(part);
    return copy;
  }
  auto* owned = new zmq_msg_t;
  zmq_msg_init(owned);
  HF_CHECK(zmq_msg_move(owned, part) == 0);
  zmq_msg_close(part);
  return Buffer::Adopt(static_cast<std::byte*>(zmq_msg_data(owned)), size, FreeMessage, owned);
}

}  // namespace

SharedFrames::SharedFrames(Frames frames) : bytes_(frames.bytes()) {
  frames_.push_back(std::make_shared<const Buffer>(std::move(frames.head)));
  for (Buffer& column : frames.columns) {
    frames_.push_back(std::make_shared<const Buffer>(std::move(column)));
  }
}

Result<ZmqSocket> ZmqSocket::Open(void* context, int type) {
  void* socket = zmq_socket(context, type);
  if (socket == nullptr) {
    return Status::Unavailable(std::string("a control socket cannot be made: ") +
                               zmq_strerror(errno));
  }
  return ZmqSocket(socket);
}

ZmqSocket::~ZmqSocket() {
  if (socket_ != nullptr) zmq_close(socket_);
}

void ZmqSocket::Set(int option, int value) {
  HF_CHECK(zmq_setsockopt(socket_, option, &value, sizeof(value)) == 0);
}

void ZmqSocket::Set(int option, int64_t value) {
  HF_CHECK(zmq_setsockopt(socket_, option, &value, sizeof(value)) == 0);
}

void ZmqSocket::Set(int option, std::string_view bytes) {
  HF_CHECK(zmq_setsockopt(socket_, option, bytes.data(), bytes.size()) == 0);
}

int ZmqSocket::Bind(const std::string& endpoint) {
  return zmq_bind(socket_, endpoint.c_str()) == 0 ? 0 : errno;
}

int ZmqSocket::Connect(const std::string& endpoint) {
  return zmq_connect(socket_, endpoint.c_str()) == 0 ? 0 : errno;
}

std::string ZmqSocket::LastEndpoint() const {
  char text[512];
  size_t size = sizeof(text);
  HF_CHECK(zmq_getsockopt(socket_, ZMQ_LAST_ENDPOINT, text, &size) == 0);
  return text;
}

int ZmqSocket::Fd() const {
  int fd = -1;
  size_t size = sizeof(fd);
  HF_CHECK(zmq_getsockopt(socket_, ZMQ_FD, &fd, &size) == 0);
  return fd;
}

bool ZmqSocket::Readable() const {
  int events = 0;
  size_t size = sizeof(events);
  return zmq_getsockopt(socket_, ZMQ_EVENTS, &events, &size) == 0 && (events & ZMQ_POLLIN) != 0;
}

ZmqSocket::Received ZmqSocket::Receive(std::vector<Buffer>* parts, size_t most) {
  parts->clear();
  bool too_many = false;
  for (;;) {
    zmq_msg_t part;
    zmq_msg_init(&part);
    if (zmq_msg_recv(&part, socket_, ZMQ_DONTWAIT) < 0) {
      zmq_msg_close(&part);
      if (errno == EINTR) continue;
      return Received::kNothing;  // only before the first part: messages arrive whole
    }
    bool more = zmq_msg_more(&part) != 0;
    if (parts->size() == most) {
      too_many = true;
      zmq_msg_close(&part);
    } else {
      parts->push_back(BufferOf(&part));
    }
    if (!more) return too_many ? Received::kTooManyParts : Received::kMessage;
  }
}

ZmqSocket::Sent ZmqSocket::Send(const std::string* identity, const SharedFrames& frames,
                                const std::shared_ptr<ByteGauge>& gauge) {
  zmq_msg_t part;
  bool begun = false;
  if (identity != nullptr) {
    CopyInto(&part, AsBytes(*identity));
    if (!SendPart(socket_, &part, true)) return errno == EHOSTUNREACH ? Sent::kGone : Sent::kFull;
    begun = true;
  }
  for (size_t i = 0; i < frames.frames_.size(); ++i) {
    InitPart(&part, frames.frames_[i], gauge);
    bool sent = SendPart(socket_, &part, i + 1 < frames.frames_.size());
    if (!sent && !begun) return Sent::kFull;
    // A later part is refused only when the connection breaks just now: ZeroMQ has thrown the
    // message away, and wants to see the rest of it before the next one begins.
    begun = true;
  }
  return Sent::kSent;
}

void ZmqSocket::SendText(const std::vector<std::string_view>& parts) {
  for (size_t i = 0; i < parts.size(); ++i) {
    zmq_msg_t part;
    CopyInto(&part, AsBytes(parts[i]));
    SendPart(socket_, &part, i + 1 < parts.size());
  }
}

}  // namespace holdfast::net
