// SPDX-License-Identifier: Apache-2.0
// Tiny objects through the face of the disk tier: written, found, updated, expired, dropped, merged.
#include "cached/store/tiny_tier.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/unit/cached/store/fake_disk.h"

namespace holdfast::store {
namespace {

constexpr uint64_t kSize = 250;
constexpr uint32_t kRun = 800;  // a bit more than a segment's worth

bool Read(DiskWorld& w, const DiskTier::Found& found, uint64_t first, std::string* into) {
  std::optional<Status> read;
  w.tier->ReadRange(found, first, {reinterpret_cast<std::byte*>(into->data()), into->size()},
                    [&](Status status) { read = std::move(status); });
  w.Run();
  return read->ok();
}

TEST(TinyTier, YoungOnesAreFoundWithoutARead) {
  DiskWorld w;
  w.Take(0, 20, kSize);
  const uint64_t before = w.disk.reads;
  EXPECT_EQ(*w.CountRight(0, 20, kSize), 20u);
  EXPECT_EQ(w.Read(20, kSize).status().code(), Code::kNotFound);
  EXPECT_EQ(w.disk.reads, before);
  EXPECT_EQ(w.tier->Stats().tiny.young_objects, 20u);
}

TEST(TinyTier, WhatIsWrittenCostsOneRead) {
  DiskWorld w;
  w.Take(0, kRun, kSize);
  ASSERT_EQ(w.tier->Stats().tiny.segments, 1u);
  const uint64_t before = w.disk.reads;
  EXPECT_EQ(*w.CountRight(0, 200, kSize), 200u);
  EXPECT_EQ(w.disk.reads - before, 200u + w.tier->Stats().tiny.stray_reads);
  EXPECT_EQ(*w.CountRight(200, kRun - 200, kSize), kRun - 200);
}

TEST(TinyTier, TheSmallestAndTheLargest) {
  DiskWorld w;
  for (uint32_t n = 0; n < 400; n += 4) {
    w.Take(n, 1, 0);
    w.Take(n + 1, 1, 1);
    w.Take(n + 2, 2, 4'096);
  }
  ASSERT_GT(w.tier->Stats().tiny.segments, 0u);
  for (uint32_t n = 0; n < 400; n += 4) {
    EXPECT_TRUE(w.Read(n, 0).ok()) << n;
    EXPECT_EQ(*w.Read(n + 1, 1), w.PayloadOf(n + 1, 1));
    EXPECT_EQ(*w.Read(n + 3, 4'096), w.PayloadOf(n + 3, 4'096));
  }
}

TEST(TinyTier, FieldsAndARangeWithoutTheRest) {
  DiskWorld w;
  w.Take(0, kRun, kSize);
  Result<DiskTier::Found> found = w.Look(w.Key(3, kSize).oid, 0);
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->head.name, cached::NameOfObject(3));
  EXPECT_EQ(found->head.etag, cached::EtagOfObject(3));
  EXPECT_EQ(found->head.entry.version, w.Key(3, kSize).version);
  std::string part(40, '\0');
  EXPECT_TRUE(Read(w, *found, 100, &part));
  EXPECT_EQ(part, w.PayloadOf(3, kSize).substr(100, 40));
  w.Take(9'000, 1, 10'000);  // a record
  found = w.Look(w.Key(9'000, 10'000).oid, 0);
  ASSERT_TRUE(found.ok());
  EXPECT_TRUE(Read(w, *found, 9'960, &part));
  EXPECT_EQ(part, w.PayloadOf(9'000, 10'000).substr(9'960));
}

TEST(TinyTier, TheNewestVersionIsFoundAndNeighboursDoNotCollide) {
  DiskWorld w(32);
  w.Take(0, kRun, kSize);
  w.Take(0, kRun / 2, kSize + 1);  // other versions of every other one
  w.Take(10'000, kRun, kSize);     // that run is written, too
  EXPECT_EQ(*w.CountRight(0, kRun / 2, kSize + 1), kRun / 2);
  EXPECT_EQ(*w.CountRight(kRun / 2, kRun / 2, kSize), kRun / 2);
  EXPECT_EQ(w.Look(w.Key(5, kSize).oid, 0)->head.entry.size, kSize + 1);
  // The older one is there until they are merged.
  for (uint32_t n = 20'000; w.tier->Stats().tiny.merge.merges < 2; n += kRun)
    w.Take(n, kRun, kSize);
  EXPECT_GT(w.tier->Stats().tiny.merge.superseded_objects, 0u);
  EXPECT_EQ(*w.CountRight(0, 100, kSize), 0u);
  EXPECT_EQ(*w.CountRight(0, 100, kSize + 1), 100u);
}

TEST(TinyTier, ExpiredOnesAreNeverRead) {
  DiskWorld w(32);
  w.Take(0, 100, kSize);
  w.expires_s = static_cast<uint32_t>(w.clock.Wall().seconds) + 1'000;
  w.Take(100, kRun, kSize);
  w.expires_s = 0;
  ASSERT_EQ(w.tier->Stats().tiny.segments, 1u);
  EXPECT_TRUE(w.Read(100, kSize).ok());
  EXPECT_TRUE(w.Read(100 + kRun - 1, kSize).ok());  // a young one
  Result<DiskTier::Found> found = w.Look(w.Key(101, kSize).oid, 0);
  ASSERT_TRUE(found.ok());
  w.clock.RunFor(1'001s);
  EXPECT_EQ(*w.CountRight(100, kRun, kSize), 0u);
  std::string bytes(kSize, '\0');
  EXPECT_FALSE(Read(w, *found, 0, &bytes));
  EXPECT_EQ(bytes, std::string(kSize, '\0'));
  EXPECT_EQ(*w.CountRight(0, 100, kSize), 100u);
  // They are not written again, and nobody calls them evicted.
  w.Take(10'000, 2 * kRun, kSize);
  EXPECT_GT(w.tier->Stats().tiny.merge.merges, 0u);
  EXPECT_GT(w.tier->Stats().tiny.merge.expired_objects, 0u);
  EXPECT_EQ(w.tier->Stats().tiny.reclaim.evicted_objects, 0u);
  EXPECT_EQ(*w.CountRight(0, 100, kSize), 100u);
}

TEST(TinyTier, WhatHasExpiredWhenItComesIsNeverRead) {
  DiskWorld w;
  w.expires_s = static_cast<uint32_t>(w.clock.Wall().seconds);
  for (const uint64_t size : {kSize, uint64_t{10'000}}) {
    w.Take(1, 1, size);
    EXPECT_FALSE(w.Read(1, size).ok()) << size;
  }
}

TEST(TinyTier, WhatIsDroppedIsGoneFromAllRuns) {
  DiskWorld w(32);
  w.Take(0, kRun, kSize);
  w.Take(0, kRun, kSize + 1);
  EXPECT_EQ(w.tier->Drop(w.Key(5, kSize).oid, 0), 1u);
  EXPECT_EQ(w.tier->Drop(w.Key(kRun - 1, kSize).oid, 0), 1u);
  EXPECT_EQ(w.tier->Drop(w.Key(90'000, kSize).oid, 0), 0u);
  EXPECT_FALSE(w.Look(w.Key(5, kSize).oid, 0).ok());
  EXPECT_FALSE(w.Look(w.Key(kRun - 1, kSize).oid, 0).ok());
  for (uint32_t n = 20'000; w.tier->Stats().tiny.merge.merges < 2; n += kRun)
    w.Take(n, kRun, kSize);
  EXPECT_FALSE(w.Look(w.Key(5, kSize).oid, 0).ok());
  EXPECT_TRUE(w.Look(w.Key(6, kSize).oid, 0).ok());
}

TEST(TinyTier, WhatIsDroppedWhileItIsMergedIsGone) {
  DiskWorld w(32);
  for (uint32_t n = 0; w.tier->Stats().tiny.runs < 1; n += 100) w.Take(n, 100, kSize);
  // The second run comes, and its merge with the first begins; step by step.
  std::set<uint32_t> dropped;
  std::vector<std::string> payloads;
  w.Take(5'000, 650, kSize);
  bool taken = false;
  uint32_t next = 0;
  w.tier->Take({}, [&] { taken = true; });
  for (int i = 0; i < 400; ++i) {
    w.tier->Maintain();
    w.clock.RunFor(100us);
    if (i % 4 == 0 && next < 100) {
      w.tier->Drop(w.Key(next, kSize).oid, 0);
      dropped.insert(next++);
    }
    if (i == 40) {
      w.Take(6'000, 300, kSize);
    }
  }
  w.Run();
  EXPECT_TRUE(taken);
  EXPECT_GT(w.tier->Stats().tiny.merge.merges, 0u);
  for (const uint32_t n : dropped) EXPECT_FALSE(w.Read(n, kSize).ok()) << n;
  EXPECT_EQ(*w.CountRight(100, 200, kSize), 200u);
}

// The first to be read is a stranger with the same print; meanwhile a merge gives the second's segment
// back, and another run may lie there.
TEST(TinyTier, AnObjectBehindAStrangerIsFoundWhileItIsMerged) {
  DiskWorld w(32);
  const Oid oid = w.Key(0, kSize).oid;
  uint32_t stranger = 1'000'000;
  const auto alike = [&](const Oid& other) {
    return other.lo >> 51 == oid.lo >> 51 && other < oid && oid.hi - other.hi < UINT64_MAX / 200;
  };
  while (!alike(w.Key(stranger, kSize).oid)) ++stranger;
  w.Take(0, 700, kSize);
  w.Take(10'000, 100, kSize);  // the first run is written
  w.Take(stranger, 1, kSize);
  uint32_t found = 0, looks = 0;
  for (uint32_t n = 20'000; n < 20'000 + 8 * kRun; n += kRun) {
    w.Take(n, kRun - 100, kSize);
    for (int i = 0; i < 400; ++i) {
      w.tier->Look(oid, 0, 0, [&](const Result<DiskFound>& r) { found += r.ok() ? 1 : 0; });
      ++looks;
      if (i % 20 == 0) w.tier->Maintain();
      w.clock.RunFor(30us);
    }
  }
  w.Run();
  EXPECT_EQ(found, looks);
  EXPECT_GT(w.tier->Stats().tiny.merge.merges, 2u);
  EXPECT_GT(w.tier->Stats().tiny.stray_reads, 0u);
}

TEST(TinyTier, WhatWasReadIsNotWrittenAgainUnlessInAnotherVersion) {
  DiskWorld w;
  w.Take(0, kRun, kSize);
  const cached::ObjectKey key = w.Key(3, kSize), other = w.Key(3, kSize + 1);
  EXPECT_TRUE(w.tier->Has(key.oid, key.version));
  EXPECT_TRUE(w.tier->Wants(key.oid, key.version, 400));  // nobody knows that it is this one
  EXPECT_TRUE(w.Read(3, kSize).ok());
  EXPECT_FALSE(w.tier->Wants(key.oid, key.version, 400));
  EXPECT_FALSE(w.Look(other.oid, other.version).ok());
  EXPECT_TRUE(w.tier->Wants(other.oid, other.version, 400));
  w.Take(3, 1, kSize + 1);
  EXPECT_FALSE(w.tier->Wants(other.oid, other.version, 400));
  EXPECT_TRUE(w.Read(3, kSize + 1).ok());
}

TEST(TinyTier, DoubleDensity) {
  uint64_t memory[2] = {};
  for (const bool twice : {false, true}) {
    DiskWorld w(32);
    w.tiny.objects_per_pack = twice ? 50 : 25;
    ASSERT_TRUE(w.Start().ok());
    for (uint32_t n = 0; n < 6 * kRun; n += kRun) w.Take(n, kRun, kSize);
    EXPECT_EQ(*w.CountRight(0, 6 * kRun, kSize), 6 * kRun);
    EXPECT_LT(w.tier->Stats().tiny.stray_reads, 6 * kRun / 10);
    memory[twice] = w.tier->Stats().tiny.memory_bytes;
  }
  EXPECT_LT(memory[1], memory[0]);
}

TEST(TinyTier, EveryOneIsListedOnce) {
  DiskWorld w(32);
  for (uint32_t n = 0; n < 4 * kRun; n += kRun) w.Take(n, kRun, kSize);
  w.Take(50'000, 3, 10'000);
  w.tier->Drop(w.Key(1, kSize).oid, 0);
  w.clock.RunFor(100s);
  std::multiset<Oid> listed;
  for (uint32_t segment = 0; segment < w.tier->listings(); ++segment) {
    bool done = false;
    w.tier->List(
        segment,
        [&](const Oid& oid, VersionHash, Duration age) {
          listed.insert(oid);
          EXPECT_GE(age, 100s);
          EXPECT_LT(age, 1h);
        },
        [&] { done = true; });
    w.Run();
    EXPECT_TRUE(done);
  }
  EXPECT_EQ(listed.size(), 4 * kRun + 3 - 1);
  EXPECT_EQ(std::set<Oid>(listed.begin(), listed.end()).size(), listed.size());
}

}  // namespace
}  // namespace holdfast::store
