// SPDX-License-Identifier: Apache-2.0
// A node as bulk reads see it: a memory tier over a memfd, filled by the test, and a server on a
// session of its own. And a reader's side that waits.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/random.h"
#include "cached/store/memory_tier.h"
#include "io/bulk/bulk_client.h"
#include "io/bulk/bulk_server.h"
#include "io/bulk/socket.h"
#include "wire/local_reader.h"

namespace holdfast::bulk {

inline Oid OidNumber(uint64_t n) { return {Mix64(n), Mix64(n + 1'000'000'007)}; }

// The only right bytes of (object n, version v).
inline std::vector<std::byte> BytesOf(uint64_t n, VersionHash version, size_t size) {
  std::vector<std::byte> bytes(size);
  Random random(Mix64(n) ^ version);
  size_t i = 0;
  for (; i + 8 <= size; i += 8) StoreAs(bytes.data() + i, random.Next());
  for (; i < size; ++i) bytes[i] = static_cast<std::byte>(random.Next());
  return bytes;
}

// Memory of a memfd, mapped shared.
class SharedMemory {
 public:
  explicit SharedMemory(size_t size) : fd_(memfd_create("bulk-test", MFD_CLOEXEC)), size_(size) {
    HF_CHECK(ftruncate(fd_.get(), static_cast<off_t>(size)) == 0);
    data_ = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
    HF_CHECK(data_ != MAP_FAILED);
  }
  ~SharedMemory() { munmap(data_, size_); }
  SharedMemory(const SharedMemory&) = delete;
  int fd() const { return fd_.get(); }
  ByteSpan span() const { return {static_cast<std::byte*>(data_), size_}; }

 private:
  Fd fd_;
  size_t size_;
  void* data_;
};

// Thread-safe, so that miss handlers can put objects in while the server serves.
class TestNode {
 public:
  explicit TestNode(uint64_t memory_bytes = 64 * kMiB, uint64_t segment_bytes = 1 * kMiB) {
    store::MemoryTierOptions options{.memory_bytes = memory_bytes,
                                     .segment_bytes = segment_bytes,
                                     .index_objects = 65'536,
                                     .max_object_bytes = segment_bytes - 8 * kKiB,
                                     .node = 1,
                                     .incarnation = 7};
    auto plan = store::PlanRegion(options);
    HF_CHECK(plan.ok());
    region_ = std::make_unique<SharedMemory>(plan->region_bytes);
    session_ = std::make_unique<SharedMemory>(shm::SessionBytes(plan->segments));
    FormatSession(session_->span(), 1, plan->segments, options.incarnation, 1);
    sessions_ = std::make_unique<store::Sessions>(plan->segments);
    sessions_->Attach(1, session_->span());
    tier_ = std::make_unique<store::MemoryTier>(region_->span(), *plan, options, sessions_.get());
    auto reader = LocalReader::Open(region_->span(), session_->span());
    HF_CHECK(reader.ok());
    reader_ = *std::move(reader);
  }

  void Put(uint64_t n, size_t size, VersionHash version = 1, uint32_t expires_s = 0) {
    auto bytes = BytesOf(n, version, size);
    std::lock_guard lock(mutex_);
    auto slot = tier_->Allocate(
        {.oid = OidNumber(n), .version = version, .size = size, .name = "file:///x", .etag = "e"},
        Time{++now_}, std::nullopt);
    ASSERT_TRUE(slot.ok()) << slot.status().ToString();
    std::copy(bytes.begin(), bytes.end(), slot->payload.begin());
    tier_->Commit(slot->id, Hash64(bytes), 0, expires_s);
  }
  bool Drop(uint64_t n, VersionHash version = 1) {
    std::lock_guard lock(mutex_);
    return tier_->Drop(OidNumber(n), version);
  }
  // Reads of this node's that the daemon would count.
  uint64_t marks() const {
    return reinterpret_cast<const shm::SessionHeader*>(session_->span().data())->mark_head.load();
  }
  uint32_t PinnedSegments() const {
    std::lock_guard lock(mutex_);
    return sessions_->PinnedSegments(1);
  }

  Status Serve(BulkServerOptions options, MissHandler on_miss = nullptr) {
    if (options.endpoints.empty()) options.endpoints = {"tcp://127.0.0.1:0"};
    auto server = BulkServer::Start(std::move(options), reader_.get(), region_->fd(),
                                    std::move(on_miss), nullptr);
    if (!server.ok()) return server.status();
    server_ = *std::move(server);
    return {};
  }
  void StopServing() { server_.reset(); }
  BulkServer* server() { return server_.get(); }
  std::string endpoint(size_t i = 0) const { return server_->endpoints()[i]; }
  ByteSpan region() { return region_->span(); }

 private:
  mutable std::mutex mutex_;
  std::unique_ptr<SharedMemory> region_;
  std::unique_ptr<SharedMemory> session_;
  std::unique_ptr<store::Sessions> sessions_;
  std::unique_ptr<store::MemoryTier> tier_;
  std::unique_ptr<LocalReader> reader_;
  std::unique_ptr<BulkServer> server_;
  int64_t now_ = 0;
};

// One Read and its outcomes; every item must end exactly once, and nothing is written after.
class PendingRead {
 public:
  explicit PendingRead(size_t items) : outcomes(items), buffers(items), ended_(items) {}

  // Object numbers `first`..., each with `room` bytes.
  std::vector<BulkItem> Items(uint64_t first, size_t room) {
    std::vector<BulkItem> items(outcomes.size());
    for (size_t i = 0; i < items.size(); ++i) {
      buffers[i].assign(room, std::byte{0xee});
      items[i] = {.oid = OidNumber(first + i),
                  .version = 0,
                  .size = 0,
                  .name = "",
                  .etag = "",
                  .into = buffers[i]};
    }
    return items;
  }
  std::function<void(size_t, BulkOutcome)> Each() {
    return [this](size_t i, BulkOutcome outcome) {
      std::lock_guard lock(mutex_);
      EXPECT_LT(i, outcomes.size());
      EXPECT_FALSE(ended_[i]) << "item " << i << " ended twice";
      ended_[i] = true;
      outcomes[i] = std::move(outcome);
      if (++done_ == outcomes.size()) all_.notify_all();
    };
  }
  void Wait() {
    std::unique_lock lock(mutex_);
    ASSERT_TRUE(
        all_.wait_for(lock, std::chrono::seconds(60), [this] { return done_ == outcomes.size(); }))
        << done_ << " of " << outcomes.size() << " items have ended";
  }
  size_t done() {
    std::lock_guard lock(mutex_);
    return done_;
  }
  void ExpectAll(Code code) {
    for (size_t i = 0; i < outcomes.size(); ++i) {
      ASSERT_EQ(outcomes[i].status.code(), code)
          << "item " << i << ": " << outcomes[i].status.ToString();
    }
  }
  // The bytes of object n, version 1, in item i.
  void ExpectBytes(size_t i, uint64_t n, size_t size) {
    ASSERT_TRUE(outcomes[i].status.ok()) << i << ": " << outcomes[i].status.ToString();
    ASSERT_EQ(outcomes[i].size, size);
    auto want = BytesOf(n, 1, size);
    ASSERT_EQ(outcomes[i].hash, Hash64(want));
    ASSERT_TRUE(std::equal(want.begin(), want.end(), buffers[i].begin())) << i;
  }

  std::vector<BulkOutcome> outcomes;
  std::vector<std::vector<std::byte>> buffers;

 private:
  std::mutex mutex_;
  std::condition_variable all_;
  std::vector<bool> ended_;
  size_t done_ = 0;
};

inline Time In(Duration d) { return BulkClient::Now() + d; }

}  // namespace holdfast::bulk
