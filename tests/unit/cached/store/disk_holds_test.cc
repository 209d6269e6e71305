// SPDX-License-Identifier: Apache-2.0
// What is promised on the disk stays there, whatever else is written.
#include <gtest/gtest.h>

#include "cached/store/disk_tier.h"
#include "tests/unit/cached/store/fake_disk.h"

namespace holdfast::store {
namespace {

constexpr uint64_t kSize = 10'000;

bool Hold(DiskWorld& w, uint32_t n) {
  uint32_t holds = 0;
  return w.tier->Hold(w.Key(n, kSize).oid, w.Key(n, kSize).version, kSize, &holds);
}

uint32_t Unhold(DiskWorld& w, uint32_t n) {
  uint32_t holds = 99;
  EXPECT_TRUE(w.tier->Unhold(w.Key(n, kSize).oid, w.Key(n, kSize).version, kSize, &holds));
  return holds;
}

void Churn(DiskWorld& w, uint32_t first, uint32_t count) {
  for (uint32_t n = first; n < first + count; n += 20) w.Take(n, 20, kSize);
}

TEST(DiskHolds, WhatIsHeldOutlivesEveryReclaim) {
  DiskWorld w(16);
  w.Take(0, 20, kSize);
  for (uint32_t n = 0; n < 10; ++n) ASSERT_TRUE(Hold(w, n));
  Churn(w, 100, 1'600);  // four times the disk
  EXPECT_EQ(*w.CountRight(0, 10, kSize), 10u);
  for (uint32_t n = 0; n < 10; ++n) EXPECT_EQ(Unhold(w, n), 0u);
  Churn(w, 2'000, 1'600);
  EXPECT_EQ(*w.CountRight(0, 10, kSize), 0u);
  EXPECT_FALSE(w.tier->TakeLost().any());
}

// As much as may be promised, spread over all segments: every victim has to be written again for the
// most part.
TEST(DiskHolds, AsMuchAsMayBePromisedStays) {
  DiskWorld w(32);
  const auto most = static_cast<uint32_t>(w.tier->PromisableBytes() / DiskTier::HeldBytes(kSize));
  uint32_t held = 0, next = 0;
  std::vector<uint32_t> numbers;
  while (held < most) {
    w.Take(next, 20, kSize);
    for (uint32_t n = next; n < next + 20 && held < most; n += 2) {
      if (!Hold(w, n)) continue;
      numbers.push_back(n);
      ++held;
    }
    next += 20;
  }
  Churn(w, next, 2'000);
  uint32_t right = 0;
  for (const uint32_t n : numbers) right += *w.CountRight(n, 1, kSize);
  EXPECT_EQ(right, held);
  EXPECT_FALSE(w.tier->TakeLost().any());
  EXPECT_GT(*w.CountRight(next + 1'900, 100, kSize), 20u);  // and what comes is still taken
}

TEST(DiskHolds, WhatExpiresWhileItIsHeldIsLost) {
  DiskWorld w;
  w.expires_s = static_cast<uint32_t>(w.clock.Wall().seconds) + 1'000;
  w.Take(0, 2, kSize);
  ASSERT_TRUE(Hold(w, 0));
  w.clock.RunFor(1'001s);
  EXPECT_FALSE(w.Read(0, kSize).ok());
  EXPECT_FALSE(w.Read(1, kSize).ok());
  const DiskRecords::Lost lost = w.tier->TakeLost();
  ASSERT_EQ(lost.oids.size(), 1u);
  EXPECT_EQ(lost.oids[0], w.Key(0, kSize).oid);
  EXPECT_EQ(w.tier->Stats().held_objects, 0u);
}

TEST(DiskHolds, SeveralPromisesOfOneObject) {
  DiskWorld w;
  w.Take(0, 1, kSize);
  ASSERT_TRUE(Hold(w, 0));
  ASSERT_TRUE(Hold(w, 0));
  EXPECT_EQ(Unhold(w, 0), 1u);
  Churn(w, 100, 400);
  EXPECT_EQ(*w.CountRight(0, 1, kSize), 1u);
  EXPECT_EQ(Unhold(w, 0), 0u);
  uint32_t holds = 0;
  EXPECT_FALSE(w.tier->Unhold(w.Key(0, kSize).oid, w.Key(0, kSize).version, kSize, &holds));
  EXPECT_FALSE(Hold(w, 99));  // not there
}

TEST(DiskHolds, WhatIsHeldIsNotDropped) {
  DiskWorld w;
  w.Take(0, 2, kSize);
  ASSERT_TRUE(Hold(w, 0));
  EXPECT_EQ(w.tier->Drop(w.Key(0, kSize).oid, 0), 0u);
  EXPECT_EQ(w.tier->Drop(w.Key(1, kSize).oid, 0), 1u);
  EXPECT_EQ(*w.CountRight(0, 2, kSize), 1u);
}

// A victim whose records cannot be written again keeps them.
TEST(DiskHolds, AWriteThatFailsLosesNothing) {
  DiskWorld w(16);
  w.Take(0, 20, kSize);
  for (uint32_t n = 0; n < 20; ++n) ASSERT_TRUE(Hold(w, n));
  for (uint32_t round = 0; round < 12; ++round) {
    Churn(w, 100 + 1'000 * round, 60);
    w.disk.fail_writes = true;
    w.Run();
    w.disk.fail_writes = false;
    w.clock.RunFor(1min);
    Churn(w, 600 + 1'000 * round, 60);
  }
  EXPECT_FALSE(w.tier->TakeLost().any());
  EXPECT_EQ(*w.CountRight(0, 20, kSize), 20u);
}

TEST(DiskHolds, WhatADamagedDiskLosesIsCounted) {
  DiskWorld w;
  w.Take(0, 1, kSize);
  ASSERT_TRUE(Hold(w, 0));
  w.disk.fail_reads = true;
  EXPECT_FALSE(w.Read(0, kSize).ok());
  EXPECT_EQ(w.tier->TakeLost().oids, std::vector{w.Key(0, kSize).oid});
  EXPECT_FALSE(w.tier->IsHeld(w.Key(0, kSize).oid, w.Key(0, kSize).version));
}

// A disk elsewhere that is away for a while.
TEST(DiskHolds, AVictimThatDoesNotAnswerIsNotLost) {
  DiskWorld w(16);
  w.Take(0, 20, kSize);
  for (uint32_t n = 0; n < 20; ++n) ASSERT_TRUE(Hold(w, n));
  Churn(w, 100, 200);
  w.disk.fail_reads = true;
  w.disk.fail_code = Code::kTimeout;
  Churn(w, 300, 200);
  w.disk.fail_reads = false;
  Churn(w, 500, 600);
  EXPECT_FALSE(w.tier->TakeLost().any());
  EXPECT_EQ(*w.CountRight(0, 20, kSize), 20u);
}

// What lies there for good is given back only for what lies elsewhere for good.
TEST(DiskHolds, WhatCannotBeSyncedStaysWhereItWas) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    DiskWorld w(16);
    w.Take(0, 20, kSize);
    for (uint32_t n = 0; n < 20; ++n) ASSERT_TRUE(Hold(w, n));
    Churn(w, 100, 300);
    w.disk.fail_syncs = true;
    Churn(w, 400, 200);
    Random random(seed);
    w.image.Crash(&random);
    w.disk.fail_syncs = false;
    ASSERT_TRUE(w.Start().ok());
    EXPECT_EQ(*w.CountRight(0, 20, kSize), 20u) << seed;
  }
}

TEST(DiskHolds, TheSegmentThatWasOpenOutlivesTheProcess) {
  DiskWorld w;
  w.Take(0, 3, kSize);
  w.Take(3, 2, kSize);  // another batch
  ASSERT_TRUE(w.Start().ok());
  EXPECT_EQ(w.tier->Stats().recovered_objects, 5u);
  EXPECT_EQ(*w.CountRight(0, 5, kSize), 5u);
  w.Take(5, 4, kSize);
  ASSERT_TRUE(w.Start().ok());
  EXPECT_EQ(*w.CountRight(0, 9, kSize), 9u);
}

// Of batches that are written at the same time a later one may be done when the process is killed.
TEST(DiskHolds, ABatchThatWasNotWrittenHidesNoLaterOne) {
  DiskWorld w;
  w.Take(0, 3, kSize);
  w.Take(3, 3, kSize);
  w.Take(6, 3, kSize);
  const Result<DiskTier::Found> lost = w.Look(w.Key(3, kSize).oid, 0);
  ASSERT_TRUE(lost.ok());
  std::string zeros(40'000 / 4'096 * 4'096 - 8'192, '\0');
  w.image.Write(lost->segment, lost->head.entry.offset / 4'096 * 4'096, {AsBytes(zeros)});
  ASSERT_TRUE(w.Start().ok());
  EXPECT_EQ(*w.CountRight(0, 3, kSize), 3u);
  EXPECT_EQ(*w.CountRight(6, 3, kSize), 3u);
}

TEST(DiskHolds, AnOpenSegmentThatReachesOverWhatWasThereBefore) {
  DiskWorld w;
  for (int round = 0; round < 6; ++round) {
    Churn(w, 1'000u * static_cast<uint32_t>(round), 260);  // the disk is written again and again
    w.Take(50'000, 3, 777u * static_cast<uint64_t>(round + 6));
    ASSERT_TRUE(w.Start().ok());
    ASSERT_EQ(*w.CountRight(50'000, 3, 777u * static_cast<uint64_t>(round + 6)), 3u) << round;
    ASSERT_TRUE(w.CountRight(1'000u * static_cast<uint32_t>(round), 260, kSize).ok());
  }
}

}  // namespace
}  // namespace holdfast::store
