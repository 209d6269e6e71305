// SPDX-License-Identifier: Apache-2.0
// One ZeroMQ socket: owned, non-blocking, frames in and out without a copy. Internal to io/net.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/env.h"
#include "base/status.h"

namespace holdfast::net {

// Bytes of frames that ZeroMQ holds for one peer. Its threads count them down when they have handed
// them to the kernel.
using ByteGauge = std::atomic<uint64_t>;

// The frames of one message, on their way to any number of peers. Each peer's ZeroMQ messages refer
// to the same bytes; the last one to be done with a frame releases it, on a ZeroMQ thread.
class SharedFrames {
 public:
  explicit SharedFrames(Frames frames);
  uint64_t bytes() const { return bytes_; }

 private:
  friend class ZmqSocket;
  std::vector<std::shared_ptr<const Buffer>> frames_;
  uint64_t bytes_ = 0;
};

// Used by one thread.
class ZmqSocket {
 public:
  static Result<ZmqSocket> Open(void* context, int type);
  ZmqSocket(ZmqSocket&& o) noexcept : socket_(std::exchange(o.socket_, nullptr)) {}
  ZmqSocket& operator=(ZmqSocket&&) = delete;
  ~ZmqSocket();

  // Options of ZeroMQ that hold for us always: our own mistake if one is refused.
  void Set(int option, int value);
  void Set(int option, int64_t value);
  void Set(int option, std::string_view bytes);

  // 0 or errno.
  int Bind(const std::string& endpoint);
  int Connect(const std::string& endpoint);
  std::string LastEndpoint() const;

  // Readable when anything happened; what did, tells Readable. Edge-triggered in effect: at the
  // beginning, after it became readable, and after every other use of the socket, receive until
  // kNothing or ask Readable again.
  int Fd() const;
  bool Readable() const;

  enum class Received { kNothing, kMessage, kTooManyParts };
  // Takes the next message's frames. One of more than `most` is thrown away.
  Received Receive(std::vector<Buffer>* parts, size_t most);

  // kFull: the peer's queue; kGone: a ROUTER has no such peer. Either way nothing was sent.
  enum class Sent { kSent, kFull, kGone };
  Sent Send(const std::string* identity, const SharedFrames& frames,
            const std::shared_ptr<ByteGauge>& gauge);
  // Small frames, copied.
  void SendText(const std::vector<std::string_view>& parts);

  void* raw() const { return socket_; }

 private:
  explicit ZmqSocket(void* socket) : socket_(socket) {}

  void* socket_;
};

}  // namespace holdfast::net
