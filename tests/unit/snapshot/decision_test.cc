// SPDX-License-Identifier: Apache-2.0
#include "snapshot/decision.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

namespace holdfast::snapshot {
namespace {

using std::chrono::hours;

// A microsecond is a nanodollar, so that costs read as times.
constexpr MicroUsd kNanoPerUs = 3'600'000;

CostOptions PlainCosts() {
  return {.micro_usd_per_hour = kNanoPerUs,
          .look = 300us,
          .hit = 100us,
          .far = 9'600us,
          .far_money = 500,
          .prior_weight = 4,
          .memory = 100,
          .look_work = 0};
}

// --- Costs ---------------------------------------------------------------------------------------

TEST(CostsTest, StartFromTheirPriors) {
  const Costs costs(PlainCosts());
  EXPECT_EQ(costs.look(), 300);
  EXPECT_EQ(costs.hit(), 100);
  EXPECT_EQ(costs.far(), 10'100);
  EXPECT_EQ(costs.far_money(), 500);
  EXPECT_EQ(costs.overhead_per_find(), 600);  // of two looks one finds
  EXPECT_DOUBLE_EQ(costs.Threshold(), 300.0 / 10'000);
}

TEST(CostsTest, WaitingHasItsPrice) {
  CostOptions options = PlainCosts();
  options.micro_usd_per_hour = 1'000'000;
  options.far = 36ms;
  options.far_money = 400;
  EXPECT_EQ(Costs(options).far(), 10'000 + 400);  // 36 ms of an hour are 10^-5
}

TEST(CostsTest, FollowWhatIsMeasured) {
  Costs costs(PlainCosts());
  for (int i = 0; i < 2'000; ++i) {
    costs.Looked(1'000us);
    costs.Found(1'500us);
    costs.WentFar(20ms, 5'000);
  }
  // The prior keeps the weight of 4 among 100.
  EXPECT_NEAR(static_cast<double>(costs.look()), (100 * 1'000 + 4 * 300) / 104.0, 2);
  EXPECT_NEAR(static_cast<double>(costs.hit()), (100 * 500 + 4 * 100) / 104.0, 2);
  EXPECT_NEAR(static_cast<double>(costs.far()), (100 * 25'000 + 4 * 10'100) / 104.0, 10);
  EXPECT_NEAR(static_cast<double>(costs.overhead_per_find()), 2 * static_cast<double>(costs.look()),
              20);
  for (int i = 0; i < 2'000; ++i) costs.Looked(2'000us);
  EXPECT_NEAR(static_cast<double>(costs.look()), (100 * 2'000 + 4 * 300) / 104.0, 2);
}

TEST(CostsTest, FindsThatAreFasterThanFailuresCostLess) {
  Costs costs(PlainCosts());
  for (int i = 0; i < 1'000; ++i) {
    costs.Looked(2'000us);  // nobody answers
    costs.Found(400us);
  }
  EXPECT_LT(costs.hit(), -1'000);
  EXPECT_DOUBLE_EQ(costs.Threshold(), static_cast<double>(costs.look()) /
                                          static_cast<double>(costs.far() - costs.hit()));
}

// A rule that has given up measures no looks. Were its costs kept for good, it never looked again.
TEST(CostsTest, WhatIsNotMeasuredFallsBackToItsPrior) {
  Costs costs(PlainCosts());
  for (int i = 0; i < 200; ++i) costs.Looked(50ms);
  EXPECT_GT(costs.Threshold(), 0.8);
  for (int i = 0; i < 100; ++i) costs.WentFar(9'600us, 500);
  EXPECT_GT(costs.Threshold(), 0.8);  // a while is nothing
  for (int i = 0; i < 20'000; ++i) costs.WentFar(9'600us, 500);
  EXPECT_EQ(costs.look(), 300);
  EXPECT_LT(costs.Threshold(), 0.04);
}

TEST(CostsTest, AClockThatJumpedIsNoCost) {
  Costs costs(PlainCosts());
  for (int i = 0; i < 1'000; ++i) costs.Looked(300us);
  costs.Looked(Duration::max());
  EXPECT_LE(costs.look(), 300 * 11);
  for (int i = 0; i < 1'000; ++i) costs.Looked(300us);
  EXPECT_NEAR(static_cast<double>(costs.look()), 300, 5);
}

TEST(CostsTest, AnyInputIsSound) {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();
  for (MicroUsd price : {kLeast, int64_t{0}, int64_t{1}, kMost}) {
    for (int64_t us : {kLeast, int64_t{-1}, int64_t{0}, int64_t{1}, kMost}) {
      for (double weight : {0.0, 4.0, -1.0, std::numeric_limits<double>::quiet_NaN()}) {
        Costs costs({.micro_usd_per_hour = price,
                     .look = Duration(us),
                     .hit = Duration(us),
                     .far = Duration(us),
                     .far_money = us,
                     .prior_weight = weight,
                     .memory = weight,
                     .look_work = us});
        for (int i = 0; i < 100; ++i) {
          if (i % 2 == 0) costs.Looked(Duration(us));
          if (i % 3 == 0) costs.Found(Duration(us / -2));
          costs.WentFar(Duration(i % 5 == 0 ? us : 1), i % 7 == 0 ? us : 1);
          ASSERT_GE(costs.look(), 0);
          ASSERT_GE(costs.far(), costs.far_money());
          ASSERT_GE(costs.overhead_per_find(), 0);
          ASSERT_GE(costs.Threshold(), 0);
          ASSERT_LE(costs.Threshold(), 1);
          ASSERT_FALSE(std::isnan(costs.Race().low) || std::isnan(costs.Race().high));
        }
      }
    }
  }
}

TEST(CostsTest, CostsOfZeroHaveThresholds) {
  CostOptions options = PlainCosts();
  options.look = 0us;
  EXPECT_EQ(Costs(options).Threshold(), 0);  // any chance is worth a free look
  options.far = 0us;
  options.far_money = 0;
  EXPECT_EQ(Costs(options).Threshold(), 1);  // nothing is saved
  options.look = options.hit = 0us;
  EXPECT_EQ(Costs(options).Threshold(), 1);
  EXPECT_GE(Costs(options).Race().low, Costs(options).Race().high);
}

// By hand: what each way costs on average, for every p.
TEST(CostsTest, ThresholdAndRaceAreWhereTheCheapestWayChanges) {
  for (NanoUsd money : {0, 50, 500, 5'000, 50'000}) {
    for (NanoUsd work : {0, 10, 100, 3'000}) {
      CostOptions options = PlainCosts();
      options.far_money = money;
      options.look_work = work;
      const Costs costs(options);
      const double look = 300.0 + static_cast<double>(work), hit = 100,
                   m = static_cast<double>(money);
      const double far = 9'600 + m;
      const Costs::Band race = costs.Race();
      for (double p = 0.0005; p < 1; p += 0.001) {
        const double look_first = look + p * hit + (1 - p) * far;
        const double both = static_cast<double>(work) + p * (300 + hit + m) + (1 - p) * far;
        EXPECT_EQ(p > costs.Threshold(), look_first < far) << p;
        EXPECT_EQ(p > race.low && p < race.high, both < std::min(look_first, far)) << p;
      }
      if (race.low < race.high) {
        EXPECT_LE(race.low, costs.Threshold());
        EXPECT_GE(race.high, costs.Threshold());
      }
    }
  }
}

// --- Decisions -----------------------------------------------------------------------------------

constexpr std::array<NodeId, 3> kNodes = {1, 2, 3};
constexpr Stamp kSeen{1'000'000'000'000};
Stamp After(Duration d) { return {kSeen.us + d.count()}; }
Stamp Before(Duration d) { return {kSeen.us - d.count()}; }

// Objects live for 10 minutes, exactly half of them: the others for 10 hours.
class DeciderTest : public testing::Test {
 protected:
  DeciderTest() : beliefs_({}) {
    RingEvidence evidence;
    for (int i = 0; i < 2'000; ++i) {
      evidence[Ring::kFresh].Evicted(Duration(0), std::chrono::minutes(10), 1);
      evidence[Ring::kFresh].Evicted(Duration(0), hours(10), 1);
    }
    beliefs_.Learn(evidence);
    for (NodeId node : kNodes) known_.SetSeen(node, kSeen);
  }
  Decider Make(const Costs* costs, double explore = 0, bool race = false) {
    return Decider(&known_, &beliefs_, costs, &random_, {.explore = explore, .race = race});
  }
  // Costs of this threshold; hits cost nothing.
  static Costs WithThreshold(double threshold) {
    CostOptions options = PlainCosts();
    options.hit = 0us;
    options.far = 10'000us;
    options.far_money = 0;
    options.look = Duration(std::llround(10'000 * threshold));
    return Costs(options);
  }

  Known known_;
  Beliefs beliefs_;
  Random random_{7};
};

TEST_F(DeciderTest, LooksWhereItPays) {
  known_.Add(5, {.node = 2, .written = Before(5min)});
  const Costs cheap = WithThreshold(0.4), dear = WithThreshold(0.6);
  Decision d = Make(&cheap).Decide(5, After(1h));
  EXPECT_EQ(d.way, Way::kLook);
  EXPECT_EQ(d.node, 2);
  EXPECT_NEAR(d.chance, 0.5, 0.03);
  EXPECT_DOUBLE_EQ(d.threshold, 0.4);
  EXPECT_EQ(d.situation.seen, 5min);
  EXPECT_EQ(d.situation.age, 65min);
  d = Make(&dear).Decide(5, After(1h));
  EXPECT_EQ(d.way, Way::kFar);
  EXPECT_EQ(d.node, 2);
  EXPECT_EQ(Make(&dear).Decide(5, After(1min)).way, Way::kLook);
  EXPECT_EQ(Make(&cheap).Decide(5, After(hours(20))).way, Way::kFar);
}

TEST_F(DeciderTest, AsksTheLikeliestOfFour) {
  const Costs costs = WithThreshold(0.1);
  for (NodeId node : kNodes) known_.Add(5, {.node = node, .written = Before(1min)});
  known_.Add(5, {.node = 9, .written = Before(1min)});  // never visited
  known_.Add(5, {.node = 3, .written = Before(1h)});    // of the long-lived ones
  EXPECT_EQ(Make(&costs).Decide(5, After(30min)).node, 3);
  known_.Erase(5, 3);
  EXPECT_EQ(Make(&costs).Decide(5, After(30min)).node, 1);  // the lower of two that are alike
  known_.SetSeen(2, After(29min));                          // node 1 did not answer this time
  EXPECT_EQ(Make(&costs).Decide(5, After(30min)).node, 2);
}

TEST_F(DeciderTest, WhatIsNotKnownGoesHome) {
  const Costs costs = WithThreshold(0);
  const Decision d = Make(&costs, 1).Decide(5, After(1h));
  EXPECT_EQ(d.way, Way::kUnknown);
  EXPECT_EQ(d.node, kNoNode);
  EXPECT_EQ(d.chance, 0);
  known_.Add(6, {.node = 9, .written = Before(1min)});
  EXPECT_EQ(Make(&costs, 1).Decide(6, After(1h)).way, Way::kUnknown);
}

TEST_F(DeciderTest, WhatWasHeldWasNewThen) {
  const Costs costs = WithThreshold(0.1);
  known_.Add(5, {.node = 1, .held = true, .written = Before(9min)});
  known_.Add(6, {.node = 1, .held = false, .written = Before(9min)});
  const Decision held = Make(&costs).Decide(5, After(5min));
  EXPECT_EQ(held.situation.seen, 0min);
  EXPECT_EQ(held.situation.age, 5min);
  EXPECT_GT(held.chance, 0.95);
  EXPECT_LT(Make(&costs).Decide(6, After(5min)).chance, 0.6);
}

TEST_F(DeciderTest, ClocksThatLieGiveNoNegativeAge) {
  const Costs costs = WithThreshold(0.3);
  Decider decider = Make(&costs, 0.5);
  known_.Add(5, {.node = 1, .written = Before(5min)});
  Decision d = decider.Decide(5, Before(1h));  // it is now before the visit
  EXPECT_EQ(d.situation.age, 5min);
  EXPECT_EQ(d.situation.seen, 5min);
  EXPECT_NEAR(d.chance, 1, 1e-6);
  known_.Add(6, {.node = 1, .written = After(1h)});
  d = decider.Decide(6, After(hours(20)));
  EXPECT_EQ(d.situation.seen, 0min);
  EXPECT_EQ(d.situation.age, hours(19));                    // seen by somebody, after the visit
  known_.Add(6, {.node = 1, .written = After(hours(30))});  // loaded in the future, the node says
  d = decider.Decide(6, After(hours(20)));
  EXPECT_EQ(d.situation.seen, 0min);
  EXPECT_EQ(d.situation.age, hours(20));
  EXPECT_EQ(d.way, Way::kFar);
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();
  for (int64_t written : {kLeast, int64_t{0}, kMost}) {
    for (int64_t seen : {kLeast, int64_t{0}, kMost}) {
      for (int64_t now : {kLeast, int64_t{0}, kMost}) {
        known_.Add(7, {.node = 4, .written = {written}});
        known_.SetSeen(4, {seen});
        d = decider.Decide(7, {now});
        EXPECT_GE(d.situation.seen, 0us);
        EXPECT_GE(d.situation.age, d.situation.seen);
        EXPECT_GE(d.chance, 0);
        EXPECT_LE(d.chance, 1);
      }
    }
  }
}

TEST_F(DeciderTest, ExploresASmallShareOfWhatItGivesUp) {
  const Costs costs = WithThreshold(0.6);
  constexpr int kTries = 200'000;
  auto explored = [&](Duration after) {
    Decider decider = Make(&costs, 0.01);
    int n = 0;
    for (int i = 0; i < kTries; ++i) {
      const Decision d = decider.Decide(5, After(after));
      EXPECT_TRUE(d.way == Way::kFar || d.way == Way::kExplore);
      n += d.way == Way::kExplore ? 1 : 0;
    }
    return n;
  };
  known_.Add(5, {.node = 1, .written = Before(5min)});
  const int half = explored(1h), little = explored(hours(30));
  EXPECT_GT(half, kTries / 1'000);
  EXPECT_LT(half, kTries / 90);  // a draw, whose mean is a hundredth at most
  EXPECT_LT(little, half / 4);
}

// A look that costs as much as going far pays for no chance at all; yet costs change.
TEST_F(DeciderTest, ExploresWhatIsSurelyThereWhenLooksSeemTooDear) {
  const Costs costs = WithThreshold(1);
  known_.Add(5, {.node = 1, .written = Before(1min)});
  Decider decider = Make(&costs, 0.01);
  int explored = 0;
  for (int i = 0; i < 100'000; ++i) {
    explored += decider.Decide(5, After(1s)).way == Way::kExplore ? 1 : 0;
  }
  EXPECT_GT(explored, 700);
  EXPECT_LT(explored, 1'200);
}

TEST_F(DeciderTest, RacesOnlyWhereARaceIsCheapest) {
  CostOptions options = PlainCosts();
  options.look = 4'000us;
  options.far_money = 4'000;
  options.look_work = 200;
  const Costs costs(options);
  const Costs::Band band = costs.Race();
  ASSERT_LT(band.low, 0.4);
  ASSERT_NEAR(band.high, 0.5, 1e-9);
  known_.Add(5, {.node = 1, .written = Before(5min)});
  Decider with = Make(&costs, 0, true), without = Make(&costs);
  int races = 0;
  for (Duration after :
       {1min, 4min, 6min, 60min, 550min, 590min, 596min, 600min, 620min, 1200min}) {
    const Decision d = with.Decide(5, After(after));
    EXPECT_EQ(d.way == Way::kRace, d.chance > band.low && d.chance < band.high) << d.chance;
    EXPECT_NE(without.Decide(5, After(after)).way, Way::kRace);
    races += d.way == Way::kRace ? 1 : 0;
  }
  EXPECT_GT(races, 0);
}

TEST_F(DeciderTest, CloseDecisionsAreByTheIntegral) {
  known_.Add(5, {.node = 1, .written = Before(5min)});
  const double exact = beliefs_.At({65min, 5min}).mean;
  for (double off : {-0.004, 0.004}) {
    const Costs costs = WithThreshold(std::round((exact + off) * 10'000) / 10'000);
    const Decision d = Make(&costs).Decide(5, After(1h));
    EXPECT_NEAR(d.chance, exact, 0.002);
    EXPECT_EQ(d.way, exact > d.threshold ? Way::kLook : Way::kFar);
  }
}

TEST_F(DeciderTest, ManyAreDecidedAsOneByOne) {
  Random random(3);
  for (Print print = 0; print < 500; ++print) {
    for (NodeId node : kNodes) {
      if (random.Chance(0.5)) {
        known_.Add(print, {.node = node,
                           .held = random.Chance(0.1),
                           .written = Before(Duration(random.Below(36'000'000'000)))});
      }
    }
  }
  const Costs costs = WithThreshold(0.7);
  std::vector<Print> prints;
  for (int i = 0; i < 1'000; ++i) prints.push_back(random.Below(600));
  for (size_t n : {0, 1, 31, 32, 33, 64, 1'000}) {
    std::vector<Decision> many(n);
    random_ = Random(11);
    Make(&costs, 0.2).DecideMany(std::span(prints).first(n), After(2h), many);
    random_ = Random(11);
    Decider one = Make(&costs, 0.2);
    for (size_t i = 0; i < n; ++i) {
      const Decision d = one.Decide(prints[i], After(2h));
      ASSERT_EQ(many[i].way, d.way);
      ASSERT_EQ(many[i].node, d.node);
      ASSERT_EQ(many[i].chance, d.chance);
      ASSERT_EQ(many[i].situation.age, d.situation.age);
      ASSERT_EQ(many[i].situation.seen, d.situation.seen);
    }
  }
}

}  // namespace
}  // namespace holdfast::snapshot
