// SPDX-License-Identifier: Apache-2.0
#include "packs/pack_plan.h"

#include "tests/unit/packs/fixture.h"

namespace holdfast::packs {
namespace {

std::vector<FarEntry> Entries(int count, uint64_t size = 1'000) {
  std::vector<FarEntry> entries;
  for (int n = 0; n < count; ++n) entries.push_back({UriOf(n), {.size = size, .etag = "e"}});
  return entries;
}

std::vector<uint32_t> AllOf(const Plan& plan) {
  std::vector<uint32_t> all;
  for (const PackPlan& pack : plan.packs)
    all.insert(all.end(), pack.objects.begin(), pack.objects.end());
  return all;
}

TEST(Merge, NeighboursAreOneRequestWhileTheGapIsWorthIt) {
  const std::vector<WantedRange> wanted{{0, 10}, {10, 10}, {25, 5}, {36, 4}, {100, 0}, {100, 8}};
  const auto merged = Merge(wanted, 5, 1'000);
  ASSERT_EQ(merged.size(), 3u);
  EXPECT_EQ(merged[0].last, 3u);
  EXPECT_EQ(merged[0].size, 30u);
  EXPECT_EQ(merged[0].gap_bytes, 5u);
  EXPECT_EQ(merged[1].offset, 36u);
  EXPECT_EQ(merged[2].first, 4u);
  EXPECT_EQ(merged[2].size, 8u);
}

TEST(Merge, NoRequestIsLongerThanItMayUnlessOneObjectIs) {
  const auto merged = Merge({{0, 10}, {10, 10}, {20, 50}, {70, 1}}, 100, 20);
  ASSERT_EQ(merged.size(), 3u);
  EXPECT_EQ(merged[0].size, 20u);
  EXPECT_EQ(merged[1].size, 50u);
}

TEST(Merge, WhatOverlapsStaysApart) {
  EXPECT_EQ(Merge({{0, 10}, {0, 10}, {5, 10}}, 100, 100).size(), 3u);
  EXPECT_TRUE(Merge({}, 100, 100).empty());
}

TEST(Merge, ThePricesSayHowLongAGapMayBe) {
  // 400 micro-dollars for 1000 requests are 0.4 for one; a byte costs 0.00009.
  EXPECT_EQ(WorthwhileGap({.per_1000_gets = 400, .per_gb = 90'000, .per_hour = 0}), 4'444u);
  // A dollar an hour: a request holds up others for half a millisecond, which are 100 KB of time.
  const ReadPrices free_bytes{.per_1000_gets = 0, .per_gb = 0, .per_hour = 1'000'000};
  EXPECT_NEAR(static_cast<double>(WorthwhileGap(free_bytes)), 100'000, 100);
  EXPECT_EQ(WorthwhileGap({.per_1000_gets = 0, .per_gb = 90'000, .per_hour = 0}), 0u);
  EXPECT_GT(WorthwhileGap({.per_1000_gets = 400, .per_gb = 0, .per_hour = 0}), kMiB);
}

TEST(PackPlan, AsGivenCutsByBytes) {
  const Plan plan = MakePlan(Entries(25), {.pack_bytes = 10'000, .by_hash = false});
  ASSERT_EQ(plan.packs.size(), 3u);
  EXPECT_EQ(plan.packs[0].objects.size(), 10u);
  EXPECT_EQ(plan.packs[2].bytes, 5'000u);
  const std::vector<uint32_t> all = AllOf(plan);
  ASSERT_EQ(all.size(), 25u);
  EXPECT_TRUE(std::is_sorted(all.begin(), all.end()));
}

TEST(PackPlan, ByHashHasEveryObjectOnceByOid) {
  const std::vector<FarEntry> entries = Entries(1'000);
  const Plan plan = MakePlan(entries, {.pack_bytes = 50'000});
  EXPECT_EQ(plan.packs.size(), 32u) << "the next power of two of 21";
  const std::vector<uint32_t> all = AllOf(plan);
  ASSERT_EQ(all.size(), 1'000u);
  for (size_t i = 1; i < all.size(); ++i)
    EXPECT_LT(OidOf(entries[all[i - 1]].uri), OidOf(entries[all[i]].uri));
}

TEST(PackPlan, ByHashAnObjectMoreLeavesTheOtherPacks) {
  std::vector<FarEntry> entries = Entries(1'000);
  const auto names = [&] {
    std::set<std::vector<std::string>> packs;
    for (const PackPlan& pack : MakePlan(entries, {.pack_bytes = 50'000}).packs) {
      std::vector<std::string> uris;
      for (uint32_t n : pack.objects) uris.push_back(entries[n].uri);
      packs.insert(uris);
    }
    return packs;
  };
  const auto before = names();
  entries.insert(entries.begin() + 500, {UriOf(5'000), {.size = 1'000, .etag = "e"}});
  const auto after = names();
  size_t same = 0;
  for (const auto& pack : before) same += after.contains(pack) ? 1 : 0;
  EXPECT_EQ(same, before.size() - 1);
}

TEST(PackPlan, LargeOnesAndNamesThatComeTwiceAreLeftOut) {
  std::vector<FarEntry> entries = Entries(10);
  entries[3].info.size = 5'000;
  entries.push_back(entries[0]);
  const Plan plan = MakePlan(entries, {.max_object_bytes = 4'000});
  EXPECT_EQ(plan.objects, 9u);
  EXPECT_EQ(plan.too_large, 1u);
  EXPECT_EQ(plan.too_large_bytes, 5'000u);
  EXPECT_EQ(plan.twice, 1u);
  EXPECT_EQ(AllOf(plan).size(), 9u);
}

TEST(PackPlan, NoPackHasTooManyObjects) {
  for (bool by_hash : {true, false}) {
    const Plan plan = MakePlan(Entries(250'000, 0), {.by_hash = by_hash});
    EXPECT_EQ(plan.objects, 250'000u);
    for (const PackPlan& pack : plan.packs) EXPECT_LE(pack.objects.size(), kMaxPackObjects);
  }
}

TEST(PackPlan, MoneyBeforeAndAfter) {
  const Plan plan = MakePlan(Entries(1'000), {.pack_bytes = 50'000, .by_hash = false});
  const ReadPrices prices{.per_1000_gets = 400, .per_gb = 90'000};
  EXPECT_EQ(ReadOneByOne(plan, prices).money, 400 + 90);
  EXPECT_EQ(ReadPacks(plan, prices).requests, 20u);
  EXPECT_EQ(ReadPacks(plan, prices).money, 8 + 90);
  EXPECT_EQ(ToPack(plan, prices, 5'000).puts, 21u);
}

}  // namespace
}  // namespace holdfast::packs
