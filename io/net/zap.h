// SPDX-License-Identifier: Apache-2.0
// Decides who may connect to a node's control socket: ZeroMQ asks over ZAP (RFC 27) for every
// handshake, and the one client key of the cluster is let in. Internal to io/net.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "io/net/event_loop.h"
#include "io/net/zmq_socket.h"

namespace holdfast::net {

class ZapHandler {
 public:
  // Before any server socket of this context is bound.
  static Result<std::unique_ptr<ZapHandler>> Start(EventLoop* loop, void* context,
                                                   std::array<std::byte, 32> client_key);
  ~ZapHandler();
  ZapHandler(const ZapHandler&) = delete;

 private:
  ZapHandler(EventLoop* loop, ZmqSocket socket, std::array<std::byte, 32> client_key);
  void AnswerAll();
  bool Allowed(const std::vector<Buffer>& request) const;

  EventLoop* loop_;
  ZmqSocket socket_;
  std::array<std::byte, 32> client_key_;
};

}  // namespace holdfast::net
