// SPDX-License-Identifier: Apache-2.0
// What becomes of tiny objects in the long run: merged through levels, taken back, found after a start,
// on disks that fail, lose and flip; and beside a model.
#include <gtest/gtest.h>

#include <map>

#include "tests/unit/cached/store/fake_disk.h"

namespace holdfast::store {
namespace {

constexpr uint64_t kSize = 250;
constexpr uint32_t kRun = 800;

TinyStats Tiny(const DiskWorld& w) { return w.tier->Stats().tiny; }

TEST(TinyLife, RunsAreMergedThroughLevels) {
  DiskWorld w(64);  // four of a level are one of the next
  for (uint32_t n = 0; n < 24 * kRun; n += kRun) w.Take(n, kRun, kSize);
  EXPECT_GE(Tiny(w).merge.merges, 6u);
  EXPECT_LT(Tiny(w).runs, 12u);
  EXPECT_GE(Tiny(w).segments, 20u);
  EXPECT_EQ(w.tier->Stats().objects, 24 * kRun);
  EXPECT_EQ(*w.CountRight(0, 24 * kRun, kSize), 24 * kRun);
  EXPECT_EQ(w.tier->Stats().corrupt, 0u);
}

TEST(TinyLife, AFullDiskLetsGoOfTheOldest) {
  DiskWorld w(16);
  for (uint32_t n = 0; n < 40 * kRun; n += kRun) w.Take(n, kRun, kSize);
  EXPECT_GT(Tiny(w).reclaim.evicted_objects, 20 * kRun);
  EXPECT_GE(w.tier->Stats().free_segments, 1u);
  EXPECT_EQ(*w.CountRight(38 * kRun, kRun, kSize), kRun);
  EXPECT_EQ(*w.CountRight(0, kRun, kSize), 0u);
  EXPECT_EQ(Tiny(w).refused_objects, 0u);
  uint64_t evicted = 0;
  for (uint64_t objects : w.tier->evictions().objects()) evicted += objects;
  EXPECT_EQ(evicted, Tiny(w).reclaim.evicted_objects);
  // Some are taken for others that are there still, and not counted.
  EXPECT_LE(w.tier->Stats().objects + evicted, 40 * kRun);
  EXPECT_GT(w.tier->Stats().objects + evicted, 39 * kRun);
}

TEST(TinyLife, RecordsAndPacksShareTheRing) {
  DiskWorld w(16);
  for (uint32_t n = 0; n < 30; ++n) {
    w.Take(n * kRun, kRun, kSize);
    w.Take(100'000 + n * 20, 20, 10'000);
  }
  EXPECT_GT(Tiny(w).reclaim.evicted_objects, 0u);
  EXPECT_GT(w.tier->Stats().reclaim.evicted_objects, 0u);
  EXPECT_EQ(*w.CountRight(100'000 + 29 * 20, 20, 10'000), 20u);
  EXPECT_EQ(*w.CountRight(29 * kRun, kRun, kSize), kRun);
}

TEST(TinyLife, WhatIsReadStays) {
  DiskWorld w(16);
  w.Take(0, kRun, kSize);
  for (uint32_t n = kRun; n < 40 * kRun; n += kRun) {
    w.Take(n, kRun, kSize);
    EXPECT_TRUE(w.Read(3, kSize).ok()) << n;
  }
  EXPECT_GT(Tiny(w).reclaim.kept_objects, 0u);
  EXPECT_EQ(*w.CountRight(0, 3, kSize), 0u);
}

TEST(TinyLife, MoreThanMemoryShouldKnowOfAreNotKept) {
  DiskWorld w(64);
  w.tiny.most_objects = 5 * kRun;
  ASSERT_TRUE(w.Start().ok());
  for (uint32_t n = 0; n < 20 * kRun; n += kRun) w.Take(n, kRun, kSize);
  EXPECT_LE(w.tier->Stats().objects, 7 * kRun);
  EXPECT_EQ(*w.CountRight(19 * kRun, kRun, kSize), kRun);
}

TEST(TinyLife, AStartFindsTheRuns) {
  DiskWorld w(32);
  for (uint32_t n = 0; n < 7 * kRun; n += kRun) w.Take(n, kRun, kSize);
  w.expires_s = static_cast<uint32_t>(w.clock.Wall().seconds) + 10'000;
  w.Take(20'000, kRun, kSize);
  w.Settle();
  const uint64_t young = Tiny(w).young_objects, runs = Tiny(w).runs;
  ASSERT_GT(young, 0u);
  const uint64_t before = w.disk.reads;
  ASSERT_TRUE(w.Start().ok());
  EXPECT_EQ(w.disk.reads - before, 32u + Tiny(w).segments);  // seals and tables
  EXPECT_EQ(w.tier->Stats().recovered_objects, 8 * kRun - young);
  EXPECT_EQ(Tiny(w).runs, runs);
  EXPECT_EQ(*w.CountRight(0, 7 * kRun, kSize), 7 * kRun);
  const uint32_t timed = *w.CountRight(20'000, kRun, kSize);
  EXPECT_EQ(timed, kRun - young);
  w.clock.RunFor(10'001s);
  EXPECT_EQ(*w.CountRight(20'000, kRun, kSize), 0u);
  // It goes on where it was.
  for (uint32_t n = 30'000; n < 30'000 + 4 * kRun; n += kRun) w.Take(n, kRun, kSize);
  EXPECT_EQ(*w.CountRight(0, 7 * kRun, kSize), 7 * kRun);
}

TEST(TinyLife, ADamagedTableCostsItsSegment) {
  DiskWorld w(32);
  w.Take(0, kRun, kSize);
  w.Take(1'000, kRun, kSize + 1);
  w.Settle();
  ASSERT_EQ(Tiny(w).runs, 1u);  // merged
  const uint32_t before = *w.CountRight(0, kRun, kSize);
  // Tables end segments: the objects' lines are in the last blocks that are not zero.
  for (uint32_t segment = 0; segment < 32; ++segment) {
    Buffer block(Disk::kBlock);
    w.image.Read(segment, 0, block.span());
    Result<disk::Seal> seal = disk::DecodeSeal(block.view(), DiskWorld::kSegmentBytes);
    if (!seal.ok()) continue;
    const uint64_t at =
        (seal->table_offset + seal->table_bytes() / 2) / Disk::kBlock * Disk::kBlock;
    w.image.Read(segment, at, block.span());
    block.data()[100] ^= std::byte{1};
    w.image.Write(segment, at, {block.view()});
    break;
  }
  ASSERT_TRUE(w.Start().ok());
  EXPECT_LT(*w.CountRight(0, kRun, kSize), before);
  ASSERT_TRUE(w.CountRight(1'000, kRun, kSize + 1).ok());
}

TEST(TinyLife, FlippedBitsAreMisses) {
  DiskWorld w(16);
  for (uint32_t n = 0; n < 8 * kRun; n += kRun) w.Take(n, kRun, kSize);
  for (int i = 0; i < 1'000; ++i) w.image.FlipBit(&w.random);
  Result<uint32_t> right = w.CountRight(0, 8 * kRun, kSize);
  ASSERT_TRUE(right.ok()) << right.status().ToString();
  EXPECT_LT(*right, 8 * kRun);
  EXPECT_GT(Tiny(w).corrupt, 0u);
  // Merging, reclaiming and starting are as careful.
  for (uint32_t n = 0; n < 20 * kRun; n += kRun) {
    w.Take(100'000 + n, kRun, kSize);
    for (int i = 0; i < 50; ++i) w.image.FlipBit(&w.random);
  }
  EXPECT_GT(Tiny(w).merge.corrupt_packs, 0u);
  ASSERT_TRUE(w.CountRight(0, 8 * kRun, kSize).ok());
  ASSERT_TRUE(w.Start().ok());
  ASSERT_TRUE(w.CountRight(0, 8 * kRun, kSize).ok());
  ASSERT_TRUE(w.CountRight(100'000 + 10 * kRun, 10 * kRun, kSize).ok());
}

TEST(TinyLife, ACrashNeverMakesWrongBytes) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    DiskWorld w(16);
    Random random(seed);
    uint32_t n = 0;
    for (int round = 0; round < 4; ++round) {
      for (uint64_t i = random.Below(10); i > 0; --i, n += 300) w.Take(n, 300, kSize);
      // At whatever is under way.
      for (uint64_t i = random.Below(30); i > 0; --i) {
        w.tier->Maintain();
        w.clock.RunFor(50us);
      }
      w.image.Crash(&random);
      ASSERT_TRUE(w.Start().ok());
      Result<uint32_t> right = w.CountRight(n - std::min(n, 900u), std::min(n, 900u), kSize);
      ASSERT_TRUE(right.ok()) << "seed " << seed << ": " << right.status().ToString();
    }
  }
}

TEST(TinyLife, ADiskThatCannotBeWrittenLosesWhatCameAndNoMore) {
  DiskWorld w(32);
  w.Take(0, kRun, kSize);
  w.disk.fail_writes = true;
  for (uint32_t n = 1'000; n < 1'000 + 6 * kRun; n += kRun) w.Take(n, kRun, kSize);
  EXPECT_GT(Tiny(w).lost_objects, 0u);
  EXPECT_TRUE(w.tier->Stats().off);
  EXPECT_EQ(*w.CountRight(0, 100, kSize), 100u);
  w.disk.fail_writes = false;
  w.clock.RunFor(3min);
  for (uint32_t n = 10'000; n < 10'000 + 4 * kRun; n += kRun) w.Take(n, kRun, kSize);
  EXPECT_EQ(*w.CountRight(10'000, 4 * kRun, kSize), 4 * kRun);
  EXPECT_EQ(*w.CountRight(0, 100, kSize), 100u);
}

TEST(TinyLife, ADiskThatCannotBeReadForgetsOnlyWhatWasAskedFor) {
  DiskWorld w(32);
  w.Take(0, kRun, kSize);
  w.disk.fail_reads = true;
  EXPECT_EQ(w.Read(0, kSize).status().code(), Code::kNotFound);
  w.disk.fail_reads = false;
  EXPECT_FALSE(w.Read(0, kSize).ok());
  EXPECT_EQ(*w.CountRight(1, 200, kSize), 200u);
}

// Without losses the tier is a map from objects to their last version and end.
TEST(TinyLife, AgreesWithAMap) {
  struct Known {
    uint64_t size = 0;
    uint32_t expires_s = 0;
  };
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    DiskWorld w(128);
    w.tiny.objects_per_pack = seed % 2 == 0 ? 25 : 50;
    ASSERT_TRUE(w.Start().ok());
    Random random(seed);
    std::map<uint32_t, Known> model;
    for (int step = 0; step < 80; ++step) {
      const auto first = static_cast<uint32_t>(random.Below(4'000));
      if (random.Chance(0.8)) {
        const uint64_t size = random.Below(600);
        const auto now_s = static_cast<uint32_t>(w.clock.Wall().seconds);
        w.expires_s = random.Chance(0.3) ? now_s + 1 + static_cast<uint32_t>(random.Below(200)) : 0;
        w.Take(first, 400, size);
        for (uint32_t n = first; n < first + 400; ++n) model[n] = {size, w.expires_s};
      } else {
        for (uint32_t n = first; n < first + 20; ++n) {
          w.tier->Drop(w.Key(n, 0).oid, 0);
          model.erase(n);
        }
      }
      if (random.Chance(0.2)) w.clock.RunFor(30s);
    }
    uint32_t missing = 0;
    for (uint32_t n = 0; n < 4'400; n += 3) {
      Result<DiskTier::Found> found = w.Look(w.Key(n, 0).oid, 0);
      const auto it = model.find(n);
      const bool there = it != model.end() && (it->second.expires_s == 0 ||
                                               it->second.expires_s > w.clock.Wall().seconds);
      if (!there) {
        // Where the last one expired an older one may be left.
        EXPECT_TRUE(!found.ok() || it != model.end()) << "seed " << seed << " object " << n;
        continue;
      }
      missing += found.ok() ? 0 : 1;
      EXPECT_TRUE(!found.ok() || found->head.entry.size == it->second.size) << n;
    }
    EXPECT_LE(missing, 8u) << seed;  // strangers of what was dropped
    EXPECT_GT(Tiny(w).merge.merges, 0u);
  }
}

}  // namespace
}  // namespace holdfast::store
