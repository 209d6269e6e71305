// SPDX-License-Identifier: Apache-2.0
#include "snapshot/belief.h"

#include <algorithm>
#include <cmath>

namespace holdfast::snapshot {
namespace {

double TrialsOf(const Chance& chance) {
  return chance.variance > 0 ? std::max(chance.mean * (1 - chance.mean) / chance.variance - 1, 0.0)
                             : 0;
}

// Of a surface's log-odds and of the curve, together.
Chance Together(const LogOddsSurface::Gaussian& log_odds, const Chance& curve) {
  // The filter allows as much for what may have changed since the looks as for their being few, so
  // that it follows. While nothing changes it is off by half of that.
  constexpr double kStationary = 0.45;
  // What the surface is too plain to show: a part of the log-odds, which are steep where something
  // happens rarely. (Measured: bench estimator.)
  constexpr double kPlain = 0.06;
  const double mean = LogOddsSurface::MeanOf(log_odds);
  const double spread = mean * (1 - mean);
  // Of p, for one of its log-odds; bounded, as that of p is.
  const double variance = log_odds.variance;
  const double of_looks = kStationary * spread * spread * variance / (1 + spread * variance);
  const double plain = kPlain * spread * log_odds.mean;
  return {mean, std::min(of_looks + plain * plain + curve.variance, spread)};
}

}  // namespace

Beliefs::Beliefs(const BeliefOptions& options)
    : options_(options),
      kinds_{Kind{SurvivalCurve({}, options.survival), LogOddsSurface(options.memory)},
             Kind{SurvivalCurve({}, options.survival), LogOddsSurface(options.memory)}} {
  Learn({});
}

void Beliefs::Learn(const RingEvidence& evidence) {
  for (size_t ring = 0; ring < kRings; ++ring) {
    Kind& kind = kinds_[ring];
    kind.curve = SurvivalCurve(evidence[static_cast<Ring>(ring)], options_.survival);
    kind.shares.resize(AgeCells::kCells);
    for (uint32_t cell = 0; cell < AgeCells::kCells; ++cell) {
      kind.shares[cell] = static_cast<float>(kind.curve.Mean(AgeCells::StartOf(cell), Duration(0)));
    }
  }
}

LogOddsSurface::Point Beliefs::PointOf(const Situation& object) const {
  const Kind& kind = Of(object.ring);
  const double from = AgeCells::PositionOf(object.seen), to = AgeCells::PositionOf(object.age);
  return LogOddsSurface::PointOf(kind.curve.LogMean(from, to),
                                 kind.shares[static_cast<uint32_t>(from)]);
}

double Beliefs::Mean(const Situation& object) const {
  if (object.age <= object.seen) return 1;
  return Of(object.ring).surface.Mean(PointOf(object));
}

Chance Beliefs::At(const Situation& object) const {
  if (object.age <= object.seen) return {1, 0};
  const Kind& kind = Of(object.ring);
  return Together(kind.surface.At(PointOf(object)), kind.curve.At(object.age, object.seen));
}

void Beliefs::Looked(const Situation& object, bool found) {
  if (object.age <= object.seen) return;
  kinds_[static_cast<size_t>(object.ring)].surface.Looked(PointOf(object), found);
}

Beliefs::Reasons Beliefs::Explain(const Situation& object) const {
  const Kind& kind = Of(object.ring);
  const LogOddsSurface::Point point = PointOf(object);
  const LogOddsSurface::Range range = LogOddsSurface::RangeOf(point);
  const Chance chance = At(object);
  const double trials = TrialsOf(chance);
  Reasons reasons{.curve = kind.curve.At(object.age, object.seen),
                  .low = range.low,
                  .high = range.high,
                  .alpha = trials * chance.mean,
                  .beta = trials * (1 - chance.mean)};
  // What the curve is worth without looks, unsure as it is of those that are asked for.
  const Chance before = object.age <= object.seen
                            ? chance
                            : Together(LogOddsSurface(options_.memory).At(point), reasons.curve);
  const double trials_before = TrialsOf(before);
  reasons.looks = std::max(trials - trials_before, 0.0);
  reasons.found = std::clamp(reasons.alpha - trials_before * before.mean, 0.0, reasons.looks);
  return reasons;
}

}  // namespace holdfast::snapshot
