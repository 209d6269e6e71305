// SPDX-License-Identifier: Apache-2.0
#include "snapshot/belief.h"

#include <algorithm>

namespace holdfast::snapshot {

Beliefs::Beliefs(const BeliefOptions& options)
    : options_(options), curve_(SurvivalEvidence(), options.survival) {}

void Beliefs::Learn(const SurvivalEvidence& evidence) {
  curve_ = SurvivalCurve(evidence, options_.survival);
}

uint32_t Beliefs::RangeOf(double chance) {
  return std::min(static_cast<uint32_t>(chance * kRanges), kRanges - 1);
}

Beliefs::Reasons Beliefs::Explain(Duration age, Duration seen) const {
  Reasons reasons{.curve = curve_.At(age, seen)};
  const double p = reasons.curve.mean;
  const uint32_t range = RangeOf(p);
  reasons.looks = looks_[range].looks;
  reasons.found = looks_[range].found;
  reasons.low = static_cast<double>(range) / kRanges;
  reasons.high = static_cast<double>(range + 1) / kRanges;
  // What the curve itself is unsure of bounds its weight too.
  double weight = options_.curve_weight;
  if (reasons.curve.variance > 0) {
    weight = std::clamp(p * (1 - p) / reasons.curve.variance - 1, 1e-3, weight);
  }
  reasons.alpha = weight * p + reasons.found;
  reasons.beta = weight * (1 - p) + reasons.looks - reasons.found;
  return reasons;
}

Chance Beliefs::At(Duration age, Duration seen) const {
  if (age <= seen) return {1, 0};
  const Reasons reasons = Explain(age, seen);
  const double size = reasons.alpha + reasons.beta;
  const double mean = reasons.alpha / size;
  return {mean, mean * (1 - mean) / (size + 1)};
}

double Beliefs::Mean(Duration age, Duration seen) const {
  const double p = curve_.Mean(age, seen);
  const Looks& looks = looks_[RangeOf(p)];
  return (options_.curve_weight * p + looks.found) / (options_.curve_weight + looks.looks);
}

void Beliefs::Looked(Duration age, Duration seen, bool found) {
  Looks& looks = looks_[RangeOf(curve_.Mean(age, seen))];
  const double keep = 1 - 1 / options_.memory;
  looks.looks = looks.looks * keep + 1;
  looks.found = looks.found * keep + (found ? 1 : 0);
}

}  // namespace holdfast::snapshot
