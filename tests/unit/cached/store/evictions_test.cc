// SPDX-License-Identifier: Apache-2.0
// What a tier says of the ages of its records, and of the ages at which they left.
#include "cached/store/evictions.h"

#include <gtest/gtest.h>

#include <set>

#include <map>
#include <numeric>

#include "tests/unit/cached/store/tier_fixture.h"

namespace holdfast::store {
namespace {

using snapshot::AgeCells;
using snapshot::Ring;

std::map<Oid, std::pair<Duration, bool>> Listing(const MemoryTier& tier, Time now) {
  std::map<Oid, std::pair<Duration, bool>> listing;
  tier.ListSlots(0, tier.slots(), [&](const MemoryTier::Listed& l) {
    EXPECT_TRUE(listing.emplace(l.oid, std::pair(now - l.since, l.held)).second) << "listed twice";
  });
  return listing;
}

uint64_t Sum(const std::vector<uint64_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), uint64_t{0});
}

TEST(Evictions, CountsByAgeAndByWhatLeftTogether) {
  EvictionCounts counts;
  for (int i = 0; i < 3; ++i) counts.Evicted(Ring::kFresh, 10s);
  counts.Evicted(Ring::kFresh, 40s);
  counts.Evicted(Ring::kKept, 40s);
  counts.SegmentDone();
  for (int i = 0; i < 2; ++i) counts.Evicted(Ring::kFresh, 10s);
  counts.Moved(40s);
  counts.SegmentDone();
  EXPECT_EQ(counts.objects()[AgeCells::CellOf(10s)], 5u);
  EXPECT_EQ(counts.squares()[AgeCells::CellOf(10s)], 9u + 4u);
  EXPECT_EQ(counts.objects()[AgeCells::CellOf(40s)], 1u);
  EXPECT_EQ(counts.objects()[AgeCells::kCells + AgeCells::CellOf(40s)], 1u);
  EXPECT_EQ(Sum(counts.objects()), 7u);
  EXPECT_EQ(counts.moved()[AgeCells::CellOf(40s)], 1u);
  EXPECT_EQ(Sum(counts.moved()), 1u);
}

TEST(Evictions, EveryListedRecordWasWrittenThenAndEveryDroppedOneIsCounted) {
  Node node(SmallOptions(16, 8 * kKiB, 400));
  Time now{1'000'000};
  std::map<Oid, Time> written;
  for (uint64_t n = 0; n < 500; ++n, now = now + 1s) {
    ASSERT_TRUE(node.Put(n, 1, 1000, now).ok());
    written[OidOf(n)] = now;
  }
  const auto listing = Listing(*node.tier, now);
  EXPECT_EQ(listing.size(), node.tier->Stats().live_objects);
  for (const auto& [oid, seen] : listing) {
    EXPECT_EQ(seen.first, now - written.at(oid));
    EXPECT_FALSE(seen.second);
  }
  const EvictionCounts& counts = node.tier->evictions();
  EXPECT_EQ(Sum(counts.objects()), node.tier->Stats().dropped_objects);
  EXPECT_GT(Sum(counts.objects()), 300u);
  // A ring of about 100 records, one a second: nothing leaves much younger or older.
  for (uint32_t cell = 0; cell < AgeCells::kCells; ++cell) {
    if (counts.objects()[cell] == 0) continue;
    EXPECT_GT(AgeCells::StartOf(cell), 64s);
    EXPECT_LT(AgeCells::StartOf(cell), 128s);
  }
}

TEST(Evictions, WhatIsKeptOnGoesOnAgeing) {
  Node node(SmallOptions(16, 8 * kKiB, 400));
  Client reader(1, node.memory.span(), node.plan.segments, &node.sessions);
  Time now{1'000'000};
  ASSERT_TRUE(node.Put(0, 1, 1000, now).ok());
  std::vector<std::byte> into(1000);
  for (int i = 0; i < 3; ++i) ASSERT_EQ(reader->Copy({OidOf(0), 1, into}).code, Code::kOk);
  for (uint64_t n = 1; n < 150; ++n) {
    now = now + 1s;
    node.tier->Maintain(now, UINT64_MAX);
    ASSERT_TRUE(node.Put(n, 1, 1000, now).ok());
  }
  const auto listing = Listing(*node.tier, now);
  ASSERT_TRUE(listing.contains(OidOf(0)));
  EXPECT_EQ(listing.at(OidOf(0)).first, 149s);
  EXPECT_FALSE(listing.contains(OidOf(1)));
}

// One of the fresh ring that is read goes on to the kept one, and counts as moved, at the age it had;
// small tiers have one ring, where nothing moves.
TEST(Evictions, WhatIsKeptOnIsCountedAndListedAsKept) {
  for (const uint32_t segments : {16u, 64u}) {
    Node node(SmallOptions(segments, 8 * kKiB, 1'000));
    Client reader(1, node.memory.span(), node.plan.segments, &node.sessions);
    Time now{1'000'000};
    ASSERT_TRUE(node.Put(0, 1, 1000, now).ok());
    std::vector<std::byte> into(1000);
    for (int i = 0; i < 3; ++i) ASSERT_EQ(reader->Copy({OidOf(0), 1, into}).code, Code::kOk);
    for (uint64_t n = 1; n < 10 * segments; ++n) {
      now = now + 1s;
      node.tier->Maintain(now, UINT64_MAX);
      ASSERT_TRUE(node.Put(n, 1, 1000, now).ok());
    }
    const bool two = segments >= 32;
    node.tier->ListSlots(0, node.tier->slots(), [&](const MemoryTier::Listed& l) {
      EXPECT_EQ(l.ring == Ring::kKept, two && l.oid == OidOf(0));
    });
    const EvictionCounts& counts = node.tier->evictions();
    EXPECT_EQ(Sum(counts.moved()), two ? 1u : 0u);
    EXPECT_EQ(Sum(counts.objects()), node.tier->Stats().dropped_objects);
  }
}

// What comes back soon is kept from its load on: it never moved.
TEST(Evictions, WhatComesBackSoonIsListedAsKept) {
  Node node(SmallOptions(64, 8 * kKiB, 50'000));
  Time now{1'000'000};
  for (uint64_t n = 0; n < 640; ++n, now = now + 1s) ASSERT_TRUE(node.Put(n, 1, 1000, now).ok());
  std::set<Oid> back;
  for (uint64_t n = 0; n < 640 && back.size() < 20; ++n) {
    if (node.Has(n)) continue;
    ASSERT_TRUE(node.Put(n, 1, 1000, now).ok());
    back.insert(OidOf(n));
  }
  ASSERT_EQ(back.size(), 20u);
  size_t kept = 0;
  node.tier->ListSlots(0, node.tier->slots(), [&](const MemoryTier::Listed& l) {
    if (back.contains(l.oid) && l.ring == Ring::kKept) ++kept;
  });
  EXPECT_GE(kept, 19u);  // a ghost's place may be taken by another
  EXPECT_EQ(Sum(node.tier->evictions().moved()), 0u);
}

TEST(Evictions, TheAgeOfWhatWasHeldCountsFromTheEndOfItsPromise) {
  Node node(SmallOptions(16, 8 * kKiB, 400));
  Time now{1'000'000};
  ASSERT_TRUE(node.Put(0, 1, 1000, now, now + 1h).ok());
  for (uint64_t n = 1; n < 8; ++n) ASSERT_TRUE(node.Put(n, 1, 1000, now, now + 1h).ok());
  now = now + 600s;
  EXPECT_TRUE(Listing(*node.tier, now).at(OidOf(0)).second);
  EXPECT_EQ(Listing(*node.tier, now).at(OidOf(0)).first, 600s);
  node.tier->Maintain(now, UINT64_MAX);
  for (uint64_t n = 0; n < 8; ++n) ASSERT_TRUE(node.tier->Unhold(OidOf(n), 1));
  now = now + 5s;
  const auto listing = Listing(*node.tier, now);
  EXPECT_EQ(listing.at(OidOf(0)).first, 5s);
  EXPECT_FALSE(listing.at(OidOf(0)).second);
}

// Its age began anew when its promise ended, and was that of its load again once it was kept.
TEST(Evictions, WhatWasHeldAndIsKeptOnGoesOnAgeingFromTheEndOfItsPromise) {
  Node node(SmallOptions(64, 8 * kKiB, 1'000));
  Client reader(1, node.memory.span(), node.plan.segments, &node.sessions);
  Time now{1'000'000};
  for (uint64_t n = 0; n < 8; ++n) ASSERT_TRUE(node.Put(n, 1, 1000, now, now + 1h).ok());
  now = now + 600s;
  node.tier->Maintain(now, UINT64_MAX);
  for (uint64_t n = 0; n < 8; ++n) ASSERT_TRUE(node.tier->Unhold(OidOf(n), 1));
  const Time ended = now;
  std::vector<std::byte> into(1000);
  for (int i = 0; i < 3; ++i) ASSERT_EQ(reader->Copy({OidOf(0), 1, into}).code, Code::kOk);
  for (uint64_t n = 8; n < 640; ++n) {
    now = now + 1s;
    node.tier->Maintain(now, UINT64_MAX);
    ASSERT_TRUE(node.Put(n, 1, 1000, now).ok());
  }
  const auto listing = Listing(*node.tier, now);
  ASSERT_TRUE(listing.contains(OidOf(0)));
  EXPECT_EQ(listing.at(OidOf(0)).first, now - ended);
}

}  // namespace
}  // namespace holdfast::store
