// SPDX-License-Identifier: Apache-2.0
#include "jobclient/cli/snapshot_cohort.h"

#include "base/hash.h"
#include "tests/unit/snapshot/log_fixture.h"

namespace holdfast::cli {
namespace {

using snapshot::After;
using snapshot::HeldObject;
using snapshot::Listing;
using snapshot::SnapshotLog;

class CohortTest : public ::testing::Test {
 protected:
  void Collect(Duration at, std::vector<snapshot::NodeListing> nodes) {
    ASSERT_FALSE(log_.Append(After(at), nodes, {}, false).empty());
    cohort_.Saw(log_);
  }
  const Cohort::Point& last() const { return cohort_.points().back(); }

  SnapshotLog log_{snapshot::kCluster};
  Cohort cohort_{0};
};

TEST_F(CohortTest, NothingToFollow) {
  Collect(0s, {Listing(1, {})});
  EXPECT_TRUE(cohort_.points().empty());
  EXPECT_EQ(cohort_.Expected(snapshot::SurvivalCurve({}, {}), 1s), 0);
}

TEST_F(CohortTest, WhoLeftAndCameBackWasLoadedAgain) {
  Collect(0s, {Listing(1, {})});  // the first one that has any is followed
  Collect(10s, {Listing(1, {{1, 5s}, {2, 5s}, {3, 5s}, {4, 5s}})});
  EXPECT_EQ(cohort_.objects(), 4u);
  EXPECT_EQ(cohort_.start(), After(10s));
  Collect(100s, {Listing(1, {{1, 95s}, {2, 95s}, {4, 10s}})});
  EXPECT_EQ(last().snapshot, 3u);
  EXPECT_EQ(last().later, 90s);
  EXPECT_EQ(last().listed, 3u);
  EXPECT_EQ(last().back, 0u);
  EXPECT_EQ(last().renewed, 1u) << "object 4 never left, and yet is younger";
  Collect(200s, {Listing(1, {{1, 195s}, {3, 20s}, {4, 110s}, {9, 1s}})});
  EXPECT_EQ(last().listed, 3u);
  EXPECT_EQ(last().back, 1u) << "object 3; number 9 is none of them";
  EXPECT_EQ(last().renewed, 1u);
  EXPECT_EQ(last().same(), 1u);
  Collect(300s, {Listing(1, {{2, 5s}, {3, 120s}, {4, 210s}})});
  EXPECT_EQ(last().back, 2u) << "and stays what it is";
}

TEST_F(CohortTest, AnObjectIsThereAtWhicheverNode) {
  Collect(0s, {Listing(1, {{1, 5s}, {2, 5s}}), Listing(2, {{2, 5s}})});
  EXPECT_EQ(cohort_.objects(), 2u);
  Collect(100s, {Listing(1, {{1, 105s}}), Listing(2, {{2, 105s}})});
  EXPECT_EQ(last().same(), 2u);
  Collect(200s, {Listing(1, {}), Listing(2, {{1, 5s}, {2, 205s}})});
  EXPECT_EQ(last().listed, 2u);
  EXPECT_EQ(last().renewed, 1u) << "node 2 has loaded it since";
}

TEST_F(CohortTest, AnAbsentNodeHasLostNothing) {
  Collect(0s, {Listing(1, {{1, 5s}}), Listing(2, {{2, 5s}})});
  Collect(100s, {Listing(1, {{1, 105s}}), snapshot::Absent(2)});
  EXPECT_EQ(last().same(), 2u);
  Collect(200s, {Listing(1, {{1, 205s}}), Listing(2, {{2, 205s}})});
  EXPECT_EQ(last().same(), 2u);
}

TEST_F(CohortTest, OfManyObjectsAFairSampleIsFollowed) {
  constexpr uint64_t kObjects = 200'000;
  std::vector<HeldObject> all, half;
  for (uint64_t i = 0; i < kObjects; ++i) {
    const HeldObject object{.print = Mix64(i + 1) >> 24, .age = 5s};
    all.push_back(object);
    if (i % 2 == 0) half.push_back({.print = object.print, .age = 105s});
  }
  Collect(0s, {Listing(1, all)});
  EXPECT_EQ(cohort_.objects(), kObjects);
  EXPECT_LE(cohort_.followed(), Cohort::kMostFollowed);
  EXPECT_GE(cohort_.followed(), Cohort::kMostFollowed / 2);
  Collect(100s, {Listing(1, half)});
  EXPECT_NEAR(static_cast<double>(last().listed) / static_cast<double>(cohort_.followed()), 0.5,
              0.015);
}

TEST_F(CohortTest, ExpectsWhatTheCurveSaysOfEachAge) {
  snapshot::SurvivalEvidence evidence;
  for (int i = 0; i < 2'000; ++i) evidence.Evicted(0s, 1s * (1 + i % 200), 1);
  const snapshot::SurvivalCurve curve(evidence, {});
  Collect(0s, {Listing(1, {{1, 10s}, {2, 100s}})});
  EXPECT_NEAR(cohort_.Expected(curve, 0s), 1, 1e-9);
  const double expected = (curve.Mean(60s, 10s) + curve.Mean(150s, 100s)) / 2;
  EXPECT_NEAR(cohort_.Expected(curve, 50s), expected, 0.02);
  // What is held is evicted after its promise, as if it were new then.
  Cohort held(2);
  ASSERT_FALSE(
      log_.Append(After(1s), {Listing(1, {{1, 11s, true}, {2, 101s, true}})}, {}, true).empty());
  held.Saw(log_);
  EXPECT_NEAR(held.Expected(curve, 50s), curve.Mean(50s, 0s), 1e-9);
}

}  // namespace
}  // namespace holdfast::cli
