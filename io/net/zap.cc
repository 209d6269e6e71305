// SPDX-License-Identifier: Apache-2.0
#include "io/net/zap.h"

#include <openssl/crypto.h>
#include <sys/epoll.h>
#include <zmq.h>

#include <utility>

namespace holdfast::net {
namespace {

// Frames of a request: version, request id, domain, address, identity, mechanism, and for CURVE the
// client's public key.
constexpr size_t kRequestId = 1, kMechanism = 5, kClientKey = 6, kRequestFrames = 7;

}  // namespace

Result<std::unique_ptr<ZapHandler>> ZapHandler::Start(EventLoop* loop, void* context,
                                                      std::array<std::byte, 32> client_key) {
  Result<ZmqSocket> socket = ZmqSocket::Open(context, ZMQ_REP);
  if (!socket.ok()) return socket.status();
  socket->Set(ZMQ_LINGER, 0);
  HF_CHECK(socket->Bind("inproc://zeromq.zap.01") == 0);
  std::unique_ptr<ZapHandler> handler(new ZapHandler(loop, std::move(*socket), client_key));
  HF_RETURN_IF_ERROR(loop->Watch(handler->socket_.Fd(), EPOLLIN,
                                 [h = handler.get()](uint32_t) { h->AnswerAll(); }));
  handler->AnswerAll();  // from here on the descriptor tells
  return handler;
}

ZapHandler::ZapHandler(EventLoop* loop, ZmqSocket socket, std::array<std::byte, 32> client_key)
    : loop_(loop), socket_(std::move(socket)), client_key_(client_key) {}

ZapHandler::~ZapHandler() { loop_->Unwatch(socket_.Fd()); }

void ZapHandler::AnswerAll() {
  std::vector<Buffer> request;
  for (;;) {
    ZmqSocket::Received got = socket_.Receive(&request, kRequestFrames);
    if (got == ZmqSocket::Received::kNothing) return;
    bool allowed = got == ZmqSocket::Received::kMessage && Allowed(request);
    std::string_view id =
        request.size() > kRequestId ? AsText(request[kRequestId].view()) : std::string_view();
    // version, request id, status, text, user, metadata
    socket_.SendText({"1.0", id, allowed ? "200" : "400", allowed ? "" : "another cluster key",
                      allowed ? "member" : "", ""});
  }
}

bool ZapHandler::Allowed(const std::vector<Buffer>& request) const {
  return request.size() == kRequestFrames && AsText(request[kMechanism].view()) == "CURVE" &&
         request[kClientKey].size() == client_key_.size() &&
         CRYPTO_memcmp(request[kClientKey].data(), client_key_.data(), client_key_.size()) == 0;
}

}  // namespace holdfast::net
