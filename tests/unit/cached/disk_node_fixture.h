// SPDX-License-Identifier: Apache-2.0
// A node whose memory of 8 MiB has a disk of 16 MiB below it.
#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "tests/unit/cached/node_fixture.h"
#include "tests/unit/cached/store/fake_disk.h"

namespace holdfast::cached {

inline constexpr uint64_t kBytes = 10'000;
inline constexpr uint32_t kMany = 1'400;  // 14 MB for 8 MiB of memory

class DiskNodeTest : public NodeTest {
 protected:
  ~DiskNodeTest() override { node_.reset(); }  // before its disk
  void StartWithDisk() {
    node_.reset();
    world_ = std::make_unique<World>(8 * kMiB, options_);
    disk_ = std::make_unique<store::FakeDisk>(&world_->clock, &image_);
    tier_ = std::make_unique<store::DiskTier>(
        world_->env, disk_.get(),
        store::DiskTierOptions{.identity = {0, "holdfast"}, .index_objects = 20'000});
    Status recovered = Status::Unavailable("not yet");
    tier_->Recover([&](Status status) { recovered = std::move(status); });
    world_->clock.RunFor(1s);
    ASSERT_TRUE(recovered.ok()) << recovered.ToString();
    node_ = std::make_unique<Node>(world_->env, world_->tier.get(), world_->context->options,
                                   tier_.get());
    node_->Start();
  }

  static bulk::ReadMiss MissOf(uint32_t n, BulkMode mode = BulkMode::kFetch) {
    const ObjectKey key = KeyOfObject(n, kBytes);
    bulk::ReadMiss miss;
    miss.oid = key.oid;
    miss.version = key.version;
    miss.mode = mode;
    if (mode == BulkMode::kFetch) {
      miss.size = kBytes;
      miss.name = NameOfObject(n);
      miss.etag = EtagOfObject(n);
    }
    return miss;
  }
  Status Get(uint32_t n, BulkMode mode = BulkMode::kFetch) {
    const ObjectKey key = KeyOfObject(n, kBytes);
    std::optional<Status> got;
    node_->OnMiss(MissOf(n, mode), [&](Status status) { got = std::move(status); });
    world_->clock.RunFor(200ms);
    HF_CHECK(got.has_value());
    if (got->ok()) {
      const auto record = world_->tier->Find(key.oid, key.version);
      EXPECT_TRUE(record && record->payload.size() == kBytes);
      EXPECT_EQ(Hash64(record->payload), record->payload_hash);
      EXPECT_EQ(record->payload[17], std::byte{7});
      EXPECT_EQ(record->name, NameOfObject(n));
      EXPECT_EQ(record->etag, EtagOfObject(n));
    }
    return *got;
  }
  void Fill() {
    for (uint32_t n = 0; n < kMany; ++n) ASSERT_TRUE(Get(n).ok());
  }
  bool OnlyOnDisk(uint32_t n) const {
    const ObjectKey key = KeyOfObject(n, kBytes);
    return !world_->tier->Find(key.oid, key.version) && tier_->Has(key.oid, key.version);
  }
  std::vector<uint32_t> AllOnlyOnDisk() const {
    std::vector<uint32_t> all;
    for (uint32_t n = 0; n < kMany; ++n) {
      if (OnlyOnDisk(n)) all.push_back(n);
    }
    return all;
  }

  // What a reader that can read the disk itself is answered: nothing when it is here now.
  std::optional<disk::Place> PlaceOf(uint32_t n, uint64_t size) {
    const ObjectKey key = KeyOfObject(n, kBytes);
    bulk::ReadMiss miss;
    miss.oid = key.oid;
    miss.version = key.version;
    miss.size = size;
    miss.mode = BulkMode::kWait;
    std::optional<disk::Place> told;
    std::optional<Status> got;
    miss.on_disk = [&](disk::Place place) {
      EXPECT_FALSE(told || got);
      told = place;
    };
    node_->OnMiss(std::move(miss), [&](Status status) {
      EXPECT_FALSE(told || got);
      got = std::move(status);
    });
    EXPECT_FALSE(told || got);  // never inside the call
    world_->clock.RunFor(200ms);
    EXPECT_TRUE(told || got->ok());
    return told;
  }

  NodeOptions options_;
  sim::DiskImage image_{64, 256 * kKiB};
  std::unique_ptr<store::FakeDisk> disk_;
  std::unique_ptr<store::DiskTier> tier_;
};

}  // namespace holdfast::cached
