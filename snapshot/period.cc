// SPDX-License-Identifier: Apache-2.0
#include "snapshot/period.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace holdfast::snapshot {
namespace {

constexpr double kAlive = 0.99;  // t_alive: so many are there still
constexpr double kDead = 0.01;   // t_dead: so few
// Nothing is as good as never evicted before t_alive where it is so much rarer than later.
constexpr double kRarer = 10;
constexpr int kStepsPerDoubling = 8;
// Below the least period the cost of wrong decisions is taken from so many halvings of it.
constexpr int kHalvings = 6;
// Longer than any age that is told apart, and short enough to be added to one.
constexpr Duration kLongest = std::chrono::hours(24 * 365);

double InSeconds(Duration d) { return static_cast<double>(d.count()) / 1e6; }
Duration InPart(Duration d, double part) {
  return Duration(std::llround(static_cast<double>(d.count()) * part));
}
// Also what is not a number, or infinite.
double AtLeastZero(double x) { return std::min(std::max(0.0, x), 1e18); }

double UsdPerHour(double nano_usd_per_s) { return nano_usd_per_s * 3600 / 1e9; }

// What not knowing costs, by how old the log is.
class Ignorance {
 public:
  Ignorance(const SurvivalCurve& curve, const Costs& costs, const PeriodInput& input)
      : curve_(curve),
        look_(static_cast<double>(costs.look())),
        vain_far_(AtLeastZero(static_cast<double>(costs.far() - costs.hit() - costs.look()))),
        work_(static_cast<double>(costs.look_work())),
        far_money_(static_cast<double>(costs.far_money())),
        race_(input.race),
        reads_per_s_(AtLeastZero(input.reads_per_s)) {
    const double known = AtLeastZero(input.known_objects);
    if (known > 0) new_reads_per_s2_ = reads_per_s_ * AtLeastZero(input.loads_per_s) / known;
    for (uint32_t cell = 0; cell + 1 < AgeCells::kCells; ++cell) {
      const Duration start = AgeCells::StartOf(cell), end = AgeCells::StartOf(cell + 1);
      const Duration middle = (start + end) / 2;
      const double there = curve.Mean(middle, Duration(0));
      if (there < kDead / 10 && cell > 0) break;
      ages_.push_back({middle, std::max(there, kDead / 10) * InSeconds(end - start)});
      mass_ += ages_.back().second;
    }
  }

  // Nanodollars a second, `old` after the snapshot.
  double At(Duration old) const {
    double wrong = 0;
    for (const auto& [age, weight] : ages_) wrong += weight * Wrong(curve_.Mean(age + old, age));
    const double of_new = std::min(new_reads_per_s2_ * CameSince(old), reads_per_s_);
    return reads_per_s_ * wrong / mass_ + of_new * vain_far_;
  }

 private:
  double Wrong(double p) const {
    const double least = std::min((1 - p) * look_, p * vain_far_);
    return race_ ? std::min(least, (1 - p) * work_ + p * far_money_) : least;
  }
  // The time's worth of loads that are there still: the integral of the curve.
  double CameSince(Duration old) const {
    double seconds = 0;
    for (uint32_t cell = 0; cell + 1 < AgeCells::kCells; ++cell) {
      const Duration start = AgeCells::StartOf(cell);
      if (start >= old) break;
      const Duration end = std::min(AgeCells::StartOf(cell + 1), old);
      seconds += curve_.Mean((start + end) / 2, Duration(0)) * InSeconds(end - start);
    }
    return seconds;
  }

  const SurvivalCurve& curve_;
  double look_;
  double vain_far_;
  double work_;
  double far_money_;
  bool race_;
  double reads_per_s_;
  double new_reads_per_s2_ = 0;                    // a second, for each second of loads
  std::vector<std::pair<Duration, double>> ages_;  // and how many are of it
  double mass_ = 0;
};

struct Candidate {
  Duration period{};
  double wrong = 0;  // mean over the period, nanodollars a second
};

// Periods from least to most, in equal ratios, with the mean of wrong(u) up to each, by trapezoids
// from far below `least`, where wrong(u) is as good as proportional to u.
std::vector<Candidate> Candidates(const Ignorance& ignorance, Duration least, Duration most) {
  const double ratio = InSeconds(most) / InSeconds(least);
  const int steps = static_cast<int>(std::ceil(std::log2(ratio) * kStepsPerDoubling));
  const double factor = steps > 0 ? std::pow(ratio, 1.0 / steps) : 1;
  std::vector<Duration> grid;
  for (int i = kHalvings * kStepsPerDoubling; i > 0; --i) {
    grid.push_back(InPart(least, std::exp2(-static_cast<double>(i) / kStepsPerDoubling)));
  }
  for (int i = 0; i < steps; ++i) {
    grid.push_back(InPart(least, std::pow(factor, i)));
  }
  grid.push_back(most);
  std::vector<Candidate> candidates;
  double area = 0, wrong_before = 0;
  Duration before(0);
  for (Duration old : grid) {
    const double wrong = ignorance.At(old);
    area += (wrong_before + wrong) / 2 * InSeconds(old - before);
    before = old, wrong_before = wrong;
    if (old >= least) candidates.push_back({old, old > Duration(0) ? area / InSeconds(old) : 0});
  }
  return candidates;
}

// Is there a youth in which nothing is evicted? By evictions per time up to t_alive, and up to
// t_dead.
bool HasQuietYouth(Duration alive, Duration dead) {
  return -std::log(kAlive) / InSeconds(alive) * kRarer < -std::log(kDead) / InSeconds(dead);
}

std::string Money(double usd_per_hour) {
  const double micro = std::min(usd_per_hour * 1e6, 1e15);
  return FormatMoney(std::llround(micro)) + " an hour";
}

std::string Why(const PeriodChoice& c, Duration dead, Duration youth, bool is_fixed) {
  const std::string every = "every " + FormatDuration(c.period) + ": ";
  const std::string costs = "snapshots cost " + Money(c.snapshots_usd_per_hour) +
                            ", wrong decisions " + Money(c.decisions_usd_per_hour);
  if (is_fixed) return every + "fixed by configuration; " + costs;
  std::string reason = "the least sum";
  if (c.period == c.least) reason = "the lower bound";
  if (c.period == c.most && c.most > c.least) reason = "the upper bound";
  std::string most =
      youth < dead / 2 ? "in which nothing is evicted" : "in which a snapshot half dies";
  if (youth == Duration(0))
    most = "half of a snapshot's life, since something is evicted at any age";
  if (dead / 2 < c.least)
    most = "the same, since a snapshot lives for " + FormatDuration(dead) + " only";
  return every + reason + " between " + FormatDuration(c.least) + " and " + FormatDuration(c.most) +
         " (" + most + "); " + costs;
}

}  // namespace

PeriodChoice ChoosePeriod(const SurvivalCurve& curve, const Costs& costs, const PeriodInput& input,
                          Duration fixed) {
  const Duration dead = curve.AgeOf(kDead), alive = curve.AgeOf(kAlive);
  PeriodChoice choice;
  choice.least = std::clamp(input.shortest, std::max(dead / 10'000, Duration(1'000)), kLongest);
  const bool quiet = alive >= choice.least && HasQuietYouth(alive, dead);
  choice.most = std::max(choice.least, quiet ? std::min(dead / 2, alive) : dead / 2);
  Duration from = choice.least, to = choice.most;
  if (fixed > Duration(0)) from = to = std::min(fixed, kLongest);

  const double snapshot = AtLeastZero(static_cast<double>(input.snapshot_cost));
  const std::vector<Candidate> candidates = Candidates(Ignorance(curve, costs, input), from, to);
  // Of periods that cost the same the longest.
  double least = INFINITY;
  for (auto c = candidates.rbegin(); c != candidates.rend(); ++c) {
    const double snapshots = snapshot / InSeconds(c->period);
    if (snapshots + c->wrong >= least) continue;
    least = snapshots + c->wrong;
    choice.period = c->period;
    choice.snapshots_usd_per_hour = UsdPerHour(snapshots);
    choice.decisions_usd_per_hour = UsdPerHour(c->wrong);
  }
  choice.why = Why(choice, dead, quiet ? alive : Duration(0), fixed > Duration(0));
  return choice;
}

}  // namespace holdfast::snapshot
