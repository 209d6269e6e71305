// SPDX-License-Identifier: Apache-2.0
#include "snapshot/survival.h"

#include <algorithm>
#include <boost/math/special_functions/beta.hpp>
#include <boost/math/special_functions/gamma.hpp>
#include <cmath>

#include "base/status.h"

namespace holdfast::snapshot {
namespace {

namespace policies = boost::math::policies;
using Policy = policies::policy<policies::promote_double<false>,
                                policies::domain_error<policies::errno_on_error>,
                                policies::pole_error<policies::errno_on_error>,
                                policies::overflow_error<policies::errno_on_error>,
                                policies::evaluation_error<policies::errno_on_error>>;

constexpr Duration kFirstCell = 1s;
// A variance of nothing would make a Beta distribution of infinite parameters.
constexpr double kLeastVariance = 1e-12;

double InSeconds(Duration d) { return static_cast<double>(d.count()) / 1e6; }

// E[p^power] for p ~ Beta(alpha, beta): B(alpha + power, beta) / B(alpha, beta).
double MomentOf(double alpha, double beta, double power) {
  if (power == 0) return 1;
  auto rising = [power](double x) {
    return boost::math::lgamma(x + power, Policy()) - boost::math::lgamma(x, Policy());
  };
  return std::exp(std::min(rising(alpha) - rising(alpha + beta), 0.0));
}

struct Beta {
  double alpha = 1;
  double beta = 1;
};

Beta WithMoments(double mean, double variance) {
  const double inside = std::clamp(mean, 1e-9, 1 - 1e-9);
  const double most = inside * (1 - inside);
  const double size = most / std::clamp(variance, kLeastVariance, most * 0.999'999) - 1;
  return {inside * size, (1 - inside) * size};
}

// Were so many lost in this cell as the cells before it do not explain? (Else a quiet youth, in
// which nothing is evicted, would share its p with the first losses after it.)
bool Differs(const SurvivalEvidence::Cell& before, const SurvivalEvidence::Cell& cell) {
  constexpr double kLeast = 4;   // effective losses, above what was to be expected
  constexpr double kFactor = 3;  // and so many times as many
  if (before.trials() <= 0) return false;
  const double expected = cell.trials() * before.lost / before.trials();
  return cell.lost > kFactor * expected + kLeast * cell.design_effect();
}

}  // namespace

uint32_t AgeCells::CellOf(Duration age) { return static_cast<uint32_t>(PositionOf(age)); }

Duration AgeCells::StartOf(uint32_t cell) {
  if (cell == 0) return Duration(0);
  const double doublings = static_cast<double>(cell - 1) / kPerDoubling;
  // Rounded up, so that an age that begins a cell lies in it.
  return Duration(static_cast<int64_t>(
      std::ceil(static_cast<double>(kFirstCell.count()) * std::exp2(doublings) - 1e-6)));
}

double AgeCells::PositionOf(Duration age) {
  if (age <= Duration(0)) return 0;
  if (age < kFirstCell) return InSeconds(age) / InSeconds(kFirstCell);
  auto cell = static_cast<uint32_t>(1 + kPerDoubling * std::log2(InSeconds(age)));
  if (cell >= kCells - 1) return kCells - 1;
  // The logarithm may be a hair off at the borders.
  if (age < StartOf(cell)) --cell;
  if (age >= StartOf(cell + 1)) ++cell;
  const Duration start = StartOf(cell), end = StartOf(cell + 1);
  return cell + InSeconds(age - start) / InSeconds(end - start);
}

Chance::Range Chance::Credible(double share) const {
  if (variance <= kLeastVariance) return {mean, mean};
  const Beta b = WithMoments(mean, variance);
  const double tail = (1 - share) / 2;
  return {boost::math::ibeta_inv(b.alpha, b.beta, tail, Policy()),
          boost::math::ibetac_inv(b.alpha, b.beta, tail, Policy())};
}

double Chance::Above(double threshold) const {
  if (threshold <= 0) return 1;
  if (threshold >= 1) return 0;
  if (variance <= kLeastVariance) return mean > threshold ? 1 : 0;
  const Beta b = WithMoments(mean, variance);
  return boost::math::ibetac(b.alpha, b.beta, threshold, Policy());
}

// --- Evidence ------------------------------------------------------------------------------------

SurvivalEvidence::Cell& SurvivalEvidence::Cell::operator+=(const Cell& o) {
  kept += o.kept;
  lost += o.lost;
  lost_squares += o.lost_squares;
  return *this;
}

SurvivalEvidence::SurvivalEvidence() : cells_(AgeCells::kCells + 1) {}

// Kept between two positions: whole cells as steps, and what is left at both ends.
void SurvivalEvidence::Keep(double from, double to, double count) {
  if (to <= from) return;
  auto add = [this, count](double position, double sign) {
    const auto cell = static_cast<uint32_t>(position);
    const double part = position - cell;  // of the cell lies before the position
    cells_[cell].kept += sign * count * (1 - part);
    cells_[cell + 1].kept += sign * count * part;
  };
  add(from, 1);
  add(to, -1);
}

void SurvivalEvidence::Evicted(Duration since, Duration age, uint64_t count) {
  if (age < since) return;
  const auto n = static_cast<double>(count);
  const uint32_t cell = AgeCells::CellOf(age);
  Keep(AgeCells::PositionOf(since), cell, n);
  cells_[cell].lost += n;
  cells_[cell].lost_squares += n * n;
}

void SurvivalEvidence::StillThere(Duration since, Duration age, uint64_t count) {
  Keep(AgeCells::PositionOf(since), AgeCells::PositionOf(age), static_cast<double>(count));
}

void SurvivalEvidence::Forget(double keep) {
  HF_CHECK(keep >= 0 && keep <= 1);
  for (Cell& cell : cells_) {
    cell.kept *= keep;
    cell.lost *= keep;
    cell.lost_squares *= keep;
  }
}

std::vector<SurvivalEvidence::Cell> SurvivalEvidence::Cells() const {
  std::vector<Cell> cells(cells_.begin(), cells_.end() - 1);
  double kept = 0;
  for (Cell& cell : cells) {
    kept += cell.kept;
    cell.kept = std::max(kept, 0.0);  // sums of decayed numbers may miss zero by a hair
  }
  return cells;
}

// --- The curve -----------------------------------------------------------------------------------

SurvivalCurve::SurvivalCurve(const SurvivalEvidence& evidence, const SurvivalOptions& options) {
  const std::vector<SurvivalEvidence::Cell> cells = evidence.Cells();
  SurvivalEvidence::Cell sum;
  uint32_t first = 0;
  for (uint32_t cell = 0; cell < cells.size(); ++cell) {
    if (cell > first && Differs(sum, cells[cell])) {
      Close(first, cell, sum, options);
      first = cell;
      sum = {};
    }
    sum += cells[cell];
    if (sum.lost / sum.design_effect() < options.least_evictions) continue;
    Close(first, cell + 1, sum, options);
    first = cell + 1;
    sum = {};
  }
  if (first < cells.size()) Close(first, AgeCells::kCells, sum, options);
}

void SurvivalCurve::Close(uint32_t first, uint32_t end, const SurvivalEvidence::Cell& sum,
                          const SurvivalOptions& options) {
  const double effect = sum.design_effect();
  groups_.push_back(
      {first, end, options.prior_kept + sum.kept / effect, options.prior_lost + sum.lost / effect});
}

Chance SurvivalCurve::At(Duration age, Duration seen) const {
  const double from = AgeCells::PositionOf(std::max(seen, Duration(0)));
  const double to = AgeCells::PositionOf(age);
  if (to <= from) return {1, 0};
  double mean = 1, square = 1;
  for (const Group& group : groups_) {
    const double begin = std::max<double>(group.first, from);
    const double end = std::min<double>(group.end, to);
    if (begin >= end) continue;
    mean *= MomentOf(group.alpha, group.beta, end - begin);
    square *= MomentOf(group.alpha, group.beta, 2 * (end - begin));
  }
  return {mean, std::max(square - mean * mean, 0.0)};
}

Duration SurvivalCurve::AgeOf(double share) const {
  uint32_t low = 0, high = AgeCells::kCells - 1;  // the curve does not increase
  if (At(AgeCells::StartOf(high), Duration(0)).mean > share) return AgeCells::StartOf(high);
  while (low < high) {
    const uint32_t middle = (low + high) / 2;
    if (At(AgeCells::StartOf(middle), Duration(0)).mean <= share) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return AgeCells::StartOf(low);
}

// The integral of the curve, by trapezoids.
Duration SurvivalCurve::MeanLife() const {
  double area = 0, before = 1;
  for (uint32_t cell = 1; cell < AgeCells::kCells; ++cell) {
    const double here = At(AgeCells::StartOf(cell), Duration(0)).mean;
    area += (before + here) / 2 * InSeconds(AgeCells::StartOf(cell) - AgeCells::StartOf(cell - 1));
    before = here;
  }
  return Duration(static_cast<int64_t>(area * 1e6));
}

}  // namespace holdfast::snapshot
