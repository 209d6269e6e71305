// SPDX-License-Identifier: Apache-2.0
#include "cached/store/disk_tier.h"

#include <gtest/gtest.h>

#include "tests/unit/cached/store/fake_disk.h"

namespace holdfast::store {
namespace {

TEST(DiskTier, WhatItTookIsReadBack) {
  DiskWorld w;
  w.Take(0, 20, 5'000);
  EXPECT_EQ(*w.CountRight(0, 20, 5'000), 20u);
  EXPECT_EQ(w.Read(20, 5'000).status().code(), Code::kNotFound);
  EXPECT_EQ(w.tier->Stats().objects, 20u);
}

TEST(DiskTier, AnObjectOfNoBytesAndOneThatFillsAQuarterOfASegment) {
  DiskWorld w;
  w.Take(0, 1, 0);
  w.Take(1, 1, 60'000);
  EXPECT_EQ(*w.CountRight(0, 1, 0), 1u);
  EXPECT_EQ(*w.CountRight(1, 1, 60'000), 1u);
}

TEST(DiskTier, AnyVersionFindsTheOneThatIsThere) {
  DiskWorld w;
  w.Take(7, 1, 100);
  Result<DiskTier::Found> found = w.Look(w.Key(7, 100).oid, 0);
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->head.entry.version, w.Key(7, 100).version);
  EXPECT_EQ(found->head.name, cached::NameOfObject(7));
  EXPECT_EQ(found->head.etag, cached::EtagOfObject(7));
}

TEST(DiskTier, SmallOnesCostOneRead) {
  DiskWorld w;
  w.Take(0, 1, 4'200);
  const uint64_t before = w.disk.reads;
  EXPECT_TRUE(w.Read(0, 4'200).ok());
  EXPECT_EQ(w.disk.reads, before + 1);
}

TEST(DiskTier, OnesWhoseSizeIsKnownToo) {
  DiskWorld w;
  w.Take(0, 2, 30'000);
  w.Take(2, 1, 30'000);
  const uint64_t before = w.disk.reads;
  EXPECT_TRUE(w.Read(0, 30'000, 30'192).ok());
  EXPECT_EQ(w.disk.reads, before + 1);
  // What was expected may be wrong.
  EXPECT_TRUE(w.Read(1, 30'000, 20'000).ok());
  EXPECT_TRUE(w.Read(1, 30'000, 1).ok());
  EXPECT_TRUE(w.Read(2, 30'000, 70'000).ok());
  EXPECT_TRUE(w.Read(2, 30'000, uint64_t{1} << 60).ok());
}

TEST(DiskTier, ARecordThatHasExpiredIsForgotten) {
  DiskWorld w;
  const uint32_t ends = w.expires_s = static_cast<uint32_t>(w.clock.Wall().seconds) + 1'000;
  w.Take(0, 2, 10'000);
  w.expires_s = 0;
  w.Take(2, 1, 10'000);
  ASSERT_TRUE(w.Start().ok());
  const Result<DiskTier::Found> found = w.Look(w.Key(0, 10'000).oid, w.Key(0, 10'000).version);
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->head.expires_s, ends);
  EXPECT_EQ(*w.CountRight(0, 3, 10'000), 3u);
  w.clock.RunFor(1'001s);
  std::string into(10'000, ' ');
  Status read;
  w.tier->Read(*found, {reinterpret_cast<std::byte*>(into.data()), into.size()},
               [&](Status status) { read = std::move(status); });
  w.Run();
  EXPECT_EQ(read.code(), Code::kNotFound);
  EXPECT_EQ(into, std::string(10'000, ' '));
  EXPECT_EQ(w.tier->Stats().objects, 3u);
  EXPECT_EQ(*w.CountRight(0, 3, 10'000), 1u);
  EXPECT_EQ(w.tier->Stats().objects, 1u);
  EXPECT_EQ(w.tier->Stats().corrupt, 0u);
}

TEST(DiskTier, AFullDiskLetsGoOfTheOldest) {
  DiskWorld w;
  for (uint32_t n = 0; n < 400; n += 20) w.Take(n, 20, 10'000);  // 4 MB into 2 MB
  const DiskStats stats = w.tier->Stats();
  EXPECT_GT(stats.reclaim.evicted_objects, 150u);
  EXPECT_GE(stats.free_segments, 1u);
  EXPECT_EQ(*w.CountRight(380, 20, 10'000), 20u);
  EXPECT_EQ(*w.CountRight(0, 100, 10'000), 0u);
  uint64_t evicted = 0;
  for (uint64_t objects : w.tier->evictions().objects()) evicted += objects;
  EXPECT_EQ(evicted, stats.reclaim.evicted_objects);
}

TEST(DiskTier, WhatWasReadStaysOverOneReclaim) {
  DiskWorld w;
  w.Take(0, 20, 10'000);
  EXPECT_TRUE(w.Read(3, 10'000).ok());
  EXPECT_TRUE(w.Read(4, 10'000).ok());
  for (uint32_t n = 100; n < 300; n += 20) w.Take(n, 20, 10'000);
  EXPECT_EQ(*w.CountRight(3, 2, 10'000), 2u);
  EXPECT_EQ(*w.CountRight(5, 15, 10'000), 0u);
  EXPECT_GE(w.tier->Stats().reclaim.kept_bytes, 20'000u);
}

// Reads the first 20 and evicts them: a fifth of the segment is kept, an eighth is given.
struct Giving {
  DiskWorld w;
  uint64_t room = 1 * kMiB;
  std::vector<disk::Entry> given{};
  std::function<void(const Bitmap&)> done{};

  void Run() {
    w.tier->SetOutlet(
        {.room = [this] { return room; },
         .take =
             [this](std::vector<disk::Entry> entries, std::function<void(const Bitmap&)> d) {
               given = std::move(entries);
               done = std::move(d);
             }});
    w.Take(0, 20, 10'000);
    for (uint32_t n = 0; n < 20; ++n) ASSERT_TRUE(w.Read(n, 10'000).ok());
    for (uint32_t n = 100; n < 400 && !done; n += 5) w.Take(n, 5, 10'000);
  }
  uint64_t Evicted() const { return w.tier->Stats().reclaim.evicted_objects; }
  bool Has(uint32_t n) const { return w.tier->HasRecord(w.Key(n, 10'000).oid, 0); }
};

TEST(DiskTier, WhatWasReadAndIsNotKeptIsGivenToTheOutlet) {
  Giving g;
  g.Run();
  ASSERT_EQ(g.given.size(), 3u);
  const uint64_t evicted = g.Evicted();
  for (const disk::Entry& entry : g.given) {  // until it is done
    EXPECT_TRUE(g.w.Look(entry.oid, entry.version).ok());
  }
  Bitmap taken(3);
  taken.Set(0);
  taken.Set(2);
  g.done(taken);
  g.w.Run();
  EXPECT_EQ(g.Evicted(), evicted + 1);
  for (const disk::Entry& entry : g.given) EXPECT_FALSE(g.w.tier->HasRecord(entry.oid, 0));
  EXPECT_EQ(*g.w.CountRight(0, 5, 10'000), 5u);  // kept
  EXPECT_GE(g.w.tier->Stats().free_segments, 1u);
}

TEST(DiskTier, WhatIsPromisedWhileItIsGivenStays) {
  Giving g;
  g.Run();
  ASSERT_EQ(g.given.size(), 3u);
  uint32_t holds = 0;
  EXPECT_TRUE(g.w.tier->Hold(g.given[1].oid, g.given[1].version, 10'000, &holds));
  g.done(Bitmap(3, true));
  g.w.Run();
  EXPECT_TRUE(g.w.Look(g.given[1].oid, g.given[1].version).ok());
  EXPECT_TRUE(g.w.tier->IsHeld(g.given[1].oid, g.given[1].version));
  EXPECT_FALSE(g.w.tier->HasRecord(g.given[0].oid, 0));
  EXPECT_FALSE(g.w.tier->HasRecord(g.given[2].oid, 0));
}

TEST(DiskTier, AnOutletWithoutRoomIsGivenNothing) {
  Giving g;
  g.room = 0;
  g.Run();
  EXPECT_TRUE(g.given.empty());
  EXPECT_GT(g.Evicted(), 0u);
}

TEST(DiskTier, ADiskThatDoesNotAnswerIsNoMiss) {
  DiskWorld w;
  w.Take(0, 1, 10'000);
  w.disk.fail_reads = true;
  w.disk.fail_code = Code::kTimeout;
  EXPECT_EQ(w.Look(w.Key(0, 10'000).oid, 0).status().code(), Code::kTimeout);
  w.disk.fail_reads = false;
  EXPECT_EQ(*w.CountRight(0, 1, 10'000), 1u);
}

TEST(DiskTier, WhatLeftByTheOutletIsAgainNewToTheDisk) {
  DiskWorld w;
  for (uint32_t n = 0; n < 400; n += 20) w.Take(n, 20, 10'000);  // it has been full
  const cached::ObjectKey key = w.Key(1'000, 10'000);
  EXPECT_FALSE(w.tier->Wants(key.oid, key.version, 10'200));
  EXPECT_TRUE(w.tier->Wants(key.oid, key.version, 10'200));
  w.tier->LeftByOutlet(key.oid, key.version);
  EXPECT_FALSE(w.tier->Wants(key.oid, key.version, 10'200));
  EXPECT_TRUE(w.tier->Wants(key.oid, key.version, 10'200));
}

TEST(DiskTier, ASealedSegmentOutlivesTheProcess) {
  DiskWorld w;
  w.Take(0, 60, 10'000);  // two segments and a bit
  ASSERT_TRUE(w.Start().ok());
  Result<uint32_t> right = w.CountRight(0, 60, 10'000);
  ASSERT_TRUE(right.ok()) << right.status().ToString();
  EXPECT_GE(*right, 48u);
  EXPECT_EQ(w.tier->Stats().recovered_objects, *right);
}

TEST(DiskTier, ACrashNeverMakesWrongBytes) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    DiskWorld w;
    Random random(seed);
    uint32_t n = 0;
    for (int round = 0; round < 4; ++round) {
      for (uint64_t i = random.Below(30); i > 0; --i, n += 8) w.Take(n, 8, 9'000);
      w.image.Crash(&random);
      ASSERT_TRUE(w.Start().ok());
      Result<uint32_t> right = w.CountRight(0, n, 9'000);
      ASSERT_TRUE(right.ok()) << "seed " << seed << ": " << right.status().ToString();
    }
  }
}

TEST(DiskTier, FlippedBitsAreMisses) {
  DiskWorld w;
  for (uint32_t n = 0; n < 160; n += 20) w.Take(n, 20, 10'000);
  for (int i = 0; i < 400; ++i) w.image.FlipBit(&w.random);
  Result<uint32_t> right = w.CountRight(0, 160, 10'000);
  ASSERT_TRUE(right.ok()) << right.status().ToString();
  EXPECT_LT(*right, 160u);
  EXPECT_GT(w.tier->Stats().corrupt, 0u);
  w.clock.RunFor(1min);
  w.tier->Maintain();
  EXPECT_TRUE(w.log.last_warning.starts_with("disk: ")) << w.log.last_warning;
  ASSERT_TRUE(w.Start().ok());
  ASSERT_TRUE(w.CountRight(0, 160, 10'000).ok());
}

TEST(DiskTier, AnotherNodesDiskIsLeftAlone) {
  DiskWorld w;
  w.Take(0, 60, 10'000);
  EXPECT_EQ(w.Start(2).code(), Code::kInvalid);
  EXPECT_FALSE(w.tier->Has(w.Key(0, 10'000).oid, 0));
  EXPECT_FALSE(w.tier->Wants(w.Key(0, 10'000).oid, 1, 100));
  EXPECT_EQ(w.Start(1, "other").code(), Code::kInvalid);
  EXPECT_TRUE(w.Start().ok());
  EXPECT_TRUE(w.tier->Has(w.Key(0, 10'000).oid, 0));
}

TEST(DiskTier, ADiskThatCannotBeWrittenRestsAndComesBack) {
  DiskWorld w;
  w.disk.fail_writes = true;
  for (uint32_t n = 0; n < 100; n += 20) w.Take(n, 20, 5'000);
  EXPECT_TRUE(w.tier->Stats().off);
  EXPECT_EQ(w.tier->Stats().objects, 0u);
  EXPECT_FALSE(w.tier->Wants(w.Key(0, 1'000).oid, 1, 100));
  w.disk.fail_writes = false;
  w.clock.RunFor(2min);
  EXPECT_FALSE(w.tier->Stats().off);
  w.Take(0, 20, 5'000);
  EXPECT_EQ(*w.CountRight(0, 20, 5'000), 20u);
}

TEST(DiskTier, ADiskThatCannotBeReadForgetsOnlyWhatWasAskedFor) {
  DiskWorld w;
  w.Take(0, 2, 10'000);
  w.disk.fail_reads = true;
  EXPECT_EQ(w.Read(0, 10'000).status().code(), Code::kNotFound);
  w.disk.fail_reads = false;
  EXPECT_FALSE(w.Read(0, 10'000).ok());
  EXPECT_TRUE(w.Read(1, 10'000).ok());
}

TEST(DiskTier, OnceFullItTakesWhatComesBack) {
  DiskWorld w;
  const cached::ObjectKey one = w.Key(5'000, 1'000);
  EXPECT_TRUE(w.tier->Wants(one.oid, one.version, 1'100));
  for (uint32_t n = 0; n < 400; n += 20) w.Take(n, 20, 10'000);
  EXPECT_FALSE(w.tier->Wants(one.oid, one.version, 1'100));
  EXPECT_TRUE(w.tier->Wants(one.oid, one.version, 1'100));
  // What is there is not written again.
  EXPECT_FALSE(w.tier->Wants(w.Key(399, 10'000).oid, w.Key(399, 10'000).version, 10'100));
}

TEST(DiskTier, WhatIsDroppedIsGone) {
  DiskWorld w;
  w.Take(0, 2, 1'000);
  w.tier->Drop(w.Key(0, 1'000).oid, 0);
  EXPECT_FALSE(w.Read(0, 1'000).ok());
  EXPECT_TRUE(w.Read(1, 1'000).ok());
}

TEST(DiskTier, ARecordThatIsEvictedBetweenLookAndRead) {
  DiskWorld w;
  w.Take(0, 1, 10'000);
  Result<DiskTier::Found> found = w.Look(w.Key(0, 10'000).oid, 0);
  ASSERT_TRUE(found.ok());
  for (uint32_t n = 100; n < 700; n += 20) w.Take(n, 20, 10'000);
  std::string bytes(10'000, '\0');
  std::optional<Status> read;
  w.tier->Read(*found, {reinterpret_cast<std::byte*>(bytes.data()), bytes.size()},
               [&](Status status) { read = std::move(status); });
  w.Run();
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->code(), Code::kNotFound);
}

TEST(DiskTier, SegmentsAreFilledToTheLastByteAndNotBeyond) {
  for (uint64_t size = 3'900; size < 4'100; size += 7) {  // batches of one: each begins at a block
    DiskWorld w;
    for (uint32_t n = 0; n < 120; ++n) w.Take(n, 1, size);
    Result<uint32_t> right = w.CountRight(0, 120, size);
    ASSERT_TRUE(right.ok()) << right.status().ToString();
    EXPECT_EQ(*right, 120u) << size;
  }
}

TEST(DiskTier, LimitsThatCannotWorkAreNamed) {
  EXPECT_EQ(DiskTier::Check(7, kMiB, {}).code(), Code::kInvalid);
  EXPECT_EQ(DiskTier::Check(70'000, kMiB, {}).code(), Code::kInvalid);
  EXPECT_EQ(DiskTier::Check(8, 65 * kMiB, {}).code(), Code::kInvalid);
  EXPECT_EQ(DiskTier::Check(8, kMiB + 1, {}).code(), Code::kInvalid);
  EXPECT_EQ(DiskTier::Check(8, kMiB, {.index_objects = 5}).code(), Code::kInvalid);
  EXPECT_TRUE(DiskTier::Check(8, kMiB, {}).ok());
}

}  // namespace
}  // namespace holdfast::store
