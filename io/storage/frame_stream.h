// SPDX-License-Identifier: Apache-2.0
// Frames of the storage protocol on a socket, for either side: gathers what goes out into few system
// calls, takes many frames out of one receive, and checks each before anybody sees it.
//
// Nothing is copied on the way out but heads and short bodies. On the way in a frame is seen where it
// was received; a long body that is not there yet is received into the place that its owner names.
#pragma once

#include <deque>
#include <functional>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "io/bulk/socket.h"
#include "wire/storage_format.h"

namespace holdfast::storage {

// Belongs to one thread.
class FrameStream {
 public:
  struct Handlers {
    // Where a long body of this frame goes, of head.body_bytes. Empty: nobody wants it.
    std::function<ByteSpan(const FrameHead& head)> place;
    // A whole frame. `body` lies in its place or in the receive buffer, and is valid during the call.
    // An error ends the stream.
    std::function<Status(const FrameHead& head, ByteView body)> frame;
  };
  FrameStream(bulk::Fd fd, Handlers handlers);
  FrameStream(const FrameStream&) = delete;

  int fd() const { return fd_.get(); }

  // Takes what is there, up to some MiB, and hands it to the handlers. An error: the peer is gone
  // (kUnavailable), or has sent something that is no frame (kCorrupt); the stream is to be destroyed.
  Status Receive();
  // While held, no frame is handed over; Receive does nothing.
  void Hold() { held_ = true; }
  bool held() const { return held_; }
  // Within `frame`: the frame, head and body, where they lie together; else empty.
  ByteView whole() const { return whole_; }
  // Goes on with what was received already.
  Status Resume();
  // Bytes that came so far: whether the peer lives.
  uint64_t received() const { return received_; }

  // Adds bytes in front of all frames.
  void AddRaw(ByteView bytes) { Append(bytes); }
  // Adds a frame; length and hash of the body are filled in, and it is copied.
  void Add(const FrameHead& head, ByteView body = {});
  // Its body is `parts`, which stay where they are until they are sent or the stream is destroyed,
  // but for short ones; length and hash are the caller's.
  void AddParts(const FrameHead& head, const std::vector<ByteView>& parts);
  // With a body that the stream keeps until then.
  void AddOwned(const FrameHead& head, Buffer body);
  // A frame as it lies in memory, head and body.
  void AddWhole(ByteView frame) { AppendView(frame); }
  void AddWhole(Buffer frame);
  // Sends what the socket takes. An error: the peer is gone.
  Status Flush();
  bool idle() const { return out_.empty(); }
  uint64_t unsent() const { return unsent_; }

 private:
  struct Chunk {
    std::vector<std::byte> gathered{};  // or
    Buffer owned{};
    ByteView view{};  // of `owned`, or of the caller's memory
    ByteView bytes() const { return gathered.empty() ? view : ByteView(gathered); }
  };
  Status Parse();
  Status TakeFrame(const FrameHead& head, ByteView body);
  void MakeRoom();
  void Append(ByteView bytes);
  void AppendView(ByteView bytes);
  void Sent(size_t bytes);

  bulk::Fd fd_;
  Handlers handlers_;
  bool held_ = false;
  uint64_t received_ = 0;

  Buffer in_;
  size_t begin_ = 0, end_ = 0;  // of what was received and not taken
  ByteView whole_;
  bool placing_ = false;  // a body is being received into place_
  FrameHead placed_head_;
  ByteSpan place_;
  Buffer unwanted_;  // the place of what nobody wants
  size_t placed_ = 0;

  std::deque<Chunk> out_;
  size_t out_sent_ = 0;  // of the first chunk
  uint64_t unsent_ = 0;
};

}  // namespace holdfast::storage
