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

// Segments of 40 leave whole, so few of them at each age that no age by itself tells that a quiet
// youth is over: the first losses were smeared over it, and a hundredth was gone after seconds.
TEST(SurvivalTest, FindsItWhereSegmentsLeaveWhole) {
  constexpr Duration kYouth = 2h;
  Random random(12);
  SurvivalEvidence evidence;
  for (int i = 0; i < 100; ++i) {
    const Duration age = kYouth + Life(&random, 7'200);
    for (int k = 0; k < 4; ++k) evidence.Evicted(kNow, age + 5min * k, 40);
  }
  const SurvivalCurve curve = CurveOf(evidence);
  EXPECT_GT(curve.At(kYouth - 5min, kNow).mean, 0.998);
  EXPECT_GT(curve.AgeOf(0.99), kYouth - 5min);
  EXPECT_NEAR(InSeconds(curve.AgeOf(0.5)), InSeconds(kYouth) + 450 + 7'200 * std::log(2.0), 1'200);
}

// Where every cell loses the same share, no cut is called for.
TEST(SurvivalTest, OneKindOfLifeIsNotCutInTwo) {
  size_t cut = 0, groups = 0;
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    Random random(seed);
    SurvivalEvidence evidence;
    for (int i = 0; i < 400; ++i) {
      const double doublings = random.Exponential(4);
      evidence.Evicted(kNow, Seconds(std::exp2(doublings)), 1);
    }
    const SurvivalCurve curve = CurveOf(evidence);
    for (const SurvivalCurve::Group& group : curve.groups()) {
      ++groups;
      cut += group.beta < 4;  // of 8 evictions less than half
    }
  }
  EXPECT_LT(cut, groups / 10) << "of " << groups;
}

// The few of which nothing is known do not draw it out: what was believed before gave them months.
TEST(SurvivalTest, TheMeanLifeIsThatOfWhatIsKnown) {
  SurvivalEvidence evidence;
  for (int i = 0; i < 3'000; ++i) evidence.Evicted(kNow, 60s + 1s * (i % 300), 1);
  EXPECT_NEAR(InSeconds(CurveOf(evidence).MeanLife()), 210, 5);
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

// As a difference of logarithms of gamma functions the variance was 1.9 times too large with 10^6
// kept and 10^3 lost, and nothing with 10^9 and 10^6.
TEST(SurvivalTest, MomentsOfMuchEvidenceAreExact) {
  for (const auto& [kept, lost] : {std::pair{1e3, 10.0}, {1e6, 1e3}, {1e9, 1e6}, {1e12, 1.0}}) {
    SurvivalEvidence evidence;
    evidence.Add(0, {.kept = kept, .lost = lost, .lost_squares = lost});
    const SurvivalCurve curve(evidence,
                              {.prior_kept = 1e-9, .prior_lost = 1e-9, .least_evictions = 1});
    const Chance chance = curve.At(1s, kNow);
    const double all = kept + lost;
    EXPECT_NEAR(chance.mean, kept / all, 1e-12);
    const double variance = kept / all * (lost / all) / (all + 1);
    EXPECT_NEAR(chance.variance / variance, 1, 1e-3) << kept;
    EXPECT_DOUBLE_EQ(curve.Mean(1s, kNow), chance.mean);
  }
}

TEST(SurvivalTest, ADifferenceOfSumsIsWhatHappened) {
  SurvivalEvidence before, after, happened;
  before.Evicted(kNow, 40s, 3);
  before.StillThere(kNow, 25s, 1);
  after.Evicted(kNow, 40s, 3);
  after.Evicted(kNow, 90s, 1);  // the one that was 25 s old
  after.StillThere(kNow, 12s, 1);
  after -= before;
  happened.Evicted(25s, 90s, 1);
  happened.StillThere(kNow, 12s, 1);
  const auto difference = after.Cells(), expected = happened.Cells();
  for (size_t cell = 0; cell < expected.size(); ++cell) {
    EXPECT_NEAR(difference[cell].kept, expected[cell].kept, 1e-9) << cell;
    EXPECT_EQ(difference[cell].lost, expected[cell].lost) << cell;
    EXPECT_EQ(difference[cell].lost_squares, expected[cell].lost_squares) << cell;
  }
  happened += before;
  EXPECT_NEAR(happened.effective_evictions(), 2, 1e-9);  // three together are one
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

// A cluster of 2,000 objects, each replaced when it is evicted; snapshots, and evidence that follows.
class Followed {
 public:
  explicit Followed(uint64_t seed) : random_(seed) {}

  // So many snapshots, `period` apart, of lives of `mean_s` on average.
  void Run(int snapshots, double period, double mean_s) {
    for (int i = 0; i < snapshots; ++i) {
      now_ += period;
      for (Object& object : objects_) {
        // Without memory, so that a change of the mean changes all lives at once.
        for (double at = std::max(object.since, now_ - period);;) {
          at += InSeconds(Life(&random_, mean_s));
          if (at > now_) break;
          evicted_.Evicted(kNow, Seconds(at - object.since), 1);
          object.since = at;
        }
      }
      SurvivalEvidence sum = evicted_;
      for (const Object& object : objects_) sum.StillThere(kNow, Seconds(now_ - object.since), 1);
      SurvivalEvidence recent = sum;
      recent -= sum_;
      sum_ = std::move(sum);
      evidence_.Follow(std::move(recent), Seconds(period));
    }
  }
  SurvivalCurve curve() const { return CurveOf(evidence_); }

 private:
  struct Object {
    double since = 0;
  };
  Random random_;
  double now_ = 0;
  std::vector<Object> objects_ = std::vector<Object>(2'000);
  SurvivalEvidence evicted_, sum_, evidence_;
};

TEST(FollowTest, RangesCoverUnderStationaryChurn) {
  int covered = 0, cases = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    Followed cluster(seed);
    cluster.Run(12, 400, 1'000);
    const SurvivalCurve curve = cluster.curve();
    for (double age : {200.0, 700.0, 1'500.0}) {
      const double truth = std::exp(-age / 1'000);
      const Chance::Range range = curve.At(Seconds(age), kNow).Credible(0.95);
      covered += range.low <= truth && truth <= range.high;
      ++cases;
    }
  }
  EXPECT_NEAR(100.0 * covered / cases, 95, 4.5);
}

TEST(FollowTest, FollowsATenfoldChangeOfChurn) {
  Followed cluster(5);
  cluster.Run(12, 400, 1'000);
  cluster.Run(2, 400, 100);
  EXPECT_NEAR(cluster.curve().At(100s, kNow).mean, std::exp(-1.0), 0.03);
  EXPECT_NEAR(cluster.curve().At(20s, kNow).mean, std::exp(-0.2), 0.03);
  cluster.Run(2, 400, 1'000);
  EXPECT_NEAR(cluster.curve().At(400s, kNow).mean, std::exp(-0.4), 0.05);
  cluster.Run(4, 400, 1'000);
  EXPECT_NEAR(cluster.curve().At(1'000s, kNow).mean, std::exp(-1.0), 0.04);
}

// Objects that leave in bursts, which those who count them do not see to belong together.
TEST(FollowTest, FindsThatEvictionsDependOnEachOther) {
  auto spread = [](bool bursts) {
    Random random(9);
    SurvivalEvidence evidence;
    for (int snapshot = 0; snapshot < 20; ++snapshot) {
      SurvivalEvidence recent;
      Duration age{};
      for (int i = 0; i < 1'000; ++i) {
        if (!bursts || i % 50 == 0) age = Life(&random, 1'000);
        recent.Evicted(kNow, age, 1);
      }
      evidence.Follow(std::move(recent), 500s);
    }
    return std::sqrt(CurveOf(evidence).At(700s, kNow).variance);
  };
  EXPECT_GT(spread(true), 3 * spread(false));
}

TEST(FollowTest, NothingHappensForLong) {
  SurvivalEvidence evidence;
  evidence.Follow({}, 1h);
  evidence.Evicted(kNow, 100s, 1'000);
  evidence.Follow({}, Duration(-5));
  EXPECT_GT(evidence.effective_evictions(), 0.9);
  evidence.Follow({}, 24h * 365);
  EXPECT_NEAR(evidence.effective_evictions(), 0, 1e-6);
  const Chance chance = CurveOf(evidence).At(1h, kNow);
  EXPECT_TRUE(std::isfinite(chance.mean) && std::isfinite(chance.variance));
  SurvivalEvidence much;
  much.Evicted(kNow, 10s, uint64_t{1} << 63);
  evidence.Follow(much, 1s);
  evidence.Follow(much, 1s);
  EXPECT_TRUE(std::isfinite(CurveOf(evidence).At(1h, kNow).variance));
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
