// SPDX-License-Identifier: Apache-2.0
#include "cached/store/memory_tier.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/random.h"
#include "tests/unit/cached/store/tier_fixture.h"

namespace holdfast::store {
namespace {

constexpr Time kNow{1'000'000};
const Time kLater = kNow + 10min;

TEST(MemoryTier, FindsWhatWasCommitted) {
  Node node(SmallOptions(16, 64 * kKiB, 1000));
  ASSERT_TRUE(node.Put(1, 5, 1000).ok());
  const std::optional<RecordView> found = node.tier->Find(OidOf(1), 5);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->name, "mem:1");
  EXPECT_EQ(found->etag, "v5");
  EXPECT_EQ(found->version, 5u);
  EXPECT_EQ(found->payload_hash, Hash64(found->payload));
  EXPECT_TRUE(IsRight(1, 5, found->payload));
  EXPECT_TRUE(node.tier->Find(OidOf(1), 0));
  EXPECT_FALSE(node.tier->Find(OidOf(1), 6));
  EXPECT_FALSE(node.tier->Find(OidOf(2), 0));
}

TEST(MemoryTier, VersionsCoexist) {
  Node node(SmallOptions(16, 64 * kKiB, 1000));
  for (VersionHash v = 1; v <= 5; ++v) ASSERT_TRUE(node.Put(1, v, 100 * v).ok());
  for (VersionHash v = 1; v <= 5; ++v) {
    ASSERT_TRUE(node.tier->Find(OidOf(1), v));
    EXPECT_EQ(node.tier->Find(OidOf(1), v)->payload.size(), 100 * v);
  }
}

TEST(MemoryTier, IsInvisibleUntilCommit) {
  Node node(SmallOptions(16, 64 * kKiB, 1000));
  Result<MemoryTier::Slot> slot = node.tier->Allocate(
      {.oid = OidOf(1), .version = 1, .size = 10, .name = "n", .etag = ""}, kNow, {});
  ASSERT_TRUE(slot.ok());
  EXPECT_EQ(reinterpret_cast<uintptr_t>(slot->payload.data()) % 64, 0u);
  EXPECT_FALSE(node.Has(1));
  EXPECT_EQ(node.tier->Stats().live_objects, 0u);
  node.tier->Abort(slot->id);
  EXPECT_FALSE(node.Has(1));
}

TEST(MemoryTier, SecondCommitOfTheSameRecordAddsItsHoldsToTheFirst) {
  Node node(SmallOptions(16, 64 * kKiB, 1000));
  ASSERT_TRUE(node.Put(1, 1, 100, kNow).ok());
  ASSERT_TRUE(node.Put(1, 1, 100, kNow, kLater).ok());
  EXPECT_EQ(node.tier->Stats().live_objects, 1u);
  EXPECT_EQ(node.tier->Stats().held_objects, 1u);
  EXPECT_TRUE(node.tier->Unhold(OidOf(1), 1));
  EXPECT_EQ(node.tier->Stats().held_bytes, 0u);
}

TEST(MemoryTier, RefusesWhatFitsNoSegment) {
  Node node(SmallOptions(16, 64 * kKiB, 1000));
  EXPECT_EQ(node.Put(1, 1, 64 * kKiB).code(), Code::kInvalid);
  EXPECT_EQ(node.Put(1, 1, UINT64_MAX).code(), Code::kInvalid);
  EXPECT_TRUE(node.Put(1, 1, 64 * kKiB - 64 - 64 - 64).ok());
  EXPECT_TRUE(node.Has(1));
  const std::string name(70'000, 'x');
  EXPECT_EQ(
      node.tier
          ->Allocate({.oid = OidOf(2), .version = 1, .size = 1, .name = name, .etag = ""}, kNow, {})
          .status()
          .code(),
      Code::kInvalid);
}

TEST(MemoryTier, HeldRecordsOutliveTheRing) {
  Node node(SmallOptions(16, 16 * kKiB, 10'000));
  ASSERT_TRUE(node.Put(1, 1, 1000, kNow, kLater).ok());
  ASSERT_TRUE(node.Put(2, 1, 1000, kNow).ok());
  ASSERT_TRUE(node.tier->Hold(OidOf(2), 1));  // a keep bid: it lies in the ring
  for (uint64_t i = 100; i < 1000; ++i) ASSERT_TRUE(node.Put(i, 1, 1000, kNow).ok());
  EXPECT_TRUE(node.Has(1));
  EXPECT_TRUE(node.Has(2));
  EXPECT_FALSE(node.Has(200));
  EXPECT_TRUE(node.Has(999));
  EXPECT_TRUE(IsRight(2, 1, node.tier->Find(OidOf(2), 1)->payload));
  EXPECT_FALSE(node.tier->Drop(OidOf(2), 1));
  EXPECT_TRUE(node.tier->Unhold(OidOf(1), 1));
  EXPECT_TRUE(node.tier->Unhold(OidOf(2), 1));
  EXPECT_FALSE(node.tier->Unhold(OidOf(2), 1));
  EXPECT_TRUE(node.tier->Drop(OidOf(2), 1));
}

TEST(MemoryTier, SegmentsWhoseTimeIsOverJoinTheRing) {
  Node node(SmallOptions(16, 16 * kKiB, 10'000));
  for (uint64_t i = 0; i < 60; ++i) ASSERT_TRUE(node.Put(i, 1, 1000, kNow, kLater).ok());
  for (uint64_t i = 100; i < 1000; ++i) ASSERT_TRUE(node.Put(i, 1, 1000, kNow).ok());
  for (uint64_t i = 0; i < 60; ++i) ASSERT_TRUE(node.tier->Unhold(OidOf(i), 1));
  const uint64_t moved = node.tier->Stats().moved_bytes;
  for (uint64_t i = 1000; i < 2000; ++i) ASSERT_TRUE(node.Put(i, 1, 1000, kNow).ok());
  EXPECT_FALSE(node.Has(1));
  EXPECT_EQ(node.tier->Stats().moved_bytes, moved);
}

TEST(MemoryTier, RecordsThatWereReadMoreThanOnceStayOnceMore) {
  Node node(SmallOptions(16, 16 * kKiB, 10'000));
  Client client(1, node.memory.span(), node.plan.segments, &node.sessions);
  std::vector<std::byte> into(1000);
  ASSERT_TRUE(node.Put(1, 1, 1000).ok());
  ASSERT_TRUE(node.Put(2, 1, 1000).ok());
  ASSERT_TRUE(node.Put(3, 1, 1000).ok());
  EXPECT_EQ(client->Copy({OidOf(1), 1, into}).code, Code::kOk);
  EXPECT_EQ(client->Copy({OidOf(1), 1, into}).code, Code::kOk);
  EXPECT_EQ(client->Copy({OidOf(2), 2, into}).code, Code::kNotFound);
  EXPECT_EQ(client->Copy({OidOf(3), 1, into}).code, Code::kOk);
  node.tier->Maintain(kNow, kMiB);
  EXPECT_EQ(node.tier->Stats().marks, 3u);
  uint64_t next = 100;
  while (node.Has(2)) ASSERT_TRUE(node.Put(next++, 1, 1000).ok());
  EXPECT_TRUE(node.Has(1));
  EXPECT_FALSE(node.Has(3));
  while (next < 1000) ASSERT_TRUE(node.Put(next++, 1, 1000).ok());
  EXPECT_FALSE(node.Has(1));
}

// Objects [first, last) are loaded, each read once by who wanted it.
void Scan(Node* node, Client* client, uint64_t first, uint64_t last) {
  std::vector<std::byte> into(1000);
  for (uint64_t i = first; i < last; ++i) {
    ASSERT_TRUE(node->Put(i, 1, 1000, kNow).ok());
    ASSERT_EQ((*client)->Copy({OidOf(i), 1, into}).code, Code::kOk);
  }
}

TEST(MemoryTier, AScanLeavesWhatWasReadMoreThanOnce) {
  Node node(SmallOptions(64, 16 * kKiB, 10'000));
  Client client(1, node.memory.span(), node.plan.segments, &node.sessions);
  Scan(&node, &client, 0, 200);
  std::vector<std::byte> into(1000);
  for (uint64_t i = 0; i < 200; i += 2) {
    ASSERT_EQ(client->Copy({OidOf(i), 1, into}).code, Code::kOk);
  }
  Scan(&node, &client, 1'000, 20'000);  // 20 times the memory
  for (uint64_t i = 0; i < 200; ++i) EXPECT_EQ(node.Has(i), i % 2 == 0) << i;
}

TEST(MemoryTier, WhatComesBackSoonIsKept) {
  Node node(SmallOptions(64, 16 * kKiB, 10'000));
  Client client(1, node.memory.span(), node.plan.segments, &node.sessions);
  Scan(&node, &client, 0, 1'500);
  ASSERT_FALSE(node.Has(7));
  ASSERT_FALSE(node.Has(8));
  Scan(&node, &client, 7, 8);
  Scan(&node, &client, 10'000, 15'000);
  EXPECT_TRUE(node.Has(7));
  EXPECT_FALSE(node.Has(10'000));
  // Too late, it is as good as new.
  Scan(&node, &client, 8, 9);
  Scan(&node, &client, 15'000, 17'000);
  EXPECT_FALSE(node.Has(8));
}

// A mark says where a record lay. While marks were read by Maintain only, those of records that had
// left meanwhile counted for what lay there next, which was kept for reads that it never had.
TEST(MemoryTier, MarksOfWhatHasLeftDoNotCountForWhatCameThere) {
  Node node(SmallOptions(64, 16 * kKiB, 10'000));
  Client client(1, node.memory.span(), node.plan.segments, &node.sessions);
  for (uint64_t round = 0; round < 4; ++round) {
    Scan(&node, &client, round * 5'000, (round + 1) * 5'000);
    node.tier->Maintain(kNow, 0);
  }
  EXPECT_EQ(node.tier->Stats().marks, 20'000u);
  EXPECT_EQ(node.tier->Stats().moved_bytes, 0u);
}

TEST(MemoryTier, SmallRecordsFillWhatLargeOnesLeave) {
  Node node(SmallOptions(64, 64 * kKiB, 10'000));
  Random random(1);
  for (uint64_t i = 0; i < 3'000; ++i) {
    const auto size = static_cast<uint64_t>(100 * std::exp2(8 * random.Unit()));  // up to 25 KB
    ASSERT_TRUE(node.Put(i, 1, size, kNow).ok());
  }
  const TierStats stats = node.tier->Stats();
  const uint64_t in_use =
      stats.object_bytes / stats.segments * (stats.segments - stats.free_segments);
  EXPECT_GT(stats.live_bytes, in_use / 100 * 94);
}

TEST(MemoryTier, AViewKeepsItsSegmentUntilReleased) {
  Node node(SmallOptions(16, 16 * kKiB, 10'000));
  Client client(1, node.memory.span(), node.plan.segments, &node.sessions);
  ASSERT_TRUE(node.Put(1, 1, 1000).ok());
  node.tier->Maintain(kNow, 0);
  bool over_grant = false;
  LocalView view = client->View(OidOf(1), 1, &over_grant);
  ASSERT_TRUE(view);
  EXPECT_EQ(view.name(), "mem:1");
  EXPECT_EQ(view.etag(), "v1");
  EXPECT_EQ(node.memory.span().data() + view.payload_file_offset(), view.payload().data());
  ASSERT_TRUE(node.tier->Drop(OidOf(1), 1));
  for (uint64_t i = 100; i < 2000; ++i) ASSERT_TRUE(node.Put(i, 1, 1000).ok());
  EXPECT_TRUE(IsRight(1, 1, view.payload()));
  EXPECT_FALSE(client->View(OidOf(1), 1, &over_grant));
  EXPECT_FALSE(over_grant);
}

TEST(MemoryTier, ViewsPinAtMostAQuarter) {
  Node node(SmallOptions(16, 16 * kKiB, 10'000));
  Client a(1, node.memory.span(), node.plan.segments, &node.sessions);
  for (uint64_t i = 0; i < 12 * 16; ++i) ASSERT_TRUE(node.Put(i, 1, 900).ok());
  node.tier->Maintain(kNow, 0);
  std::vector<LocalView> views;
  bool over_grant = false;
  for (uint64_t i = 0; i < 12 * 16 && !over_grant; ++i)
    views.push_back(a->View(OidOf(i), 1, &over_grant));
  EXPECT_TRUE(over_grant);
  EXPECT_EQ(node.sessions.PinnedSegments(1), 4u);
  {
    // A second session gets its share only as the first one lets go of it.
    Client b(2, node.memory.span(), node.plan.segments, &node.sessions);
    node.tier->Maintain(kNow, 0);
    EXPECT_FALSE(b->View(OidOf(150), 1, &over_grant));
    EXPECT_TRUE(over_grant);
    EXPECT_TRUE(b->Pin(OidOf(150), 1));
    views.clear();
    node.tier->Maintain(kNow, 0);
    EXPECT_TRUE(b->View(OidOf(150), 1, &over_grant));
  }
  node.tier->Maintain(kNow, 0);
  node.tier->Maintain(kNow, 0);
  for (uint64_t i = 0; i < 3 * 16; ++i) views.push_back(a->View(OidOf(i), 1, &over_grant));
  EXPECT_FALSE(over_grant);
}

TEST(MemoryTier, SaysWhenReadersPinEverything) {
  Node node(SmallOptions(8, 16 * kKiB, 10'000));
  Client client(1, node.memory.span(), node.plan.segments, &node.sessions);
  // A client that writes nonsense into its session.
  std::memset(client.session().data() + shm::PinsOffset(), 0xff,
              shm::SessionBytes(node.plan.segments) - shm::PinsOffset());
  Status status;
  for (uint64_t i = 0; i < 1000 && status.ok(); ++i) status = node.Put(i, 1, 1000);
  EXPECT_EQ(status.code(), Code::kNoSpace);
  EXPECT_NE(status.message().find("readers pin"), std::string::npos) << status.message();
  node.sessions.Detach(1);
  EXPECT_TRUE(node.Put(5000, 1, 1000).ok());
  node.sessions.Attach(1, client.session());
}

TEST(MemoryTier, GarbageInMarksDoesNothing) {
  Node node(SmallOptions(16, 16 * kKiB, 10'000));
  Client client(1, node.memory.span(), node.plan.segments, &node.sessions);
  for (uint64_t i = 0; i < 100; ++i) ASSERT_TRUE(node.Put(i, 1, 1000).ok());
  Random random(7);
  auto* header = reinterpret_cast<shm::SessionHeader*>(client.session().data());
  auto* marks =
      reinterpret_cast<shm::Mark*>(client.session().data() + shm::MarksOffset(node.plan.segments));
  for (int round = 0; round < 20; ++round) {
    for (uint32_t i = 0; i < shm::kMarkSlots; ++i) {
      marks[i] = random.Chance(0.5) ? random.Next()
                                    : shm::MakeEntry(0, static_cast<uint32_t>(random.Below(16)),
                                                     random.Below(16 * kKiB));
    }
    header->mark_head.store(random.Next());
    node.tier->Maintain(kNow, kMiB);
  }
  for (uint64_t i = 0; i < 100; ++i)
    EXPECT_TRUE(IsRight(i, 1, node.tier->Find(OidOf(i), 1)->payload));
}

TEST(MemoryTier, AFullIndexDropsTheOldest) {
  Node node(SmallOptions(64, 16 * kKiB, 100));
  for (uint64_t i = 0; i < 2000; ++i) ASSERT_TRUE(node.Put(i, 1, 100).ok()) << i;
  EXPECT_TRUE(node.Has(1999));
  EXPECT_FALSE(node.Has(0));
}

// Was: what is open was never taken back, and nothing else was there.
TEST(MemoryTier, AFullIndexDropsWhatLiesInTheOpenSegment) {
  Node node(SmallOptions(16, kMiB, 100));
  ASSERT_TRUE(node.Put(10'000, 1, 100, kNow).ok());
  ASSERT_TRUE(node.tier->Hold(OidOf(10'000), 1));
  for (uint64_t i = 0; i < 2000; ++i) ASSERT_TRUE(node.Put(i, 1, 100, kNow).ok()) << i;
  EXPECT_TRUE(node.Has(1999));
  EXPECT_FALSE(node.Has(0));
  EXPECT_TRUE(node.Has(10'000));
  // Promises of another time of which few are left.
  for (uint64_t i = 5'000; i < 5'050; ++i) ASSERT_TRUE(node.Put(i, 1, 100, kNow, kLater).ok());
  for (uint64_t i = 5'000; i < 5'049; ++i) ASSERT_TRUE(node.tier->Unhold(OidOf(i), 1));
  for (uint64_t i = 0; i < 2000; ++i) ASSERT_TRUE(node.Put(i, 1, 100, kNow).ok()) << i;
  EXPECT_TRUE(node.Has(10'000) && node.Has(5'049));
}

TEST(MemoryTier, AFullIndexIsNotRelievedByMovingPromises) {
  Node node(SmallOptions(64, 16 * kKiB, 400));
  // Two sealed segments of promises, and what nobody holds in an open one.
  for (uint64_t i = 0; i < 150; ++i) ASSERT_TRUE(node.Put(i, 1, 100, kNow, kLater).ok()) << i;
  uint64_t next = 1'000;
  while (node.tier->Stats().dropped_objects == 0) ASSERT_TRUE(node.Put(next++, 1, 100, kNow).ok());
  EXPECT_EQ(node.tier->Stats().moved_bytes, 0u);
  for (uint64_t i = 0; i < 150; ++i) EXPECT_TRUE(node.Has(i)) << i;
}

TEST(MemoryTier, AnOpenSegmentThatIsWrittenIsTakenBackOnceThatIsDone) {
  Node node(SmallOptions(16, kMiB, 100));
  const Result<MemoryTier::Slot> slow = node.tier->Allocate(
      {.oid = OidOf(9'000), .version = 1, .size = 100, .name = "slow", .etag = "e"}, kNow,
      std::nullopt);
  ASSERT_TRUE(slow.ok());
  Status status;
  uint64_t next = 0;
  while (status.ok() && next < 2000) status = node.Put(next++, 1, 100, kNow);
  EXPECT_EQ(status.code(), Code::kNoSpace);
  node.tier->Abort(slow->id);
  for (uint64_t i = 0; i < 2000; ++i) ASSERT_TRUE(node.Put(i, 1, 100, kNow).ok()) << i;
}

TEST(MemoryTier, AFullIndexOfPromisesSaysSo) {
  Node node(SmallOptions(64, 16 * kKiB, 100));
  Status status;
  for (uint64_t i = 0; i < 2000 && status.ok(); ++i) status = node.Put(i, 1, 100, kNow, kLater);
  EXPECT_EQ(status.code(), Code::kNoSpace);
  EXPECT_NE(status.message().find("index_objects"), std::string::npos);
}

TEST(MemoryTier, FindManyAgreesWithFind) {
  Node node(SmallOptions(64, 64 * kKiB, 5'000));
  for (uint64_t i = 0; i < 1500; ++i) ASSERT_TRUE(node.Put(i, 1 + i % 2, 500, kNow).ok());
  for (uint64_t i = 0; i < 1500; i += 3) ASSERT_TRUE(node.tier->Hold(OidOf(i), 0));
  std::vector<Oid> oids;
  std::vector<VersionHash> versions;
  for (uint64_t i = 0; i < 3000; ++i) {
    oids.push_back(OidOf(i));
    versions.push_back(i % 3);
  }
  for (const size_t count : {0, 1, 7, 8, 9, 15, 16, 17, 25, 33, 1499, 3000}) {
    const std::span<const Oid> some = std::span(oids).first(count);
    Bitmap here(count), held(count), here_only(count), any_version(count);
    node.tier->FindMany(some, std::span(versions).first(count), &here, &held);
    node.tier->FindMany(some, std::span(versions).first(count), &here_only, nullptr);
    node.tier->FindMany(some, {}, &any_version, nullptr);
    for (uint64_t i = 0; i < count; ++i) {
      const bool expected = i < 1500 && (i % 3 == 0 || i % 3 == 1 + i % 2);
      EXPECT_EQ(here.Get(i), expected) << i;
      EXPECT_EQ(held.Get(i), expected && i % 3 == 0) << i;
      EXPECT_EQ(here_only.Get(i), expected) << i;
      EXPECT_EQ(any_version.Get(i), i < 1500) << i;
    }
  }
}

// Its wall clock stands at 100 s until it is set.
class NodeWithAClock : public Node {
 public:
  NodeWithAClock() : NodeWithAClock(std::make_shared<int64_t>(100)) {}
  void SetClock(int64_t seconds) {
    *now_s_ = seconds;
    tier->LookAtTheClock();
  }

 private:
  explicit NodeWithAClock(std::shared_ptr<int64_t> now_s)
      : Node(OptionsWith(now_s)), now_s_(now_s) {}
  static MemoryTierOptions OptionsWith(std::shared_ptr<int64_t> now_s) {
    MemoryTierOptions options = SmallOptions(16, 16 * kKiB, 1'000);
    options.wall = [now_s] { return WallTime{*now_s}; };
    return options;
  }

  std::shared_ptr<int64_t> now_s_;
};

TEST(MemoryTier, WhatHasExpiredIsNotThere) {
  NodeWithAClock node;
  ASSERT_TRUE(node.Put(1, 1, 500, kNow, std::nullopt, 101).ok());
  ASSERT_TRUE(node.Put(1, 2, 500, kNow).ok());
  ASSERT_TRUE(node.Put(2, 1, 500, kNow, kLater, 101).ok());
  ASSERT_TRUE(node.Put(3, 1, 500, kNow, std::nullopt, 102).ok());
  EXPECT_EQ(node.tier->Find(OidOf(3), 1)->expires_s, 102u);
  const auto there = [&](uint64_t number, VersionHash version) {
    const Oid oid = OidOf(number);
    Bitmap here(1), held(1);
    node.tier->FindMany(std::span(&oid, 1), std::span(&version, 1), &here, &held);
    EXPECT_EQ(here.Get(0), node.Has(number, version));
    return here.Get(0);
  };
  EXPECT_TRUE(there(1, 1) && there(1, 2) && there(2, 1) && there(3, 1));
  node.SetClock(101);
  EXPECT_FALSE(there(1, 1) || there(2, 1));
  EXPECT_TRUE(there(1, 2) && there(3, 1));
  EXPECT_EQ(node.tier->Find(OidOf(1), 0)->version, 2u);
  size_t listed = 0;  // what snapshots tell of
  node.tier->ListSlots(0, node.tier->slots(), [&](const MemoryTier::Listed&) { ++listed; });
  EXPECT_EQ(listed, 2u);
  EXPECT_FALSE(node.tier->Hold(OidOf(1), 1));
  EXPECT_TRUE(node.tier->Unhold(OidOf(2), 1));  // it had a promise
  // Loaded again, it ends when the store says now.
  ASSERT_TRUE(node.Put(2, 1, 500, kNow, std::nullopt, 103).ok());
  EXPECT_TRUE(there(2, 1));
  EXPECT_EQ(node.tier->Stats().live_objects, 4u);
  node.SetClock(103);
  EXPECT_FALSE(there(2, 1));
}

TEST(MemoryTier, WhatExpiresWhileItIsHeldIsReplacedAndStaysHeld) {
  NodeWithAClock node;
  ASSERT_TRUE(node.Put(1, 1, 500, kNow, kLater, 101).ok());
  const TierStats before = node.tier->Stats();
  node.SetClock(101);
  EXPECT_FALSE(node.Has(1, 1));
  ASSERT_TRUE(node.Put(1, 1, 500, kNow, std::nullopt, 200).ok());
  ASSERT_TRUE(node.Has(1, 1));
  EXPECT_EQ(node.tier->Find(OidOf(1), 1)->expires_s, 200u);
  EXPECT_TRUE(IsRight(1, 1, node.tier->Find(OidOf(1), 1)->payload));
  EXPECT_EQ(node.tier->Stats().held_bytes, before.held_bytes);
  EXPECT_EQ(node.tier->Stats().live_bytes, before.live_bytes);
  EXPECT_TRUE(node.tier->Unhold(OidOf(1), 1));
  EXPECT_EQ(node.tier->Stats().held_bytes, 0u);
  EXPECT_TRUE(node.tier->Drop(OidOf(1), 1));
  EXPECT_EQ(node.tier->Stats().live_bytes, 0u);
}

TEST(MemoryTier, ReclaimKeepsNothingThatHasExpired) {
  NodeWithAClock node;
  for (uint64_t i = 0; i < 10; ++i)
    ASSERT_TRUE(node.Put(i, 1, 1'000, kNow, std::nullopt, i < 5 ? 101 : 0).ok());
  node.SetClock(101);
  for (uint64_t n = 100; n < 600; ++n) {
    for (uint64_t i = 0; i < 10; ++i) {
      node.tier->MarkRead(OidOf(i), 1);
      node.tier->MarkRead(OidOf(i), 1);
    }
    ASSERT_TRUE(node.Put(n, 1, 1'000, kNow).ok());
  }
  node.SetClock(100);  // a clock that is set back shows what is still there
  for (uint64_t i = 0; i < 10; ++i) EXPECT_EQ(node.Has(i, 1), i >= 5) << i;
}

TEST(MemoryTier, ForEachVisitsEveryLiveRecordOnce) {
  Node node(SmallOptions(16, 16 * kKiB, 10'000));
  for (uint64_t i = 0; i < 50; ++i) ASSERT_TRUE(node.Put(i, 1, 1000, kNow, kLater).ok());
  for (uint64_t i = 0; i < 50; i += 2) {
    ASSERT_TRUE(node.tier->Unhold(OidOf(i), 1));
    EXPECT_TRUE(i % 4 != 0 || node.tier->Drop(OidOf(i), 1));
  }
  uint64_t live = 0;
  uint64_t held = 0;
  node.tier->ForEach([&](const RecordView& record, bool is_held) {
    ++live;
    held += is_held ? 1 : 0;
    EXPECT_EQ(Hash64(record.payload), record.payload_hash);
  });
  EXPECT_EQ(live, 37u);
  EXPECT_EQ(held, 25u);
}

TEST(PlanRegion, NamesWhatCannotWork) {
  EXPECT_NE(PlanRegion({.memory_bytes = kMiB}).status().message().find("memory_bytes"),
            std::string::npos);
  EXPECT_NE(PlanRegion({.memory_bytes = kGiB, .segment_bytes = 1000})
                .status()
                .message()
                .find("segment_bytes"),
            std::string::npos);
  EXPECT_NE(PlanRegion({.memory_bytes = kGiB, .segment_bytes = 4 * kKiB})
                .status()
                .message()
                .find("65,535"),
            std::string::npos);
  EXPECT_NE(PlanRegion({.memory_bytes = kGiB, .index_objects = 1'000'000'000'000})
                .status()
                .message()
                .find("index_objects"),
            std::string::npos);
}

TEST(PlanRegion, StaysWithinItsMemoryForEverySize) {
  for (uint64_t memory = 8 * kMiB; memory < 64 * kGiB; memory = memory * 5 / 4 + 12345) {
    const Result<shm::RegionPlan> plan = PlanRegion({.memory_bytes = memory});
    ASSERT_TRUE(plan.ok()) << memory << " " << plan.status().message();
    EXPECT_LE(plan->region_bytes, memory);
    EXPECT_GE(plan->region_bytes + 2 * plan->segment_bytes, memory);
    EXPECT_EQ(plan->segment_offset % (2 * kMiB), 0u);
    EXPECT_LE(plan->bucket_offset + plan->buckets * sizeof(shm::Bucket), plan->segment_offset);
  }
}

}  // namespace
}  // namespace holdfast::store
