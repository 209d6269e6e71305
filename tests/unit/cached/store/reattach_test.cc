// SPDX-License-Identifier: Apache-2.0
// A tier over the region of a daemon that was killed.
#include "cached/store/reattach.h"

#include <optional>

#include "base/random.h"
#include "tests/unit/cached/store/tier_fixture.h"

namespace holdfast::store {
namespace {

void Restart(Node* node) {
  ++node->options.incarnation;
  node->tier =
      std::make_unique<MemoryTier>(node->memory.span(), node->plan, node->options, &node->sessions);
}

// How many of [0, count) are there; all of those are right.
uint64_t CountRight(const Node& node, uint64_t count) {
  uint64_t there = 0;
  for (uint64_t i = 0; i < count; ++i) {
    const std::optional<RecordView> record = node.tier->Find(OidOf(i), 1);
    if (!record) continue;
    ++there;
    EXPECT_TRUE(IsRight(i, 1, record->payload)) << i;
    EXPECT_EQ(record->name, "mem:" + std::to_string(i));
  }
  return there;
}

TEST(Reattach, ARestartFindsAllRecords) {
  Node node(SmallOptions(16, 16 * kKiB, 10'000));
  for (uint64_t i = 0; i < 100; ++i) ASSERT_TRUE(node.Put(i, 1, 1000 + i).ok());
  node.tier->Drop(OidOf(7), 1);
  const TierStats before = node.tier->Stats();
  Restart(&node);
  EXPECT_EQ(CountRight(node, 100), 99u);
  const TierStats after = node.tier->Stats();
  EXPECT_EQ(after.found_objects, 99u);
  EXPECT_EQ(after.live_objects, before.live_objects);
  EXPECT_EQ(after.live_bytes, before.live_bytes);
  EXPECT_FALSE(node.Has(7));
}

TEST(Reattach, WhatWasHeldIsThereAndNotHeld) {
  Node node(SmallOptions(32, 16 * kKiB, 10'000));
  for (uint64_t i = 0; i < 30; ++i) ASSERT_TRUE(node.Put(i, 1, 1000, {}, Time{60'000'000}).ok());
  EXPECT_EQ(node.tier->Stats().held_objects, 30u);
  Restart(&node);
  EXPECT_EQ(CountRight(node, 30), 30u);
  EXPECT_EQ(node.tier->Stats().held_objects, 0u);
  EXPECT_TRUE(node.tier->Hold(OidOf(3), 1));
}

TEST(Reattach, ARecordThatWasBeingWrittenIsNotThere) {
  Node node(SmallOptions(16, 16 * kKiB, 10'000));
  ASSERT_TRUE(node.Put(1, 1, 1000).ok());
  ASSERT_TRUE(
      node.tier
          ->Allocate({.oid = OidOf(2), .version = 1, .size = 3000, .name = "mem:2", .etag = "v1"},
                     {}, std::nullopt)
          .ok());
  ASSERT_TRUE(node.Put(3, 1, 1000).ok());
  Restart(&node);
  EXPECT_EQ(CountRight(node, 10), 2u);
  EXPECT_FALSE(node.Has(2));
  // The gap is walked over when the segment is taken back.
  for (uint64_t i = 100; i < 1000; ++i) ASSERT_TRUE(node.Put(i, 1, 1000).ok()) << i;
  EXPECT_FALSE(node.Has(1));
}

TEST(Reattach, TheOldestAreStillTheFirstToGo) {
  Node node(SmallOptions(16, 16 * kKiB, 10'000));
  for (uint64_t i = 0; i < 150; ++i) {
    ASSERT_TRUE(node.Put(i, 1, 1000, Time{static_cast<int64_t>(1'000'000 * (i + 1))}).ok());
  }
  Restart(&node);
  ASSERT_EQ(CountRight(node, 150), 150u);
  for (uint64_t i = 1000; i < 1100; ++i) ASSERT_TRUE(node.Put(i, 1, 1000, Time{200'000'000}).ok());
  EXPECT_FALSE(node.Has(0));
  EXPECT_TRUE(node.Has(149));
}

// What was kept is older than what is fresh, and goes last all the same.
TEST(Reattach, WhatWasKeptIsKeptStill) {
  Node node(SmallOptions(64, 8 * kKiB, 10'000));
  Client reader(1, node.memory.span(), node.plan.segments, &node.sessions);
  std::vector<std::byte> into(1000);
  Time now{1'000'000};
  for (uint64_t n = 0; n < 1'300; ++n, now = now + 1s) {
    node.tier->Maintain(now, UINT64_MAX);
    ASSERT_TRUE(node.Put(n, 1, 500, now).ok());
    for (int i = 0; n < 7 && i < 3; ++i)
      ASSERT_EQ(reader->Copy({OidOf(n), 1, into}).code, Code::kOk);
  }
  const auto kept = [&] {
    std::vector<Oid> oids;
    node.tier->ListSlots(0, node.tier->slots(), [&](const MemoryTier::Listed& l) {
      if (l.ring == snapshot::Ring::kKept) oids.push_back(l.oid);
    });
    return oids;
  };
  const std::vector<Oid> before = kept();
  ASSERT_EQ(before.size(), 7u);
  Restart(&node);
  EXPECT_EQ(kept(), before);
  for (uint64_t n = 2'000; n < 2'600; ++n) ASSERT_TRUE(node.Put(n, 1, 500, now).ok());
  EXPECT_EQ(CountRight(node, 7), 7u);
}

TEST(Reattach, ViewsStayRight) {
  Node node(SmallOptions(16, 16 * kKiB, 10'000));
  Client client(1, node.memory.span(), node.plan.segments, &node.sessions);
  for (uint64_t i = 0; i < 100; ++i) ASSERT_TRUE(node.Put(i, 1, 1000).ok());
  LocalView view = client->Pin(OidOf(50), 1);
  LocalView dropped = client->Pin(OidOf(51), 1);
  ASSERT_TRUE(view && dropped);
  ASSERT_TRUE(node.tier->Drop(OidOf(51), 1));
  Restart(&node);
  EXPECT_EQ(client->incarnation(), 78u);
  EXPECT_EQ(CountRight(node, 100), 99u);
  for (uint64_t i = 1000; i < 3000; ++i) ASSERT_TRUE(node.Put(i, 1, 1000).ok());
  EXPECT_TRUE(IsRight(50, 1, view.payload()));
  EXPECT_TRUE(IsRight(51, 1, dropped.payload()));
  EXPECT_TRUE(node.Has(50)) << "its segment cannot be taken back";
  view.Release();
  dropped.Release();
  for (uint64_t i = 3000; i < 5000; ++i) ASSERT_TRUE(node.Put(i, 1, 1000).ok());
  EXPECT_FALSE(node.Has(50));
}

TEST(Reattach, GarbageIsForgottenAndNothingElse) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    Random random(seed);
    Node node(SmallOptions(16, 16 * kKiB, 1'000));
    for (uint64_t i = 0; i < 150; ++i) ASSERT_TRUE(node.Put(i, 1, 200 + random.Below(1'500)).ok());
    const uint64_t there = CountRight(node, 150);
    const uint64_t flips = 1 + random.Below(40);
    const ByteSpan buckets = node.memory.span().subspan(node.plan.bucket_offset,
                                                        node.plan.buckets * sizeof(shm::Bucket));
    const ByteSpan segments = node.memory.span().subspan(node.plan.segment_offset);
    for (uint64_t i = 0; i < flips; ++i) {
      const ByteSpan where = random.Chance(0.5) ? buckets : segments;
      where[random.Below(where.size())] ^= std::byte{1} << static_cast<int>(random.Below(8));
    }
    Restart(&node);
    const uint64_t left = CountRight(node, 150);
    EXPECT_LE(left, there);
    EXPECT_GE(left + flips, there);
    for (uint64_t i = 1000; i < 1600; ++i) ASSERT_TRUE(node.Put(i, 1, 1000).ok()) << seed;
    EXPECT_TRUE(IsRight(1599, 1, node.tier->Find(OidOf(1599), 1)->payload));
  }
}

TEST(Reattach, AnEntryThatWasBeingMovedIsThereOnce) {
  Node node(SmallOptions(16, 16 * kKiB, 1'000));
  ASSERT_TRUE(node.Put(1, 1, 1000).ok());
  auto* buckets =
      reinterpret_cast<shm::Bucket*>(node.memory.span().data() + node.plan.bucket_offset);
  const uint32_t tag = shm::TagFor(OidOf(1));
  const uint32_t first = shm::FirstBucket(OidOf(1), node.plan.buckets);
  const uint32_t other = shm::OtherBucket(first, tag, node.plan.buckets);
  ASSERT_NE(first, other);
  for (uint32_t from : {first, other}) {
    for (auto& entry : buckets[from].entries) {
      if (entry.load() != 0) buckets[from == first ? other : first].entries[5].store(entry.load());
    }
  }
  Restart(&node);
  EXPECT_EQ(node.tier->Stats().live_objects, 1u);
  EXPECT_EQ(CountRight(node, 2), 1u);
  ASSERT_TRUE(node.tier->Drop(OidOf(1), 1));
  EXPECT_FALSE(node.Has(1));
}

}  // namespace
}  // namespace holdfast::store
