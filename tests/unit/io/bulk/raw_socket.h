// SPDX-License-Identifier: Apache-2.0
// A peer that says what the test wants: blocking sockets and whole messages.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "io/bulk/socket.h"
#include "wire/bulk_format.h"

namespace holdfast::bulk {

inline void SendAll(int fd, ByteView bytes) {
  while (!bytes.empty()) {
    ssize_t n = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return;  // the other side has left, which is what some tests want
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
}

// Exactly n bytes; fewer only when the connection ended. Gives up after 20 s.
inline std::vector<std::byte> ReceiveSome(int fd, size_t n) {
  std::vector<std::byte> bytes(n);
  size_t got = 0;
  while (got < n) {
    pollfd ready{.fd = fd, .events = POLLIN, .revents = 0};
    if (poll(&ready, 1, 20'000) <= 0) break;
    ssize_t r = recv(fd, bytes.data() + got, n - got, 0);
    if (r <= 0) break;
    got += static_cast<size_t>(r);
  }
  bytes.resize(got);
  return bytes;
}

// True when the peer closes within 20 s; what it sends before is thrown away.
inline bool Closes(int fd) {
  std::byte sink[4096];
  for (;;) {
    pollfd ready{.fd = fd, .events = POLLIN, .revents = 0};
    if (poll(&ready, 1, 20'000) <= 0) return false;
    if (recv(fd, sink, sizeof(sink), 0) <= 0) return true;
  }
}

inline void MakeBlocking(int fd) {
  int flags = fcntl(fd, F_GETFL);
  HF_CHECK(flags >= 0 && fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) == 0);
}

// Connected to a server.
inline Fd RawConnect(const std::string& endpoint) {
  auto parsed = ParseEndpoint(endpoint);
  HF_CHECK(parsed.ok());
  Fd fd(socket(parsed->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  HF_CHECK(connect(fd.get(), reinterpret_cast<sockaddr*>(&parsed->address), parsed->length) == 0);
  return fd;
}

inline std::vector<std::byte> BatchOf(const std::vector<Want>& wants, BatchHeader header) {
  std::vector<std::byte> bytes(kBatchHeaderBytes);
  for (const Want& want : wants) AppendWant(want, &bytes);
  header.length = static_cast<uint32_t>(bytes.size());
  header.count = static_cast<uint16_t>(wants.size());
  StoreBatchHeader(header, bytes.data());
  return bytes;
}

// A server that runs `script` for its one connection (or for `connections`, one after the other).
class ScriptedServer {
 public:
  explicit ScriptedServer(std::function<void(int fd, int connection)> script, int connections = 1) {
    auto parsed = ParseEndpoint("tcp://127.0.0.1:0");
    HF_CHECK(parsed.ok());
    auto listening = Listen(&*parsed);
    HF_CHECK(listening.ok());
    listener_ = *std::move(listening);
    endpoint_ = parsed->text;
    MakeBlocking(listener_.get());
    thread_ = std::thread([this, script = std::move(script), connections] {
      for (int i = 0; i < connections; ++i) {
        Fd fd(accept(listener_.get(), nullptr, nullptr));
        if (!fd) return;
        script(fd.get(), i);
      }
    });
  }
  ~ScriptedServer() {
    shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
  }
  const std::string& endpoint() const { return endpoint_; }

  // Takes the client's hello and lets it in.
  static void Greet(int fd) {
    ReceiveSome(fd, kClientHelloBytes);
    SendAll(fd, Encode(ServerHello{}));
  }
  // The next batch that has items.
  static BatchHeader TakeBatch(int fd) {
    for (;;) {
      auto bytes = ReceiveSome(fd, kBatchHeaderBytes);
      auto length = BatchLength(bytes);
      if (!length.ok() || !length->has_value()) return {};
      auto rest = ReceiveSome(fd, **length - kBatchHeaderBytes);
      bytes.insert(bytes.end(), rest.begin(), rest.end());
      std::vector<Want> wants;
      auto header = DecodeBatch(bytes, &wants);
      if (!header.ok()) return {};
      if (header->count > 0) return *header;
    }
  }
  static void SendAnswer(int fd, const Answer& answer, ByteView body = {}) {
    std::array<std::byte, kAnswerBytes> header;
    StoreAnswer(answer, header.data());
    SendAll(fd, header);
    SendAll(fd, body);
  }

 private:
  Fd listener_;
  std::string endpoint_;
  std::thread thread_;
};

}  // namespace holdfast::bulk
