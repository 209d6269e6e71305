// SPDX-License-Identifier: Apache-2.0
// Tells people what becomes of a socket's connections: one line when something changes, not one per
// attempt. Internal to io/net.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/log.h"
#include "io/net/event_loop.h"
#include "io/net/zmq_socket.h"

namespace holdfast::net {

class ZmqMonitor {
 public:
  enum class Side { kClient, kServer };

  // Before `socket` connects or is bound; ends before it. `name` is for people: the endpoint of the
  // other end (kClient) or our own (kServer); `handshake` is the socket's ZMQ_HANDSHAKE_IVL.
  static Result<std::unique_ptr<ZmqMonitor>> Start(EventLoop* loop, void* context,
                                                   ZmqSocket* socket, Side side, std::string name,
                                                   Duration handshake, Log* log);
  ~ZmqMonitor();
  ZmqMonitor(const ZmqMonitor&) = delete;

  // Handshakes that failed.
  uint64_t refused() const { return refused_; }

 private:
  enum class State { kNew, kUp, kDown, kSilent, kRefused };

  ZmqMonitor(EventLoop* loop, ZmqSocket* watched, ZmqSocket events, Side side, std::string name,
             Duration handshake, Log* log);
  void ReadAll();
  void OnClientEvent(uint16_t event);
  void OnFailedHandshake();
  void OnServerEvent(uint16_t event);

  EventLoop* loop_;
  ZmqSocket* watched_;
  ZmqSocket events_;
  Side side_;
  std::string name_;
  Duration handshake_;
  Log* log_;
  State state_ = State::kNew;
  Time connected_;  // TCP, last
  uint64_t refused_ = 0;
  Time quiet_until_{};  // no further line about refused clients before
};

}  // namespace holdfast::net
