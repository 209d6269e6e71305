// SPDX-License-Identifier: Apache-2.0
// A node's connection to the storage server that keeps one of its stores: made, opened, watched, and
// made anew with growing pauses when it breaks. What was not answered then is its user's to send
// again.
//
//   dial → hello, open → opened: up → frames ... → broken: down → pause → dial
//
// A server that says nothing for kSilence although something is due is taken for gone. One that
// refuses the opening (another node's store, another cluster, a newer opener) is not asked again.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/ids.h"
#include "base/log.h"
#include "base/status.h"
#include "io/net/event_loop.h"
#include "io/storage/frame_stream.h"

namespace holdfast::storage {

struct RemoteOptions {
  std::string endpoint;  // "tcp://10.0.0.9:7072"
  std::string cluster;
  bulk::Token token{};
  NodeId node = 0;
  std::string store;       // its name; IsStoreName
  Duration patience{};     // how long what is asked for waits for a server that is slow or gone
  Duration opening = 30s;  // and the opening
  bool permitted = false;  // segments are opened beside their user, to write what that one permits
  Log* log = nullptr;      // may be null; outlives it
};

// What the server says about a store that it has opened.
struct Opened {
  uint64_t server = 0;  // another one after each start of the server
  uint64_t epoch = 0;
  uint64_t value = 0;          // the next number; bytes of a segment
  uint32_t segments = 0;       // else 0
  uint64_t journal_bytes = 0;  // of a journal
  uint64_t wanted = 0;         // its lowest number that is wanted
};

// Belongs to the thread of its loop, or to any when that has ended.
class StorageLink {
 public:
  static constexpr Duration kTick = 100ms;
  static constexpr Duration kSilence = 5s;
  static constexpr Duration kShortestPause = 10ms;
  static constexpr Duration kLongestPause = 1s;

  struct Handlers {
    std::function<Status(const Opened&)> up;  // an error breaks the connection
    std::function<void()> down;
    std::function<void(const Status&)> refused;  // for good; nothing follows
    std::function<void(Time now)> tick;          // every kTick
    std::function<ByteSpan(const FrameHead&)> place;
    std::function<Status(const FrameHead&, ByteView)> frame;
    std::function<bool()> busy;  // is anything due?
  };
  // What the opening asks for: its kind, bytes and segments (docs/formats.md).
  struct Request {
    Kind kind = Kind::kOpenJournal;
    uint64_t bytes = 0;
    uint32_t segments = 0;
    std::string endpoint{};  // of a mover: where the segments are, if elsewhere
  };

  StorageLink(net::EventLoop* loop, RemoteOptions options, Request request, Handlers handlers);
  ~StorageLink();
  StorageLink(const StorageLink&) = delete;

  void Start();
  // Null while it is down.
  FrameStream* stream() { return up_ ? stream_.get() : nullptr; }
  // Sends what was added to the stream, now and when the socket takes it. May end in `down`, later.
  void Flush();
  // Drops the connection; it is made anew. Not from inside of `up` and `frame`, which return errors.
  void Break(const Status& why);
  // Drops it for good, likewise.
  void Stop();
  // Since when it has been down; Time::Max() while it is up.
  Time down_since() const { return down_since_; }
  // What ended the last connection, or hinders the first.
  const Status& last_error() const { return last_error_; }

 private:
  void Tick();
  void Dial();
  void Ready(uint32_t events);
  Status Connected();
  Status Receive();
  Status OnFrame(const FrameHead& head, ByteView body);
  Status OnOpened(const FrameHead& head, ByteView body);
  Status OnFailed(const FrameHead& head, ByteView body);
  void Watch();
  void Close();
  std::string PeerName() const;

  net::EventLoop* const loop_;
  const RemoteOptions options_;
  const Request request_;
  const Handlers handlers_;
  const uint64_t opener_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

  std::unique_ptr<FrameStream> stream_;
  bulk::Endpoint endpoint_;
  bool connected_ = false;  // TCP is; the hello is sent
  bool up_ = false;         // the store is open
  bool refused_ = false;
  bool watches_writes_ = false;
  uint64_t epoch_ = 0;
  Status last_error_;
  Time down_since_{};
  Duration pause_ = kShortestPause;
  Time dial_at_{};
  Time heard_{};  // when something came, or began to be due
  uint64_t received_ = 0;
  Time pinged_{};
};

}  // namespace holdfast::storage
