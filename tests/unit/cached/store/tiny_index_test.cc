// SPDX-License-Identifier: Apache-2.0
#include "cached/store/tiny_index.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/random.h"
#include "cached/store/tiny_builder.h"

namespace holdfast::store {
namespace {

std::vector<Oid> SomeOids(size_t count, uint64_t seed) {
  Random random(seed);
  std::vector<Oid> oids(count);
  for (Oid& oid : oids) oid = {random.Next(), random.Next()};
  std::sort(oids.begin(), oids.end());
  return oids;
}

TinyIndex IndexOf(const std::vector<Oid>& oids, uint32_t packs) {
  TinyIndex index(packs, 0);
  size_t next = 0;
  for (uint32_t pack = 0; pack < packs; ++pack) {
    index.AddPack(4096 + pack * 64);
    for (; next < oids.size() && disk::PackOf(oids[next], packs) == pack; ++next) {
      index.Add(oids[next], false);
    }
  }
  index.End(4096 + packs * 64);
  return index;
}

bool Find(const TinyIndex& index, const Oid& oid, uint32_t object) {
  return index.FindMatch(oid, [&](uint32_t, uint32_t match, uint32_t) { return match == object; });
}

TEST(TinyIndex, EveryObjectIsFoundWhereItIs) {
  for (const uint32_t per_pack : {25u, 50u}) {
    const std::vector<Oid> oids = SomeOids(20'000, 1);
    const TinyIndex index = IndexOf(oids, 20'000 / per_pack);
    EXPECT_EQ(index.objects(), 20'000u);
    for (uint32_t i = 0; i < oids.size(); ++i) ASSERT_TRUE(Find(index, oids[i], i)) << i;
  }
}

TEST(TinyIndex, AnObjectTakesTwoBytes) {
  const TinyIndex index = IndexOf(SomeOids(100'000, 2), 4'000);
  EXPECT_LT(index.memory_bytes(), 195'000u);
  EXPECT_GT(index.memory_bytes(), 175'000u);
}

TEST(TinyIndex, StrangersFitSeldom) {
  const TinyIndex index = IndexOf(SomeOids(100'000, 3), 4'000);
  uint32_t fit = 0;
  for (const Oid& oid : SomeOids(100'000, 4)) {
    fit += index.FindMatch(oid, [](uint32_t, uint32_t, uint32_t) { return true; }) ? 1 : 0;
  }
  EXPECT_GT(fit, 150u);
  EXPECT_LT(fit, 500u);  // one of 8,191 for each of 25
}

TEST(TinyIndex, ReadAndForgotten) {
  const std::vector<Oid> oids = SomeOids(1'000, 5);
  TinyIndex index = IndexOf(oids, 40);
  for (uint32_t i = 0; i < 1'000; i += 3) index.SetRead(i, true);
  for (uint32_t i = 0; i < 1'000; i += 5) index.Forget(i);
  index.SetRead(3, false);
  for (uint32_t i = 0; i < 1'000; ++i) {
    EXPECT_EQ(index.alive(i), i % 5 != 0);
    EXPECT_EQ(Find(index, oids[i], i), i % 5 != 0);
    EXPECT_EQ(index.was_read(i), i != 3 && i % 3 == 0 && i % 5 != 0) << i;
  }
  EXPECT_EQ(index.live(), 800u);
  index.Forget(5);
  EXPECT_EQ(index.live(), 800u);
}

TEST(TinyIndex, PacksForObjectsAndBytes) {
  EXPECT_EQ(TinyBuilder::PacksFor(0, 0, 25), 1u);
  EXPECT_EQ(TinyBuilder::PacksFor(2'500, 2'500 * 300, 25), 101u);
  EXPECT_EQ(TinyBuilder::PacksFor(2'500, 2'500 * 300, 50), 51u);
  EXPECT_EQ(TinyBuilder::PacksFor(1'600, 1'600 * 1'024, 25), 101u);  // 16 KiB a pack
  EXPECT_EQ(TinyBuilder::PacksFor(1'600, 1'600 * 4'096, 25), 1'601u);  // of large ones 4 KiB
}

}  // namespace
}  // namespace holdfast::store
