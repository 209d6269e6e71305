// SPDX-License-Identifier: Apache-2.0
#include "snapshot/survival.h"

#include <algorithm>
#include <array>
#include <bit>
#include <boost/math/special_functions/beta.hpp>
#include <cmath>
#include <utility>

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

using StartTable = std::array<int64_t, AgeCells::kCells>;

const StartTable& Starts() {
  static const StartTable starts = [] {
    StartTable table{};
    for (uint32_t cell = 1; cell < AgeCells::kCells; ++cell) {
      const double doublings = static_cast<double>(cell - 1) / AgeCells::kPerDoubling;
      // Rounded up, so that an age that begins a cell lies in it.
      table[cell] = static_cast<int64_t>(
          std::ceil(static_cast<double>(kFirstCell.count()) * std::exp2(doublings) - 1e-6));
    }
    return table;
  }();
  return starts;
}

// Of [1, 2) in 256 slices, the cell (of a doubling) in which a slice begins.
constexpr uint32_t kSliceBits = 8;

const std::array<uint8_t, 1 << kSliceBits>& Sixteenths() {
  static const auto table = [] {
    std::array<uint8_t, 1 << kSliceBits> cells{};
    for (size_t slice = 0; slice < cells.size(); ++slice) {
      const double start = 1 + static_cast<double>(slice) / static_cast<double>(cells.size());
      cells[slice] = static_cast<uint8_t>(AgeCells::kPerDoubling * std::log2(start));
    }
    return cells;
  }();
  return table;
}

// The logarithm of how likely the outcomes of these trials are, at the p at which they are likeliest.
double LogLikelihood(const SurvivalEvidence::Cell& cells) {
  const double n = cells.trials();
  auto part = [n](double count) { return count > 0 ? count * std::log(count / n) : 0; };
  return part(cells.kept) + part(cells.lost);
}

// Where the cells [first, end), `sum` in all, are best cut in two kinds of life: `end` where they
// may as well be one. (Else a quiet youth, in which nothing is evicted, would share its p with the
// first losses after it.)
uint32_t CutOf(const std::vector<SurvivalEvidence::Cell>& cells, uint32_t first, uint32_t end,
               const SurvivalEvidence::Cell& sum) {
  constexpr double kLikelier = 6;  // by its logarithm: two kinds than one
  uint32_t cut = end;
  double best = kLikelier * sum.design_effect() + LogLikelihood(sum);
  SurvivalEvidence::Cell young, old = sum;
  for (uint32_t cell = first; cell + 1 < end; ++cell) {
    young += cells[cell];
    old -= cells[cell];
    const double both = LogLikelihood(young) + LogLikelihood(old);
    if (both <= best) continue;
    best = both;
    cut = cell + 1;
  }
  return cut;
}

}  // namespace

uint32_t AgeCells::CellOf(Duration age) { return static_cast<uint32_t>(PositionOf(age)); }

Duration AgeCells::StartOf(uint32_t cell) { return Duration(Starts()[cell]); }

Duration AgeCells::MiddleOf(uint32_t cell) {
  return (StartOf(cell) + StartOf(std::min(cell + 1, kCells - 1))) / 2;
}

double AgeCells::PositionOf(Duration age) {
  if (age <= Duration(0)) return 0;
  const double seconds = InSeconds(age);
  if (age < kFirstCell) return seconds / InSeconds(kFirstCell);
  const uint64_t bits = std::bit_cast<uint64_t>(seconds);
  const uint64_t doublings = (bits >> 52) - 1023;
  if (doublings >= kDoublings) return kCells - 1;
  uint32_t cell = static_cast<uint32_t>(1 + kPerDoubling * doublings) +
                  Sixteenths()[(bits >> (52 - kSliceBits)) % (1u << kSliceBits)];
  const StartTable& starts = Starts();
  // A cell may end within the slice. (And the last one has no end.)
  if (cell + 1 < kCells && age.count() >= starts[cell + 1]) ++cell;
  if (cell >= kCells - 1) return kCells - 1;
  // Starts are rounded up.
  if (age.count() < starts[cell]) --cell;
  return cell + static_cast<double>(age.count() - starts[cell]) /
                    static_cast<double>(starts[cell + 1] - starts[cell]);
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

SurvivalEvidence::Cell& SurvivalEvidence::Cell::operator-=(const Cell& o) {
  kept -= o.kept;
  lost -= o.lost;
  lost_squares -= o.lost_squares;
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

void SurvivalEvidence::CameLate(Duration age, uint64_t count) {
  Keep(0, AgeCells::PositionOf(age), -static_cast<double>(count));
}

void SurvivalEvidence::Forget(double keep) {
  HF_CHECK(keep >= 0 && keep <= 1);
  for (Cell& cell : cells_) {
    cell.kept *= keep;
    cell.lost *= keep;
    cell.lost_squares *= keep * keep;  // of weights, as they are of counts
  }
}

SurvivalEvidence& SurvivalEvidence::operator+=(const SurvivalEvidence& o) {
  for (size_t cell = 0; cell < cells_.size(); ++cell) cells_[cell] += o.cells_[cell];
  return *this;
}

SurvivalEvidence& SurvivalEvidence::operator-=(const SurvivalEvidence& o) {
  for (size_t cell = 0; cell < cells_.size(); ++cell) cells_[cell] -= o.cells_[cell];
  return *this;
}

double SurvivalEvidence::effective_evictions() const {
  double sum = 0;
  for (const Cell& cell : cells_) sum += cell.lost / cell.design_effect();
  return sum;
}

namespace {

// Known evidence against recent, as two samples of the same hazards.
struct Comparison {
  double lost = 0;      // recently
  double expected = 0;  // by what is known
  double difference = 0;
  double squares = 0;  // of differences, by windows
  // Of the differences, if all evictions were as dependent as they say.
  double variance_of_recent = 0;
  double variance_of_known = 0;
};

double Square(double x) { return x * x; }

Comparison Compare(const std::vector<SurvivalEvidence::Cell>& known,
                   const std::vector<SurvivalEvidence::Cell>& recent) {
  constexpr size_t kWindow = AgeCells::kPerDoubling / 8;
  Comparison c;
  double window = 0;
  for (size_t cell = 0; cell < known.size(); ++cell) {
    const SurvivalEvidence::Cell& k = known[cell];
    const SurvivalEvidence::Cell& r = recent[cell];
    if (cell % kWindow == 0) c.squares += Square(std::exchange(window, 0));
    const double of_known = k.trials(), of_recent = r.trials();
    if (of_known <= 0 || of_recent <= 0) continue;
    const double hazard = (k.lost + r.lost) / (of_known + of_recent);
    const double share = of_known / (of_known + of_recent);
    const double one = hazard * (1 - hazard);
    c.lost += r.lost;
    c.expected += of_recent * k.lost / of_known;
    c.difference += r.lost - of_recent * hazard;
    window += r.lost - of_recent * hazard;
    c.variance_of_recent += one * of_recent * share * share * r.design_effect();
    c.variance_of_known += one * of_known * (1 - share) * (1 - share) * k.design_effect();
  }
  c.squares += Square(window);
  return c;
}

bool Contradicts(const Comparison& c) {
  constexpr double kDeviations = 5;
  constexpr double kFactor = 1.5;
  const double variance = c.variance_of_recent + c.variance_of_known;
  return c.difference * c.difference > kDeviations * kDeviations * variance &&
         (c.lost > kFactor * c.expected || c.expected > kFactor * c.lost);
}

double Dispersion(const Comparison& c) {
  if (c.variance_of_recent <= 0) return 1;
  return std::clamp((c.squares - c.variance_of_known) / c.variance_of_recent, 0.5, 50.0);
}

double MeanAgeAtEviction(const std::vector<SurvivalEvidence::Cell>& cells) {
  double lost = 0, seconds = 0;
  for (uint32_t cell = 0; cell < AgeCells::kCells; ++cell) {
    lost += cells[cell].lost;
    seconds += cells[cell].lost * InSeconds(AgeCells::StartOf(cell));
  }
  return lost > 0 ? seconds / lost : 0;
}

}  // namespace

void SurvivalEvidence::Follow(SurvivalEvidence recent, Duration passed) {
  constexpr double kEvictions = 6'000;
  constexpr double kLives = 4;
  constexpr double kContradicted = 0.02;
  const std::vector<Cell> known = Cells();
  const Comparison comparison = Compare(known, recent.Cells());
  double fade = recent.effective_evictions() / kEvictions;
  const double life = MeanAgeAtEviction(known);
  if (life > 0) fade = std::max(fade, InSeconds(passed) / life / kLives);
  double keep = std::exp(-std::max(fade, 0.0));
  if (Contradicts(comparison)) keep = std::min(keep, kContradicted);
  const double dispersion = Dispersion(comparison);
  for (Cell& cell : recent.cells_) cell.lost_squares *= dispersion;
  Forget(keep);
  *this += recent;
}

void SurvivalEvidence::Add(uint32_t cell, const Cell& said) {
  HF_CHECK(cell < AgeCells::kCells);
  cells_[cell] += said;
  cells_[cell + 1].kept -= said.kept;
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
    sum += cells[cell];
    if (sum.lost / sum.design_effect() < options.least_evictions && cell + 1 < cells.size())
      continue;
    const uint32_t cut = CutOf(cells, first, cell + 1, sum);
    Close(cells, first, cut, options);
    if (cut <= cell) Close(cells, cut, cell + 1, options);
    first = cell + 1;
    sum = {};
  }
  Tabulate();
}

void SurvivalCurve::Close(const std::vector<SurvivalEvidence::Cell>& cells, uint32_t first,
                          uint32_t end, const SurvivalOptions& options) {
  SurvivalEvidence::Cell sum;
  for (uint32_t cell = first; cell < end; ++cell) sum += cells[cell];
  const double effect = sum.design_effect();
  groups_.push_back({first, end, options.prior_kept + sum.kept / effect,
                     options.prior_lost + sum.lost / effect, 0});
}

// Of p ~ Beta(alpha, beta): E[p^n] = product of 1 - beta / (alpha + beta + j) over j < n. Summed as
// logarithms of 1 plus little, it is exact where gamma functions would cancel each other.
void SurvivalCurve::Tabulate() {
  group_of_.resize(AgeCells::kCells);
  before_.resize(groups_.size());
  Logs sum;
  for (size_t g = 0; g < groups_.size(); ++g) {
    Group& group = groups_[g];
    std::fill(group_of_.begin() + group.first, group_of_.begin() + group.end,
              static_cast<uint16_t>(g));
    group.moments = static_cast<uint32_t>(moments_.size());
    const uint32_t cells = group.end - group.first;
    double moment = 0;
    for (uint32_t n = 0; n < 2 * cells + 3; ++n) {  // squares, and two more to interpolate
      moments_.push_back(moment);
      moment += std::log1p(-group.beta / (group.alpha + group.beta + n));
    }
    before_[g] = sum;
    const Logs whole = Part(group, cells);
    sum = {sum.mean + whole.mean, sum.excess + whole.excess};
  }
}

// log E[p^cells], interpolated by a parabola: the excess of a part of a cell lies in its curvature.
double SurvivalCurve::MomentOf(const Group& group, double cells) const {
  const auto whole = static_cast<uint32_t>(cells);
  const double part = cells - whole;
  const double* m = &moments_[group.moments + whole];
  const double step = m[1] - m[0];
  return m[0] + part * (step + (part - 1) / 2 * (m[2] - m[1] - step));
}

SurvivalCurve::Logs SurvivalCurve::Part(const Group& group, double cells) const {
  const double mean = MomentOf(group, cells);
  return {mean, std::max(MomentOf(group, 2 * cells) - 2 * mean, 0.0)};
}

SurvivalCurve::Logs SurvivalCurve::Between(double from, double to) const {
  const size_t a = group_of_[static_cast<uint32_t>(from)];
  const size_t b = group_of_[static_cast<uint32_t>(to)];
  if (a == b) return Part(groups_[a], to - from);
  const Logs head = Part(groups_[a], groups_[a].end - from);
  const Logs tail = Part(groups_[b], to - groups_[b].first);
  return {head.mean + before_[b].mean - before_[a + 1].mean + tail.mean,
          head.excess + before_[b].excess - before_[a + 1].excess + tail.excess};
}

Chance SurvivalCurve::At(Duration age, Duration seen) const {
  const double from = AgeCells::PositionOf(seen);
  const double to = AgeCells::PositionOf(age);
  if (to <= from) return {1, 0};
  const Logs logs = Between(from, to);
  const double mean = std::exp(std::min(logs.mean, 0.0));
  return {mean, std::min(mean * mean * std::expm1(std::max(logs.excess, 0.0)), mean * (1 - mean))};
}

double SurvivalCurve::LogMean(double from, double to) const {
  if (to <= from) return 0;
  const size_t a = group_of_[static_cast<uint32_t>(from)];
  const size_t b = group_of_[static_cast<uint32_t>(to)];
  if (a == b) return std::min(MomentOf(groups_[a], to - from), 0.0);
  const double whole = before_[b].mean - before_[a + 1].mean;
  return std::min(MomentOf(groups_[a], groups_[a].end - from) + whole +
                      MomentOf(groups_[b], to - groups_[b].first),
                  0.0);
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
  constexpr double kDead = 0.01;
  const Duration dead = AgeOf(kDead);
  double area = 0, before = 1;
  for (uint32_t cell = 1; cell < AgeCells::kCells && AgeCells::StartOf(cell) <= dead; ++cell) {
    const Duration age = AgeCells::StartOf(cell);
    const double here = Mean(age, Duration(0));
    area += (before + here) / 2 * InSeconds(age - AgeCells::StartOf(cell - 1));
    before = here;
  }
  return Duration(std::llround(area * 1e6));
}

}  // namespace holdfast::snapshot
