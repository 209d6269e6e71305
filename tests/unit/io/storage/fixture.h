// SPDX-License-Identifier: Apache-2.0
// A storage server on a thread of its own, which can end and start again, a relay in front of it that
// can be stalled and cut, and a deciding thread's loop.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "base/hash.h"
#include "base/segment_reader.h"
#include "io/storage/remote_disk.h"
#include "io/storage/remote_journal.h"
#include "io/storage/storage_server.h"

namespace holdfast::storage {

class ServerThread {
 public:
  explicit ServerThread(StorageServerOptions options) : options_(std::move(options)) { Start(); }
  ~ServerThread() { Stop(); }

  void Start() {
    loop_ = *net::EventLoop::Create();
    auto server = StorageServer::Start(loop_.get(), options_);
    ASSERT_TRUE(server.ok()) << server.status().ToString();
    server_ = *std::move(server);
    options_.endpoint = server_->endpoint();
    thread_ = std::thread([this] { loop_->Run(); });
  }
  void Stop() {
    if (!thread_.joinable()) return;
    loop_->Stop();
    thread_.join();
    server_.reset();
    loop_.reset();
  }
  const std::string& endpoint() const { return options_.endpoint; }

 private:
  StorageServerOptions options_;
  std::unique_ptr<net::EventLoop> loop_;
  std::unique_ptr<StorageServer> server_;
  std::thread thread_;
};

// Passes bytes on between one client at a time and the server.
class Relay {
 public:
  explicit Relay(const std::string& target) : target_(target) {
    bulk::Endpoint at = *bulk::ParseEndpoint("tcp://127.0.0.1:0");
    listener_ = *bulk::Listen(&at);
    endpoint_ = at.text;
    thread_ = std::thread([this] { Run(); });
  }
  ~Relay() {
    stop_ = true;
    thread_.join();
  }
  const std::string& endpoint() const { return endpoint_; }
  // The connection ends after so many bytes more, in either direction.
  void CutAfter(int64_t bytes) { left_ = bytes; }
  void Stall(bool stalled) { stalled_ = stalled; }
  int cuts() const { return cuts_; }

 private:
  void Run() {
    while (!stop_) {
      pollfd waiting{listener_.get(), POLLIN, 0};
      if (::poll(&waiting, 1, 10) <= 0) continue;
      bulk::Fd client(::accept(listener_.get(), nullptr, nullptr));
      auto server = bulk::Dial(*bulk::ParseEndpoint(target_));
      if (server.ok()) Serve(client.get(), server->get());
      bulk::SetAbortOnClose(client.get());
    }
  }
  void Serve(int client, int server) {
    std::vector<std::byte> bytes(64 * kKiB);
    while (!stop_) {
      if (stalled_) {
        std::this_thread::sleep_for(1ms);
        continue;
      }
      pollfd both[2] = {{client, POLLIN, 0}, {server, POLLIN, 0}};
      if (::poll(both, 2, 10) <= 0) continue;
      for (int from : {0, 1}) {
        if (both[from].revents != 0 && !Pass(both[from].fd, both[1 - from].fd, &bytes)) return;
      }
    }
  }
  bool Pass(int from, int to, std::vector<std::byte>* bytes) {
    const int64_t left = left_;
    const auto most = left < 0 ? bytes->size() : std::min<size_t>(bytes->size(), left);
    const ssize_t n = most == 0 ? 0 : ::recv(from, bytes->data(), most, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return true;
    if (left >= 0 && (n >= left || n == 0)) left_ = -1, ++cuts_;
    for (ssize_t sent = 0; sent < n;) {
      const ssize_t m = ::send(to, bytes->data() + sent, n - sent, MSG_NOSIGNAL);
      if (m < 0 && errno != EAGAIN) return false;
      sent += std::max<ssize_t>(m, 0);
    }
    if (left >= 0 && n > 0) {
      if (n >= left) return false;
      left_ = left - n;
    }
    return n > 0;
  }

  const std::string target_;
  bulk::Fd listener_;
  std::string endpoint_;
  std::atomic<int64_t> left_{-1};
  std::atomic<bool> stalled_{false}, stop_{false};
  std::atomic<int> cuts_{0};
  std::thread thread_;
};

class StorageTest : public testing::Test {
 protected:
  static constexpr uint64_t kSegmentBytes = 4 * kMiB;

  StorageTest() : loop_(*net::EventLoop::Create()) {
    char name[] = "/tmp/holdfast-storage-XXXXXX";
    directory_ = ::mkdtemp(name);
  }
  ~StorageTest() override { std::filesystem::remove_all(directory_); }

  StorageServerOptions ServerOptions() const {
    return {.endpoint = "tcp://127.0.0.1:0",
            .cluster = "test",
            .stores = StoresOptions{.directory = directory_ + "/storage", .limit = kGiB}};
  }
  RemoteOptions ClientOptions(const std::string& endpoint) const {
    return {.endpoint = endpoint, .cluster = "test", .node = 3, .store = "node-3", .patience = 30s};
  }
  auto Post() {
    return [this](std::function<void()> run) { loop_->Post(std::move(run)); };
  }
  // Runs the loop until it is so.
  void Until(const std::function<bool()>& so) {
    const Time end = loop_->Now() + 60s;
    while (!so()) {
      ASSERT_LT(loop_->Now(), end) << "it did not come";
      loop_->At(loop_->Now() + 1ms, [this] { loop_->Stop(); });
      loop_->Run();
    }
  }

  std::unique_ptr<RemoteJournal> NewJournal(const RemoteOptions& options, Status* opened,
                                            uint64_t bytes = 8 * kMiB) {
    auto journal = std::make_unique<RemoteJournal>(loop_.get(), options, bytes, Post());
    bool done = false;
    journal->Open([&](const Result<uint64_t>& result) {
      *opened = result.status();
      EXPECT_GE(result.ok() ? *result : bytes, bytes);
      done = true;
    });
    Until([&] { return done; });
    return journal;
  }
  std::unique_ptr<RemoteDisk> NewDisk(const RemoteOptions& options, Status* opened,
                                      uint32_t segments = 8) {
    auto disk = std::make_unique<RemoteDisk>(loop_.get(), options, segments, kSegmentBytes, Post());
    bool done = false;
    disk->Open([&](const Status& status) {
      *opened = status;
      done = true;
    });
    Until([&] { return done; });
    return disk;
  }

  // The bytes, if their hash is the one that was said. `from` is a Disk or a SegmentReader.
  template <typename Reader>
  Result<std::string> Read(Reader* from, uint32_t segment, uint64_t offset, size_t bytes) {
    std::string into(bytes, '?');
    std::optional<Status> ended;
    from->Read(segment, offset, ByteSpan(reinterpret_cast<std::byte*>(into.data()), bytes),
               [&](const Status& status, uint64_t hash) {
                 ended = status;
                 EXPECT_TRUE(!status.ok() || hash == Hash64(AsBytes(into)));
               });
    Until([&] { return ended.has_value(); });
    if (!ended->ok()) return *ended;
    return into;
  }

  std::string directory_;
  std::unique_ptr<net::EventLoop> loop_;
};

// A text that nothing else has.
inline std::string TextOf(uint64_t number, size_t bytes) {
  std::string text(bytes + 8, '\0');
  for (size_t i = 0; i < bytes; i += 8) {
    const uint64_t word = Mix64(number * 1'000'003 + i);
    std::memcpy(text.data() + i, &word, sizeof(word));
  }
  text.resize(bytes);
  return text;
}

}  // namespace holdfast::storage
