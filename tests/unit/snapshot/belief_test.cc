// SPDX-License-Identifier: Apache-2.0
#include "snapshot/belief.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/random.h"

namespace holdfast::snapshot {
namespace {

constexpr Duration kNow{0};
constexpr double kMean = 1'000;  // seconds of an exponential life

Duration Seconds(double s) { return Duration(static_cast<int64_t>(s * 1e6)); }

RingEvidence Evidence(Random* random, int lives) {
  RingEvidence evidence;
  for (int i = 0; i < lives; ++i) {
    evidence[Ring::kKept].Evicted(kNow, Seconds(random->Exponential(kMean)), 1);
  }
  return evidence;
}

Situation Kept(Duration age, Duration seen) {
  return {.age = age, .seen = seen, .ring = Ring::kKept};
}

// What is asked for is gone `quotient` times as often as what is merely there.
double Truth(double elapsed, double quotient) {
  return 1 - quotient * (1 - std::exp(-elapsed / kMean));
}

void LookMany(Beliefs* beliefs, Random* random, int looks, double quotient) {
  for (int i = 0; i < looks; ++i) {
    const double seen = random->Unit() * 500, elapsed = random->Exponential(kMean);
    beliefs->Looked(Kept(Seconds(seen + elapsed), Seconds(seen)),
                    random->Chance(Truth(elapsed, quotient)));
  }
}

TEST(BeliefTest, WithoutLooksTheCurve) {
  Random random(1);
  Beliefs beliefs({});
  EXPECT_EQ(beliefs.At(Kept(10s, 10s)).mean, 1);
  EXPECT_EQ(beliefs.Mean(Kept(5s, 10s)), 1);
  EXPECT_GT(beliefs.At(Kept(1h, kNow)).variance, 0.01);  // nothing is known yet
  beliefs.Learn(Evidence(&random, 5'000));
  for (Duration age = 50s; age < 1h; age += 130s) {
    // Those that are asked for may be of another kind: a little nearer to even odds.
    EXPECT_NEAR(beliefs.At(Kept(age, 20s)).mean, beliefs.curve(Ring::kKept).At(age, 20s).mean,
                0.035);
  }
}

TEST(BeliefTest, LooksCorrectTheCurve) {
  for (double quotient : {0.5, 1.0}) {
    Random random(2);
    Beliefs beliefs({});
    beliefs.Learn(Evidence(&random, 5'000));
    LookMany(&beliefs, &random, 20'000, quotient);
    for (double elapsed : {20.0, 100.0, 300.0, 700.0, 1'500.0, 3'000.0}) {
      EXPECT_NEAR(beliefs.Mean(Kept(Seconds(elapsed + 100), 100s)), Truth(elapsed, quotient), 0.06)
          << elapsed << " " << quotient;
    }
    // A look or two do not.
    Beliefs young({});
    young.Learn(Evidence(&random, 5'000));
    young.Looked(Kept(700s, kNow), false);
    EXPECT_NEAR(young.Mean(Kept(700s, kNow)), std::exp(-0.7), 0.08);
  }
}

// Where there were no looks, those of other chances help.
TEST(BeliefTest, LooksHelpTheirNeighbours) {
  Random random(3);
  Beliefs beliefs({});
  beliefs.Learn(Evidence(&random, 5'000));
  for (int i = 0; i < 2'000; ++i) {
    beliefs.Looked(Kept(400s, kNow), random.Chance(Truth(400, 0.5)));
  }
  EXPECT_NEAR(beliefs.Mean(Kept(400s, kNow)), Truth(400, 0.5), 0.03);
  for (double elapsed : {100.0, 700.0, 1'500.0}) {
    const double curve = beliefs.curve(Ring::kKept).Mean(Seconds(elapsed), kNow);
    EXPECT_GT(beliefs.Mean(Kept(Seconds(elapsed), kNow)), curve + 0.2 * (1 - curve)) << elapsed;
    EXPECT_LT(beliefs.Mean(Kept(Seconds(elapsed), kNow)), Truth(elapsed, 0.5) + 0.05) << elapsed;
  }
}

// Of what is asked for, most that was seen young goes soon; what was seen old stays. One correction
// for both would be wrong by some ten points.
TEST(BeliefTest, WhoWasSeenOldIsOfAnotherKind) {
  Random random(7);
  Beliefs beliefs({});
  beliefs.Learn(Evidence(&random, 5'000));
  auto truth = [](double elapsed, bool old) { return Truth(elapsed, old ? 0.6 : 1); };
  for (int i = 0; i < 20'000; ++i) {
    const bool old = random.Chance(0.5);
    const double seen = old ? 3'000 : 50, elapsed = random.Exponential(kMean);
    beliefs.Looked(Kept(Seconds(seen + elapsed), Seconds(seen)),
                   random.Chance(truth(elapsed, old)));
  }
  for (double elapsed : {100.0, 300.0, 700.0, 1'500.0}) {
    EXPECT_NEAR(beliefs.Mean(Kept(Seconds(3'000 + elapsed), 3'000s)), truth(elapsed, true), 0.05);
    EXPECT_NEAR(beliefs.Mean(Kept(Seconds(50 + elapsed), 50s)), truth(elapsed, false), 0.05);
  }
}

// What was seen in the fresh ring leaves it soon, and comes back now and then; looks there tell nothing
// of what is kept.
TEST(BeliefTest, EachRingHasALifeOfItsOwn) {
  Random random(8);
  RingEvidence evidence;
  for (int i = 0; i < 5'000; ++i) {
    evidence[Ring::kFresh].Evicted(kNow, Seconds(100 + random.Unit() * 50), 1);
    evidence[Ring::kKept].Evicted(kNow, Seconds(random.Exponential(kMean)), 1);
  }
  Beliefs beliefs({});
  beliefs.Learn(evidence);
  for (int i = 0; i < 5'000; ++i) {
    const double elapsed = 200 + random.Unit() * 2'000;
    beliefs.Looked({.age = Seconds(elapsed + 50), .seen = 50s}, random.Chance(0.1));
  }
  for (double elapsed : {250.0, 500.0, 1'000.0, 2'000.0}) {
    const Situation fresh{.age = Seconds(elapsed + 50), .seen = 50s};
    EXPECT_NEAR(beliefs.Mean(fresh), 0.1, 0.03) << elapsed;
    EXPECT_NEAR(beliefs.Mean(Kept(fresh.age, fresh.seen)), std::exp(-elapsed / kMean), 0.06);
  }
}

TEST(BeliefTest, FollowsTheCluster) {
  Random random(4);
  Beliefs beliefs({});
  beliefs.Learn(Evidence(&random, 5'000));
  LookMany(&beliefs, &random, 20'000, 0.3);
  LookMany(&beliefs, &random, 10'000, 1);
  EXPECT_NEAR(beliefs.Mean(Kept(700s, kNow)), std::exp(-0.7), 0.07);
}

TEST(BeliefTest, RangesCoverAsOftenAsTheySay) {
  int covered = 0, cases = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    Random random(seed);
    Beliefs beliefs({});
    beliefs.Learn(Evidence(&random, 2'000));
    LookMany(&beliefs, &random, 6'000, 0.7);
    for (double elapsed : {60.0, 200.0, 500.0, 1'100.0, 2'500.0}) {
      const double truth = Truth(elapsed, 0.7);
      const Chance::Range range = beliefs.At(Kept(Seconds(elapsed + 50), 50s)).Credible(0.95);
      covered += range.low <= truth && truth <= range.high;
      ++cases;
    }
  }
  EXPECT_NEAR(100.0 * covered / cases, 95, 4);
}

TEST(BeliefTest, TheFastMeanIsThatOfTheChance) {
  Random random(5);
  Beliefs beliefs({});
  beliefs.Learn(Evidence(&random, 300));
  LookMany(&beliefs, &random, 300, 0.6);
  for (int i = 0; i < 10'000; ++i) {
    const double seen = random.Unit() * 2'000;
    const Duration age = Seconds(seen + random.Exponential(2'000));
    const Chance chance = beliefs.At(Kept(age, Seconds(seen)));
    ASSERT_NEAR(beliefs.Mean(Kept(age, Seconds(seen))), chance.mean, 0.002);
    ASSERT_TRUE(chance.mean >= 0 && chance.mean <= 1);
    ASSERT_TRUE(chance.variance >= 0 && chance.variance <= chance.mean * (1 - chance.mean));
  }
}

TEST(BeliefTest, ExplainsItself) {
  Random random(6);
  Beliefs beliefs({});
  beliefs.Learn(Evidence(&random, 5'000));
  LookMany(&beliefs, &random, 3'000, 0.6);
  const Beliefs::Reasons reasons = beliefs.Explain(Kept(900s, 100s));
  EXPECT_LE(reasons.low, reasons.curve.mean);
  EXPECT_GE(reasons.high, reasons.curve.mean);
  EXPECT_GT(reasons.looks, 100);
  EXPECT_LT(reasons.found, reasons.looks);
  const Chance chance = beliefs.At(Kept(900s, 100s));
  const double size = reasons.alpha + reasons.beta;
  EXPECT_NEAR(reasons.alpha / size, chance.mean, 1e-9);
  EXPECT_NEAR(chance.mean * (1 - chance.mean) / (size + 1), chance.variance, 1e-9);
}

// The curve is sure of what is wrong: looks say otherwise, and nothing is divided by nothing.
TEST(BeliefTest, ACurveThatIsSureIsCorrectedToo) {
  RingEvidence evidence;
  for (int i = 0; i < 1'000; ++i) evidence[Ring::kKept].Evicted(kNow, 1h, 1'000'000);
  Beliefs beliefs({});
  beliefs.Learn(evidence);
  for (int i = 0; i < 2'000; ++i) beliefs.Looked(Kept(30min, kNow), i % 2 == 0);
  for (int i = 0; i < 2'000; ++i) beliefs.Looked(Kept(24h * 30, kNow), i % 2 == 0);
  EXPECT_GT(beliefs.curve(Ring::kKept).Mean(30min, kNow), 0.999);
  EXPECT_NEAR(beliefs.Mean(Kept(30min, kNow)), 0.5, 0.1);
  EXPECT_NEAR(beliefs.Mean(Kept(24h * 30, kNow)), 0.5, 0.1);
  for (Duration age : {Duration(1), Duration(30min), Duration(1h), Duration::max()}) {
    const Chance chance = beliefs.At(Kept(age, kNow));
    EXPECT_TRUE(std::isfinite(chance.mean) && std::isfinite(chance.variance));
    EXPECT_TRUE(chance.mean >= 0 && chance.mean <= 1);
  }
}

}  // namespace
}  // namespace holdfast::snapshot
