// SPDX-License-Identifier: Apache-2.0
#include "cached/store/index.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "base/random.h"
#include "tests/unit/cached/store/tier_fixture.h"

namespace holdfast::store {
namespace {

// An index over a region whose one-record places are given out by hand.
class IndexTest : public testing::Test {
 protected:
  explicit IndexTest(uint64_t objects = 5000)
      : plan_(*PlanRegion(SmallOptions(64, 64 * kKiB, objects))),
        memory_(plan_.region_bytes),
        region_(memory_.span(), plan_),
        index_(region_) {}

  Place PlaceOf(uint64_t i) const {
    const uint64_t per_segment = plan_.segment_bytes / 64 - 1;
    return {static_cast<uint32_t>(i / per_segment), 64 + i % per_segment * 64};
  }
  bool Add(const Oid& oid, uint64_t i) {
    const std::optional<uint32_t> slot = index_.Reserve(oid);
    if (!slot) return false;
    region_.record(PlaceOf(i))->oid = oid;
    region_.record(PlaceOf(i))->version = 1;
    index_.Link(*slot, shm::MakeEntry(shm::TagFor(oid), PlaceOf(i).segment, PlaceOf(i).offset));
    return true;
  }

  shm::RegionPlan plan_;
  AlignedMemory memory_;
  Region region_;
  Index index_;
};

TEST_F(IndexTest, LosesNothingUpToItsCapacity) {
  uint64_t n = 0;
  while (Add(OidOf(n), n)) {
    index_.SetHolds(index_.Find(OidOf(n), 1), static_cast<uint16_t>(n % 100));
    ++n;
  }
  EXPECT_EQ(n, index_.capacity());
  EXPECT_GE(n, 5000u);
  for (uint64_t i = 0; i < n; ++i) {
    const uint32_t slot = index_.Find(OidOf(i), 1);
    ASSERT_NE(slot, Index::kNone) << i;
    EXPECT_EQ(slot, index_.FindPlace(OidOf(i), PlaceOf(i)));
    EXPECT_EQ(index_.holds(slot), i % 100);
  }
}

TEST_F(IndexTest, ChurnsAtItsCapacity) {
  Random random(5);
  std::map<uint64_t, uint64_t> place_of;  // by number
  uint64_t n = 0;
  for (; Add(OidOf(n), n); ++n) place_of[n] = n;
  for (uint64_t i = 0; i < 20'000; ++i) {
    auto it = place_of.lower_bound(random.Below(n));
    if (it == place_of.end()) it = place_of.begin();
    const uint64_t place = it->second;
    index_.Unlink(index_.Find(OidOf(it->first), 1));
    place_of.erase(it);
    ASSERT_TRUE(Add(OidOf(n), place)) << "after " << i;
    place_of[n++] = place;
  }
  for (const auto& [number, place] : place_of) {
    ASSERT_EQ(index_.Find(OidOf(number), 1), index_.FindPlace(OidOf(number), PlaceOf(place)));
    ASSERT_NE(index_.Find(OidOf(number), 1), Index::kNone);
  }
}

TEST_F(IndexTest, ReservedSlotsStayWhileOthersMove) {
  std::vector<uint32_t> reserved;
  for (uint64_t i = 0; i < 500; ++i) reserved.push_back(*index_.Reserve(OidOf(1'000'000 + i)));
  for (uint64_t n = 0; Add(OidOf(n), n); ++n) {
  }
  for (uint64_t i = 0; i < 500; ++i) {
    ASSERT_EQ(index_.entry(reserved[i]), 0u);
    const Place place = PlaceOf(20'000 + i);
    region_.record(place)->oid = OidOf(1'000'000 + i);
    region_.record(place)->version = 9;
    index_.Link(reserved[i],
                shm::MakeEntry(shm::TagFor(OidOf(1'000'000 + i)), place.segment, place.offset));
    ASSERT_EQ(index_.Find(OidOf(1'000'000 + i), 9), reserved[i]);
  }
}

// Sixteen slots are all there is for objects that share a tag; the seventeenth is refused, and
// nothing is lost.
TEST_F(IndexTest, RefusesWhatHasNoSlot) {
  uint64_t added = 0;
  while (added < 40 && Add({added, 0x123456789abcdef0}, added)) ++added;
  EXPECT_LE(added, 16u);
  EXPECT_GE(added, 8u);
  EXPECT_EQ(index_.used(), added);
  for (uint64_t i = 0; i < added; ++i)
    EXPECT_NE(index_.Find({i, 0x123456789abcdef0}, 1), Index::kNone);
  EXPECT_TRUE(Add(OidOf(1), 100));
}

TEST_F(IndexTest, ReadsAreCountedUpToThreeBesideHolds) {
  ASSERT_TRUE(Add(OidOf(1), 1));
  const uint32_t slot = index_.Find(OidOf(1), 1);
  EXPECT_EQ(index_.reads(slot), 0u);
  index_.SetHolds(slot, Index::kMaxHolds);
  for (uint32_t reads : {1u, 2u, 3u, 3u}) {
    index_.AddRead(slot);
    EXPECT_EQ(index_.reads(slot), reads);
  }
  EXPECT_EQ(index_.holds(slot), Index::kMaxHolds);
  index_.SetHolds(slot, 0);
  EXPECT_EQ(index_.reads(slot), 3u);
  index_.SetReads(slot, 1);
  EXPECT_EQ(index_.reads(slot), 1u);
  EXPECT_EQ(index_.holds(slot), 0u);
}

TEST_F(IndexTest, GarbageLeadsNowhere) {
  for (uint64_t n = 0; n < 100; ++n) ASSERT_TRUE(Add(OidOf(n), n));
  Random random(3);
  for (int i = 0; i < 10'000; ++i) {
    const Oid oid{random.Next(), random.Next()};
    EXPECT_EQ(index_.FindPlace(oid, PlaceOf(random.Below(100))), Index::kNone);
  }
  EXPECT_EQ(index_.FindPlace({0, 0}, {0, 0}), Index::kNone);
  EXPECT_EQ(index_.Find({0, 0}, 0), Index::kNone);
}

}  // namespace
}  // namespace holdfast::store
