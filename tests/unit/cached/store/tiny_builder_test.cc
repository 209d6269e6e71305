// SPDX-License-Identifier: Apache-2.0
#include "cached/store/tiny_builder.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/cached/store/fake_disk.h"

namespace holdfast::store {
namespace {

// A builder over a disk of its own, and objects that exist by their OIDs only.
struct Builder {
  Builder()
      : segments(8, DiskWorld::kSegmentBytes),
        records(&segments, 1'024),
        writer(world.env, &world.disk, nullptr, {1, "c"}, &segments, &records),
        builder(world.env, &world.disk, &segments, &writer, &runs, &counters, [] { return true; }) {
    for (uint32_t s = 0; s < 8; ++s) segments.AddFree(s);
  }
  // What Start said at its end.
  bool Build(std::vector<Oid> of, uint32_t packs, uint64_t payload_bytes = 100) {
    oids = std::move(of);
    std::sort(oids.begin(), oids.end());
    payload.assign(payload_bytes, 'x');
    whole.reset();
    builder.Start(
        {.packs = packs, .bytes = oids.size() * payload_bytes},
        [this, packs](uint32_t first, uint32_t end, const TinyBuilder::Take& take) {
          std::vector<TinyObject> objects;
          for (const Oid& oid : oids) {
            const uint32_t pack = disk::PackOf(oid, packs);
            if (pack < first || pack >= end) continue;
            objects.push_back(
                {{.oid = oid, .name = "n", .etag = "e", .payload = AsBytes(payload)}, false});
          }
          take(objects);
        },
        [this](uint32_t packs_done) { done.push_back(packs_done); }, [this](bool w) { whole = w; });
    for (int i = 0; i < 200 && !whole; ++i) {
      builder.Maintain();
      world.clock.RunFor(10ms);
    }
    return whole.value_or(false);
  }

  DiskWorld world;
  DiskSegments segments;
  DiskRecords records;
  DiskWriter writer;
  TinyRuns runs;
  TinyBuilder::Counters counters;
  TinyBuilder builder;
  std::vector<Oid> oids;
  std::string payload;
  std::optional<bool> whole;
  std::vector<uint32_t> done;
};

std::vector<Oid> Spread(uint32_t count) {
  std::vector<Oid> oids;
  for (uint64_t i = 0; i < count; ++i) oids.push_back({Mix64(i + 1), i});
  return oids;
}

TEST(TinyBuilder, ARunGoesOverAsManySegmentsAsItTakes) {
  Builder b;
  EXPECT_TRUE(b.Build(Spread(4'000), 160));  // some 600 KB
  ASSERT_EQ(b.runs.runs().size(), 1u);
  EXPECT_EQ(b.runs.segments(), 3u);
  EXPECT_EQ(b.runs.objects(), 4'000u);
  for (const Oid& oid : Spread(4'000)) EXPECT_TRUE(b.runs.MayHave(oid));
  EXPECT_EQ(b.done.size(), 3u);
  EXPECT_TRUE(std::is_sorted(b.done.begin(), b.done.end()));
  EXPECT_EQ(b.done.back(), 160u);
}

TEST(TinyBuilder, ItWaitsForASegment) {
  Builder b;
  std::vector<uint32_t> lent;
  for (int i = 0; i < 7; ++i) lent.push_back(b.segments.Lend());
  EXPECT_FALSE(b.Build(Spread(100), 4));
  EXPECT_TRUE(b.builder.busy());
  b.segments.GiveBack(lent[0]);
  for (int i = 0; i < 20; ++i) {
    b.builder.Maintain();
    b.world.clock.RunFor(10ms);
  }
  EXPECT_FALSE(b.builder.busy());
  EXPECT_EQ(b.runs.objects(), 100u);
}

TEST(TinyBuilder, ManyOidsMadeForOnePackAreLeftOut) {
  Builder b;
  std::vector<Oid> oids;
  for (uint64_t i = 0; i < 1'000; ++i) oids.push_back({5, i << 40});
  EXPECT_TRUE(b.Build(oids, 40));
  EXPECT_EQ(b.runs.objects(), 255u);
  EXPECT_EQ(b.counters.left_out_objects, 745u);
  Builder large;
  oids.resize(40);
  EXPECT_TRUE(large.Build(oids, 2, 4'000));
  EXPECT_EQ(large.runs.objects() + large.counters.left_out_objects, 40u);
  EXPECT_GT(large.runs.objects(), 10u);
  EXPECT_LT(large.runs.objects(), 20u);  // a quarter of a segment
}

TEST(TinyBuilder, AFailedWriteLeavesNothingBehind) {
  Builder b;
  b.world.disk.fail_writes = true;
  EXPECT_FALSE(b.Build(Spread(1'000), 40));
  EXPECT_FALSE(b.builder.busy());
  EXPECT_EQ(b.runs.segments(), 0u);
  b.world.disk.fail_writes = false;
  b.world.clock.RunFor(2min);  // the segment is cleaned by then
  EXPECT_EQ(b.segments.free(), 8u);
  EXPECT_TRUE(b.Build(Spread(1'000), 40));
}

TEST(TinyBuilder, WhatIsForgottenOnItsWayIsNotFound) {
  Builder b;
  const std::vector<Oid> oids = Spread(4'000);
  const Oid first = *std::min_element(oids.begin(), oids.end());
  std::optional<bool> whole;
  b.builder.Start(
      {.packs = 1, .bytes = 100},
      [&](uint32_t, uint32_t, const TinyBuilder::Take& take) {
        const std::vector<TinyObject> objects = {
            {{.oid = first, .name = "n", .etag = "e", .payload = {}}, false}};
        take(objects);
      },
      nullptr, [&](bool w) { whole = w; });
  b.builder.Forget(first);
  b.world.clock.RunFor(1s);
  EXPECT_TRUE(whole.value_or(false));
  EXPECT_FALSE(b.runs.MayHave(first));
}

}  // namespace
}  // namespace holdfast::store
