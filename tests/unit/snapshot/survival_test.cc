// SPDX-License-Identifier: Apache-2.0
#include "snapshot/survival.h"

#include <gtest/gtest.h>

#include <cmath>
#include <utility>
#include <vector>

#include "base/random.h"

namespace holdfast::snapshot {
namespace {

constexpr Duration kNow{0};

double InSeconds(Duration d) { return static_cast<double>(d.count()) / 1e6; }
Duration Seconds(double s) { return Duration(static_cast<int64_t>(s * 1e6)); }

SurvivalCurve CurveOf(const SurvivalEvidence& evidence) { return SurvivalCurve(evidence, {}); }

// An exponential life, by inversion.
Duration Life(Random* random, double mean_s) {
  const double u = (static_cast<double>(random->Next() >> 11) + 0.5) / 9007199254740992.0;
  return Seconds(-mean_s * std::log(u));
}

TEST(AgeCellsTest, EveryAgeLiesInItsCell) {
  EXPECT_EQ(AgeCells::CellOf(Duration(-5)), 0u);
  EXPECT_EQ(AgeCells::CellOf(Duration(0)), 0u);
  EXPECT_EQ(AgeCells::CellOf(1s), 1u);
  EXPECT_EQ(AgeCells::CellOf(2s), 17u);
  EXPECT_EQ(AgeCells::CellOf(Duration::max()), AgeCells::kCells - 1);
  for (uint32_t cell = 0; cell + 1 < AgeCells::kCells; ++cell) {
    const Duration start = AgeCells::StartOf(cell), end = AgeCells::StartOf(cell + 1);
    ASSERT_LT(start, end);
    EXPECT_EQ(AgeCells::CellOf(start), cell);
    EXPECT_EQ(AgeCells::CellOf(end - Duration(1)), cell);
    EXPECT_NEAR(AgeCells::PositionOf(start), cell, 1e-9);
  }
}

TEST(SurvivalTest, WithoutEvidenceThePriorAlone) {
  const SurvivalCurve curve = CurveOf({});
  const Chance hour = curve.At(1h, kNow);
  EXPECT_GT(hour.mean, 0);
  EXPECT_LT(hour.mean, 1);
  const Chance::Range range = hour.Credible(0.95);
  EXPECT_LT(range.low, 0.2);
  EXPECT_GT(range.high, 0.8);
  EXPECT_EQ(curve.At(10s, 20s).mean, 1);
}

// The remission times of 21 patients under 6-mercaptopurine (Freireich et al., 1963), in weeks, the
// textbook's example of the estimate of Kaplan and Meier: 9 relapses, 12 still in remission. A week
// is a cell here.
TEST(SurvivalTest, IsTheEstimateOfKaplanAndMeier) {
  SurvivalEvidence evidence;
  const auto week = [](uint32_t n) { return AgeCells::StartOf(20 + n); };
  for (uint32_t relapse : {6, 6, 6, 7, 10, 13, 16, 22, 23}) {
    evidence.Evicted(kNow, week(relapse), 1);
  }
  // Who was last seen in the week of a relapse was at risk in it.
  for (uint32_t last : {6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35}) {
    evidence.StillThere(kNow, week(last + 1), 1);
  }
  const SurvivalCurve curve(evidence,
                            {.prior_kept = 1e-9, .prior_lost = 1e-12, .least_evictions = 0});
  const std::vector<std::pair<uint32_t, double>> known = {
      {6, 0.857}, {7, 0.807}, {10, 0.753}, {13, 0.690}, {16, 0.627}, {22, 0.538}, {23, 0.448}};
  for (const auto& [n, survival] : known) {
    EXPECT_NEAR(curve.At(week(n + 1), kNow).mean, survival, 0.0006) << n;
  }
}

TEST(SurvivalTest, NeverIncreasesAndMultiplies) {
  Random random(3);
  SurvivalEvidence evidence;
  for (int i = 0; i < 2'000; ++i) evidence.Evicted(kNow, Life(&random, 600), 1);
  const SurvivalCurve curve = CurveOf(evidence);
  double before = 1;
  for (Duration age = 1s; age < 3h; age += 17s) {
    const double here = curve.At(age, kNow).mean;
    EXPECT_LE(here, before);
    before = here;
  }
  // At the border of two groups the parts are independent.
  const Duration border = AgeCells::StartOf(curve.groups()[curve.groups().size() / 2].end);
  const double whole = curve.At(2 * border, kNow).mean;
  EXPECT_NEAR(curve.At(border, kNow).mean * curve.At(2 * border, border).mean, whole, 1e-9);
}

// Objects that are first seen late or are there still bias a plain histogram of ages; they must not
// bias this.
TEST(SurvivalTest, LateAndUnfinishedLivesAreCountedRight) {
  Random random(7);
  SurvivalEvidence evidence;
  for (int i = 0; i < 400'000; ++i) {
    const Duration life = Life(&random, 1'000);
    const Duration since = Seconds(static_cast<double>(random.Below(1'500)));
    const Duration until = since + Seconds(static_cast<double>(random.Below(800)));
    if (life < since) continue;  // never seen
    if (life < until) {
      evidence.Evicted(since, life, 1);
    } else {
      evidence.StillThere(since, until, 1);
    }
  }
  const SurvivalCurve curve = CurveOf(evidence);
  for (double age : {200.0, 500.0, 1'000.0, 1'800.0}) {
    EXPECT_NEAR(curve.At(Seconds(age), kNow).mean, std::exp(-age / 1'000), 0.02) << age;
  }
  EXPECT_NEAR(curve.At(900s, 400s).mean, std::exp(-0.5), 0.02);
}

// Nothing is evicted in its youth: the first losses are not smeared over it.
TEST(SurvivalTest, FindsTheAgeBeforeWhichNothingIsEvicted) {
  Random random(11);
  SurvivalEvidence evidence;
  for (int i = 0; i < 5'000; ++i) evidence.Evicted(kNow, 300s + Life(&random, 200), 1);
  const SurvivalCurve curve = CurveOf(evidence);
  EXPECT_GT(curve.At(290s, kNow).mean, 0.999);
  EXPECT_NEAR(InSeconds(curve.AgeOf(0.99)), 302, 15);
  EXPECT_NEAR(InSeconds(curve.MeanLife()), 500, 10);
  EXPECT_NEAR(InSeconds(curve.AgeOf(0.5)), 300 + 200 * std::log(2.0), 25);
}

// What its own formulas say of mean and variance is what draws of the p give.
TEST(SurvivalTest, MomentsAreThoseOfDraws) {
  const double alpha = 20, beta = 3, power = 2.5;
  SurvivalEvidence evidence;
  const SurvivalCurve::Group group{0, AgeCells::kCells, alpha, beta};
  Random random(5);
  auto gamma = [&](double shape) {  // the sum of exponentials, for whole shapes
    double sum = 0;
    for (int i = 0; i < static_cast<int>(shape); ++i) sum += InSeconds(Life(&random, 1'000));
    return sum;
  };
  double mean = 0, square = 0;
  constexpr int kDraws = 100'000;
  for (int i = 0; i < kDraws; ++i) {
    const double a = gamma(alpha), b = gamma(beta);
    const double p = std::pow(a / (a + b), power);
    mean += p / kDraws;
    square += p * p / kDraws;
  }
  // Evidence that makes this very group: trials of the first cell alone, and no prior.
  for (int i = 0; i < 3; ++i) evidence.Evicted(kNow, Duration(1), 1);
  evidence.StillThere(kNow, 1s, 20);
  const SurvivalCurve curve(evidence, {.prior_kept = 1e-9, .prior_lost = 1e-9});
  ASSERT_EQ(curve.groups().size(), 1u);
  EXPECT_NEAR(curve.groups()[0].alpha, group.alpha, 1e-6);
  EXPECT_NEAR(curve.groups()[0].beta, group.beta, 1e-6);
  // Two cells and a half of the one p.
  const Duration age = AgeCells::StartOf(2) + (AgeCells::StartOf(3) - AgeCells::StartOf(2)) / 2;
  const Chance chance = curve.At(age, kNow);
  EXPECT_NEAR(chance.mean, mean, 0.003);
  EXPECT_NEAR(chance.variance, square - mean * mean, 0.001);
}

// 95 % ranges cover the truth in about 95 % of cases, also when objects leave by segments of 50.
TEST(SurvivalTest, RangesCoverAsOftenAsTheySay) {
  for (uint64_t together : {uint64_t{1}, uint64_t{50}}) {
    int covered = 0, cases = 0;
    for (uint64_t seed = 1; seed <= 200; ++seed) {
      Random random(seed * 31 + together);
      SurvivalEvidence evidence;
      for (int i = 0; i < 150; ++i) evidence.Evicted(kNow, Life(&random, 600), together);
      const SurvivalCurve curve = CurveOf(evidence);
      for (double age : {150.0, 420.0, 900.0, 1'500.0}) {
        const double truth = std::exp(-age / 600);
        const Chance::Range range = curve.At(Seconds(age), kNow).Credible(0.95);
        covered += range.low <= truth && truth <= range.high;
        ++cases;
      }
    }
    EXPECT_NEAR(100.0 * covered / cases, 95, 3) << together;
  }
}

TEST(SurvivalTest, AboveIsTheTailOfTheRange) {
  const Chance chance{0.6, 0.01};
  const Chance::Range range = chance.Credible(0.9);
  EXPECT_NEAR(chance.Above(range.low), 0.95, 1e-6);
  EXPECT_NEAR(chance.Above(range.high), 0.05, 1e-6);
  EXPECT_EQ(chance.Above(0), 1);
  EXPECT_EQ(chance.Above(1), 0);
  EXPECT_EQ((Chance{1, 0}).Above(0.5), 1);
}

// After churn has become ten times as fast, the curve follows in a few rounds of forgetting.
TEST(SurvivalTest, ForgettingFollowsTheCluster) {
  Random random(13);
  SurvivalEvidence evidence;
  for (int i = 0; i < 20'000; ++i) evidence.Evicted(kNow, Life(&random, 5'000), 1);
  for (int round = 0; round < 10; ++round) {
    evidence.Forget(0.5);
    for (int i = 0; i < 2'000; ++i) evidence.Evicted(kNow, Life(&random, 500), 1);
  }
  EXPECT_NEAR(CurveOf(evidence).At(500s, kNow).mean, std::exp(-1.0), 0.03);
}

TEST(SurvivalTest, NonsenseSaysNothing) {
  SurvivalEvidence evidence;
  evidence.Evicted(20s, 10s, 5);
  evidence.StillThere(20s, 10s, 5);
  evidence.StillThere(kNow, Duration(-1), 5);
  for (const auto& cell : evidence.Cells()) EXPECT_EQ(cell.trials(), 0);
  evidence.Evicted(kNow, 10s, uint64_t{1} << 63);
  const Chance chance = CurveOf(evidence).At(1h, kNow);
  EXPECT_TRUE(std::isfinite(chance.mean) && std::isfinite(chance.variance));
}

}  // namespace
}  // namespace holdfast::snapshot
