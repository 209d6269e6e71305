// SPDX-License-Identifier: Apache-2.0
#include "snapshot/belief.h"

#include <algorithm>

#include "base/status.h"

namespace holdfast::snapshot {

Beliefs::Beliefs(const BeliefOptions& options)
    : options_(options), curve_(SurvivalEvidence(), options.survival) {
  HF_CHECK(options.curve_weight > 0 && options.memory > 1);
}

void Beliefs::Learn(const SurvivalEvidence& evidence) {
  curve_ = SurvivalCurve(evidence, options_.survival);
}

size_t Beliefs::RangeOf(double chance) {
  // All bounds are whole thousandths, so a thousandth lies in one range.
  constexpr double kParts = 1'000;
  static const std::array<uint8_t, 1'001> by_part = [] {
    std::array<uint8_t, 1'001> table{};
    uint8_t range = 0;
    for (size_t part = 0; part < table.size(); ++part) {
      const double middle = (static_cast<double>(part) + 0.5) / kParts;
      while (range + 2u < kBounds.size() && middle > kBounds[range + 1]) ++range;
      table[part] = range;
    }
    return table;
  }();
  return by_part[static_cast<size_t>(kParts * std::clamp(chance, 0.0, 1.0))];
}

// The chance of being gone that quotients scale: where the curve has none, looks must count too.
double Beliefs::GoneOf(double chance) { return std::max(1 - chance, 0.001); }

double Beliefs::Looks::Quotient(double weight) const {
  return (lost + weight) / (expected + weight);
}

Beliefs::Counts Beliefs::CountsAt(const Chance& curve) const {
  Counts counts{.weight = options_.curve_weight};
  const double spread = curve.mean * (1 - curve.mean);
  if (spread < curve.variance * (counts.weight + 1)) {
    counts.weight = std::max(spread / curve.variance - 1, 1e-3);
  }
  constexpr double kNothing = 1e-9;
  const double gone = GoneOf(curve.mean);
  counts.prior = 1 - std::min(all_.Quotient(options_.curve_weight) * (1 - curve.mean), 1.0);
  const Looks& looks = looks_[RangeOf(curve.mean)];
  if (looks.looks <= 0) return counts;
  const double there = 1 - std::min(looks.Quotient(0) * gone, 1.0);
  // An error of c is one of c (1 - P) here: so many looks at this very P would have told as much.
  const double there_in_range = 1 - looks.lost / looks.looks;
  counts.looks = looks.size() * looks.expected / looks.looks / gone * (there + kNothing) /
                 (there_in_range + kNothing);
  counts.found = counts.looks * there;
  return counts;
}

Beliefs::Reasons Beliefs::Explain(Duration age, Duration seen) const {
  Reasons reasons{.curve = curve_.At(age, seen)};
  const Counts counts = CountsAt(reasons.curve);
  const size_t range = RangeOf(reasons.curve.mean);
  reasons.prior = counts.prior;
  reasons.looks = counts.looks;
  reasons.found = counts.found;
  reasons.low = kBounds[range];
  reasons.high = kBounds[range + 1];
  const Chance chance = At(age, seen);
  const double spread = chance.mean * (1 - chance.mean);
  const double size = chance.variance > 0 ? spread / chance.variance - 1 : 0;
  reasons.alpha = size * chance.mean;
  reasons.beta = size * (1 - chance.mean);
  return reasons;
}

Chance Beliefs::At(Duration age, Duration seen) const {
  if (age <= seen) return {1, 0};
  const Chance curve = curve_.At(age, seen);
  const Counts counts = CountsAt(curve);
  const double mean = counts.mean();
  const double spread = mean * (1 - mean);
  return {mean, std::min(spread / (counts.weight + counts.looks + 1) + curve.variance, spread)};
}

double Beliefs::Mean(Duration age, Duration seen) const {
  return age <= seen ? 1 : CountsAt(curve_.At(age, seen)).mean();
}

void Beliefs::Looked(Duration age, Duration seen, bool found) {
  const double chance = curve_.Mean(age, seen);
  Looks& looks = looks_[RangeOf(chance)];
  const double keep = 1 - 1 / options_.memory;
  looks.looks = looks.looks * keep + 1;
  looks.squares = looks.squares * keep * keep + 1;
  looks.lost = looks.lost * keep + (found ? 0 : 1);
  looks.expected = looks.expected * keep + GoneOf(chance);
  all_ = {};
  for (const Looks& range : looks_) {
    all_.lost += range.lost;
    all_.expected += range.expected;
  }
}

}  // namespace holdfast::snapshot
