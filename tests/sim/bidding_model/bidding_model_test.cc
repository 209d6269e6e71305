// SPDX-License-Identifier: Apache-2.0
// What docs/decisions/0001-home-reserves.md and 0002-home-weights-are-capacities.md conclude, held
// by the model.
#include <gtest/gtest.h>

#include "tests/sim/bidding_model/model.h"

namespace holdfast::sim {
namespace {

ModelOptions Small() {
  ModelOptions o;
  o.objects = 20'000;
  return o;
}

TEST(BiddingModel, OneJobGetsItsNinetyPercentInOneCall) {
  ModelFigures f = RunBiddingModel(Small());
  EXPECT_EQ(f.calls, 1u);
  EXPECT_LE(f.busiest_vs_mean, 1.05);
  EXPECT_LE(f.bids_per_object, 3.0);
  EXPECT_EQ(f.far_per_object, 1.0);
  EXPECT_FALSE(f.over_promised);
}

TEST(BiddingModel, WhenEveryPickReservesAFullClusterHasNoBidForMany) {
  ModelOptions o = Small();
  o.rule.every_pick_reserves = true;
  ModelFigures f = RunBiddingModel(o);
  EXPECT_GT(f.unbid_share, 0.3);
  EXPECT_GT(f.calls, 2u);
  EXPECT_FALSE(f.over_promised);
}

TEST(BiddingModel, TwoJobsLostSettlesAndDeadNodesTakeAFewCallsMore) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    ModelOptions same = Small();
    same.jobs = {{}, {}};
    ModelOptions disjoint = Small();
    disjoint.jobs = {{0, 0.5, {}}, {0.5, 0.5, {}}};
    disjoint.lost_settles = 0.2;
    ModelOptions dead = Small();
    dead.dead_nodes = 1;
    ModelOptions dies = Small();
    dies.universe_share = 0.75;
    dies.dies_during_settle = true;
    for (ModelOptions o : {same, disjoint, dead, dies}) {
      o.seed = seed;
      ModelFigures f = RunBiddingModel(o);
      EXPECT_GE(f.confirmed_after.back(), 0.999);
      EXPECT_LE(f.calls, 5u);
      EXPECT_LE(f.busiest_vs_mean, 1.05);
      EXPECT_LE(f.far_per_object, 1.001);
      EXPECT_FALSE(f.over_promised);
    }
  }
}

TEST(BiddingModel, ViewsOfTheWeightsThatDifferFetchTwice) {
  ModelOptions o = Small();
  o.jobs = {{}, {}};
  o.universe_share = 0.45;
  EXPECT_LE(RunBiddingModel(o).far_per_object, 1.001);
  o.view_error = 0.3;
  EXPECT_GT(RunBiddingModel(o).far_per_object, 1.03);
}

TEST(BiddingModel, TheSameSeedGivesTheSameFigures) {
  ModelOptions o = Small();
  o.jobs = {{}, {}};
  o.lost_settles = 0.3;
  ModelFigures a = RunBiddingModel(o);
  ModelFigures b = RunBiddingModel(o);
  EXPECT_EQ(a.confirmed_after, b.confirmed_after);
  EXPECT_EQ(a.settled_ms, b.settled_ms);
  EXPECT_EQ(a.t1_error, b.t1_error);
}

}  // namespace
}  // namespace holdfast::sim
