// SPDX-License-Identifier: Apache-2.0
#include "snapshot/period.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <deque>
#include <limits>
#include <utility>
#include <vector>

#include "base/random.h"

namespace holdfast::snapshot {
namespace {

using std::chrono::hours;

// A microsecond is a nanodollar: a look costs 1,000, a hit 500, going far 21,500.
constexpr double kLook = 1'000, kVainFar = 20'000;
Costs PlainCosts() {
  return Costs({.micro_usd_per_hour = 3'600'000,
                .look = 1'000us,
                .hit = 500us,
                .far = 21'500us,
                .far_money = 0,
                .look_work = 0});
}

// All objects live for `life`, give or take a hundredth.
SurvivalCurve OneLife(Duration life) {
  SurvivalEvidence evidence;
  for (int i = -50; i <= 50; ++i) evidence.Evicted(Duration(0), life + life * i / 5'000, 1'000);
  return SurvivalCurve(evidence, {});
}

SurvivalCurve Exponential(double mean_s) {
  Random random(1);
  SurvivalEvidence evidence;
  for (int i = 0; i < 100'000; ++i) {
    evidence.Evicted(Duration(0), Duration(std::llround(random.Exponential(mean_s) * 1e6)), 1);
  }
  return SurvivalCurve(evidence, {});
}

double Total(const PeriodChoice& c) { return c.snapshots_usd_per_hour + c.decisions_usd_per_hour; }

// With lives that are all alike the log is never wrong of what it knows, and all that counts is
// what came since: C / t + R L / K t / 2 G nanodollars a second, the least at
// sqrt(2 C K / (R L G)).
TEST(PeriodTest, IsTheRootWhereOnlyWhatIsNewCounts) {
  const SurvivalCurve curve = OneLife(hours(3));
  const PeriodInput input{.snapshot_cost = 2'000'000'000,
                          .reads_per_s = 100,
                          .loads_per_s = 1'000'000.0 / 10'800,
                          .known_objects = 1'000'000,
                          .race = false};
  const PeriodChoice choice = ChoosePeriod(curve, PlainCosts(), input);
  const double per_s = 100.0 / 10'800 * kVainFar / 2;
  const double best_s = std::sqrt(2e9 / per_s);
  ASSERT_GT(best_s, 60);
  EXPECT_NEAR(static_cast<double>(choice.period.count()) / 1e6 / best_s, 1, 0.06);
  EXPECT_NEAR(choice.decisions_usd_per_hour, per_s * best_s * 3'600 / 1e9,
              0.1 * choice.decisions_usd_per_hour);
  EXPECT_NEAR(choice.snapshots_usd_per_hour, 2 * 3'600 / best_s,
              0.1 * choice.snapshots_usd_per_hour);
  EXPECT_NE(choice.why.find("the least sum"), std::string::npos) << choice.why;
}

// Exponential lives forget their age: wrong(u) is that of p = exp(-u / mean).
TEST(PeriodTest, WrongDecisionsCostWhatTheyCost) {
  const SurvivalCurve curve = Exponential(3'600);
  for (double period_s : {120.0, 1'800.0, 7'200.0, 36'000.0}) {
    double sum = 0;
    constexpr int kSteps = 10'000;
    for (int i = 0; i < kSteps; ++i) {
      const double p = std::exp(-(i + 0.5) / kSteps * period_s / 3'600);
      sum += std::min((1 - p) * kLook, p * kVainFar) / kSteps;
    }
    const PeriodChoice choice =
        ChoosePeriod(curve, PlainCosts(), {.snapshot_cost = 0, .reads_per_s = 50, .race = false},
                     Duration(std::llround(period_s * 1e6)));
    const double expected = sum * 50 * 3'600 / 1e9;
    // Of ages above the oldest evicted one there is the prior.
    EXPECT_NEAR(choice.decisions_usd_per_hour, expected, 0.06 * expected) << period_s;
    EXPECT_EQ(choice.snapshots_usd_per_hour, 0);
  }
}

// No fixed period within the bounds is cheaper.
TEST(PeriodTest, IsTheBestOfAll) {
  Random random(2);
  SurvivalEvidence evidence;
  for (int i = 0; i < 20'000; ++i) {
    evidence.Evicted(Duration(0), Duration(7'200'000'000 + std::llround(random.Exponential(4e9))),
                     1);
  }
  const SurvivalCurve curve(evidence, {});
  for (NanoUsd cost :
       std::vector<NanoUsd>{0, 1'000'000, 100'000'000, 1'000'000'000, 1'000'000'000'000}) {
    const PeriodInput input{
        .snapshot_cost = cost, .reads_per_s = 10, .loads_per_s = 5, .known_objects = 60'000};
    const PeriodChoice choice = ChoosePeriod(curve, PlainCosts(), input);
    EXPECT_GE(choice.period, choice.least);
    EXPECT_LE(choice.period, choice.most);
    const double ratio =
        static_cast<double>(choice.most.count()) / static_cast<double>(choice.least.count());
    for (int i = 0; i <= 20; ++i) {
      const Duration fixed(
          std::llround(static_cast<double>(choice.least.count()) * std::pow(ratio, i / 20.0)));
      EXPECT_LT(Total(choice),
                1.02 * Total(ChoosePeriod(curve, PlainCosts(), input, fixed)) + 1e-9);
    }
  }
}

TEST(PeriodTest, LiesWithinItsBounds) {
  const SurvivalCurve curve = OneLife(hours(30));
  PeriodInput input{
      .snapshot_cost = 0, .reads_per_s = 1e6, .loads_per_s = 10, .known_objects = 1e6};
  PeriodChoice choice = ChoosePeriod(curve, PlainCosts(), input);
  EXPECT_EQ(choice.least, 1min);  // a 10,000th is 11 s
  EXPECT_EQ(choice.period, choice.least);
  EXPECT_NEAR(static_cast<double>(choice.most.count()), 15 * 3'600e6, 3'600e6);
  input.reads_per_s = 0;
  input.snapshot_cost = 1;
  choice = ChoosePeriod(curve, PlainCosts(), input);
  EXPECT_EQ(choice.period, choice.most);
  EXPECT_NE(choice.why.find("the upper bound"), std::string::npos) << choice.why;
  choice = ChoosePeriod(OneLife(hours(24 * 60)), PlainCosts(), input);
  EXPECT_GT(choice.least, 8min);  // a 10,000th of 60 days
}

TEST(PeriodTest, TheLowerBoundHoldsWhereASnapshotDiesSooner) {
  const PeriodChoice choice =
      ChoosePeriod(OneLife(20s), PlainCosts(),
                   {.snapshot_cost = 1'000'000'000, .reads_per_s = 1, .known_objects = 10});
  EXPECT_EQ(choice.most, choice.least);
  EXPECT_EQ(choice.period, 1min);
  EXPECT_NE(choice.why.find("only"), std::string::npos) << choice.why;
}

// Of exponential lives a hundredth is over after 36 s of an hour. A snapshot each minute would be
// dear.
TEST(PeriodTest, HalfALifeIsTheBoundWhereSomethingIsEvictedAtAnyAge) {
  const PeriodInput input{
      .snapshot_cost = 100'000'000'000, .reads_per_s = 10, .known_objects = 1e6, .race = false};
  const SurvivalCurve curve = Exponential(3'600);
  const PeriodChoice choice = ChoosePeriod(curve, PlainCosts(), input);
  EXPECT_GT(choice.most, 2h);
  EXPECT_GT(choice.period, 30min);
  EXPECT_LT(Total(choice), 0.1 * Total(ChoosePeriod(curve, PlainCosts(), input, 1min)));
  EXPECT_NE(choice.why.find("at any age"), std::string::npos) << choice.why;
}

// A hundredth of such lives is over after 36 s of an hour, which bounded nothing, but also after a
// quarter of an hour of a day: that was the upper bound, and cost 98 times as much as a day.
TEST(PeriodTest, WhereEvictionsAreAsLikelyAtAnyAgeTheBoundGrowsWithTheLives) {
  const PeriodInput input{
      .snapshot_cost = 100'000'000'000, .reads_per_s = 10, .known_objects = 1e6, .race = false};
  for (double life_s : {3'600.0, 86'400.0}) {
    const SurvivalCurve curve = Exponential(life_s);
    const PeriodChoice choice = ChoosePeriod(curve, PlainCosts(), input);
    EXPECT_GT(static_cast<double>(choice.most.count()) / 1e6, 2 * life_s) << life_s;
    for (double part : {0.01, 0.03, 0.1, 0.3, 1.0}) {
      const Duration fixed(std::llround(part * life_s * 1e6));
      EXPECT_LT(Total(choice), 1.02 * Total(ChoosePeriod(curve, PlainCosts(), input, fixed)))
          << life_s << " " << part;
    }
  }
}

// A ring of 32 segments whose speed changes now and then.
class Ring {
 public:
  void TurnTo(Duration now, Random* random, SurvivalEvidence* evidence) {
    constexpr double kTurnS = 43'200;
    constexpr int kSegments = 32;
    while (next_ < now) {
      if (next_ >= until_) {
        speed_ = std::exp(random->Unit() * 1.6 - 0.8);
        until_ = next_ + hours(6);
      }
      loaded_.push_back(next_);
      if (loaded_.size() > size_t{kSegments}) {
        evidence->Evicted(Duration(0), next_ - loaded_.front(), 8);
        loaded_.pop_front();
      }
      next_ += Duration(std::llround(random->Exponential(kTurnS / kSegments / speed_) * 1e6));
    }
  }

 private:
  std::deque<Duration> loaded_;
  Duration next_{};
  Duration until_{};
  double speed_ = 1;
};

// What evictions of one node have in common became part of their design effect, the quiet youth was
// lost with it, and for hours the period was a minute or two. (No object is evicted before 5 hours.)
TEST(PeriodTest, TheBoundStaysWhereItIsWhileEvictionsDependOnEachOther) {
  const PeriodInput input{
      .snapshot_cost = 1'000'000'000'000, .reads_per_s = 1, .known_objects = 10};
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    Random random(seed);
    std::array<Ring, 8> nodes;
    SurvivalEvidence evidence;
    for (int quarters = 0; quarters < 480; ++quarters) {
      SurvivalEvidence recent;
      for (Ring& node : nodes) node.TurnTo(quarters * 15min, &random, &recent);
      evidence.Follow(std::move(recent), 15min);
      if (quarters < 100 || quarters % 10 != 0) continue;
      const PeriodChoice choice = ChoosePeriod(SurvivalCurve(evidence, {}), PlainCosts(), input);
      ASSERT_GT(choice.most, 2h) << "seed " << seed << ", quarter " << quarters << ": "
                                 << choice.why;
    }
  }
}

TEST(PeriodTest, FollowsTheChurn) {
  Duration before = Duration::max();
  for (int life_h : {300, 30, 3}) {
    const PeriodInput input{.snapshot_cost = 20'000'000,
                            .reads_per_s = 10,
                            .loads_per_s = 1e6 / (life_h * 3'600.0),
                            .known_objects = 1e6};
    const Duration period = ChoosePeriod(OneLife(hours(life_h)), PlainCosts(), input).period;
    EXPECT_LT(period, before);
    before = period;
  }
}

TEST(PeriodTest, AFixedPeriodIsTaken) {
  const PeriodChoice choice =
      ChoosePeriod(OneLife(hours(3)), PlainCosts(),
                   {.snapshot_cost = 1'000'000'000, .reads_per_s = 1, .known_objects = 10}, 17min);
  EXPECT_EQ(choice.period, 17min);
  EXPECT_NEAR(choice.snapshots_usd_per_hour, 60.0 / 17, 1e-9);
  EXPECT_NE(choice.why.find("fixed"), std::string::npos) << choice.why;
}

TEST(PeriodTest, AnyInputIsSound) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  SurvivalEvidence at_once;
  at_once.Evicted(Duration(0), Duration(0), uint64_t{1} << 63);
  const std::vector<SurvivalCurve> curves = {SurvivalCurve({}, {}), SurvivalCurve(at_once, {}),
                                             OneLife(hours(24 * 90))};
  for (const SurvivalCurve& curve : curves) {
    for (double x : {-1.0, 0.0, 1.0, 1e18, kNan, static_cast<double>(INFINITY)}) {
      for (NanoUsd cost : {std::numeric_limits<NanoUsd>::min(), NanoUsd{0}, NanoUsd{1} << 62}) {
        for (Duration fixed : {Duration::min(), Duration(0), Duration(1), Duration::max()}) {
          const PeriodChoice choice = ChoosePeriod(curve, PlainCosts(),
                                                   {.snapshot_cost = cost,
                                                    .reads_per_s = x,
                                                    .loads_per_s = x,
                                                    .known_objects = x,
                                                    .shortest = fixed},
                                                   fixed);
          EXPECT_GT(choice.period, Duration(0));
          EXPECT_FALSE(choice.why.empty());
        }
      }
    }
  }
}

}  // namespace
}  // namespace holdfast::snapshot
