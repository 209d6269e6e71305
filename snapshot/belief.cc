// SPDX-License-Identifier: Apache-2.0
#include "snapshot/belief.h"

#include <algorithm>
#include <cmath>

#include "base/status.h"

namespace holdfast::snapshot {
namespace {

// Knots of u lie evenly from here on; beyond them, chances are taken as those of the last one.
constexpr double kLeastLogOdds = -5.5;
constexpr double kStep = 1.5;
// Standard deviations of heights, in log-odds.
constexpr double kCommon = 0.3;
constexpr double kApart = 0.4;
constexpr double kPerLogOddsBelow0 = 0.3;
// How far apart, in log-odds and in S, heights are alike by no more than exp(-1).
constexpr double kAlikeLogOdds = 3;
constexpr double kAlikeShare = 1;
// Even where the outcome is sure, looks tell something.
constexpr double kLeastInformation = 1e-4;

double Logistic(double x) { return 1 / (1 + std::exp(-x)); }

double KnotAt(size_t i) { return kLeastLogOdds + kStep * static_cast<double>(i); }

// The mean of a logistic function of a Gaussian (MacKay, The Evidence Framework Applied to
// Classification Networks, 1992).
double MeanLogistic(double mean, double variance) {
  constexpr double kPiBy8 = 0.392699081698724;
  return Logistic(mean / std::sqrt(1 + kPiBy8 * variance));
}

double TrialsOf(double mean, double variance) {
  return variance > 0 ? std::max(mean * (1 - mean) / variance - 1, 0.0) : 0;
}

}  // namespace

Beliefs::Beliefs(const BeliefOptions& options)
    : options_(options), curve_(SurvivalEvidence(), options.survival) {
  HF_CHECK(options.memory > 1);
  Learn({});
  for (size_t i = 0; i < kKnots; ++i) {
    for (size_t j = 0; j < kKnots; ++j) {
      const double u = KnotAt(i / kShares), v = KnotAt(j / kShares);
      const double shares =
          std::abs(static_cast<double>(i % kShares) - static_cast<double>(j % kShares)) /
          (kShares - 1);
      const double below_0 =
          kPerLogOddsBelow0 * kPerLogOddsBelow0 * std::min(u, 0.0) * std::min(v, 0.0);
      prior_[i][j] =
          below_0 + kCommon * kCommon +
          kApart * kApart * std::exp(-std::abs(u - v) / kAlikeLogOdds - shares / kAlikeShare);
    }
  }
  covariances_ = prior_;
}

void Beliefs::Learn(const SurvivalEvidence& evidence) {
  curve_ = SurvivalCurve(evidence, options_.survival);
  shares_.resize(AgeCells::kCells);
  for (uint32_t cell = 0; cell < AgeCells::kCells; ++cell) {
    shares_[cell] = static_cast<float>(curve_.Mean(AgeCells::StartOf(cell), Duration(0)));
  }
}

Beliefs::Place Beliefs::PlaceOf(double chance, Duration seen) const {
  constexpr double kFirst = kLeastLogOdds, kLast = kLeastLogOdds + kStep * (kChances - 1);
  const double share = shares_[AgeCells::CellOf(seen)];
  Place place{.log_odds = std::clamp(std::log(chance) - std::log1p(-chance), kFirst, kLast)};
  double right = (place.log_odds - kFirst) / kStep;
  double up = std::clamp(share, 0.0, 1.0) * (kShares - 1);
  const size_t i = std::min(static_cast<size_t>(right), kChances - 2);
  const size_t j = std::min(static_cast<size_t>(up), kShares - 2);
  right -= static_cast<double>(i);
  up -= static_cast<double>(j);
  const size_t knot = i * kShares + j;
  place.knots = {knot, knot + 1, knot + kShares, knot + kShares + 1};
  place.weights = {(1 - right) * (1 - up), (1 - right) * up, right * (1 - up), right * up};
  return place;
}

double Beliefs::LogOdds(const Place& place) const {
  double sum = place.log_odds;
  for (size_t k = 0; k < 4; ++k) sum += place.weights[k] * heights_[place.knots[k]];
  return sum;
}

double Beliefs::Variance(const Place& place) const {
  double sum = 0;
  for (size_t k = 0; k < 4; ++k) {
    const auto& row = covariances_[place.knots[k]];
    double part = 0;
    for (size_t l = 0; l < 4; ++l) part += place.weights[l] * row[place.knots[l]];
    sum += place.weights[k] * part;
  }
  return std::max(sum, 0.0);
}

double Beliefs::MeanAt(const Place& place) const {
  return MeanLogistic(LogOdds(place), Variance(place));
}

Chance Beliefs::At(Duration age, Duration seen) const {
  // The filter allows as much for what may have changed since the looks as for their being few, so
  // that it follows. While nothing changes it is off by half of that, and by what the surface is too
  // plain to show.
  constexpr double kStationary = 0.6;
  if (age <= seen) return {1, 0};
  const Chance curve = curve_.At(age, seen);
  const Place place = PlaceOf(curve.mean, seen);
  const double mean = MeanAt(place), variance = Variance(place);
  const double spread = mean * (1 - mean);
  // Of p, for one of its log-odds; bounded, as that of p is.
  const double of_looks = kStationary * spread * spread * variance / (1 + spread * variance);
  return {mean, std::min(of_looks + curve.variance, spread)};
}

double Beliefs::Mean(Duration age, Duration seen) const {
  return age <= seen ? 1 : MeanAt(PlaceOf(curve_.Mean(age, seen), seen));
}

Beliefs::Reasons Beliefs::Explain(Duration age, Duration seen) const {
  Reasons reasons{.curve = curve_.At(age, seen)};
  const Place place = PlaceOf(reasons.curve.mean, seen);
  const size_t knot = place.knots[0] / kShares;
  reasons.low = knot == 0 ? 0 : Logistic(KnotAt(knot));
  reasons.high = knot + 2 == kChances ? 1 : Logistic(KnotAt(knot + 1));
  const Chance chance = At(age, seen);
  const double trials = TrialsOf(chance.mean, chance.variance);
  reasons.alpha = trials * chance.mean;
  reasons.beta = trials * (1 - chance.mean);
  // What the curve is worth without looks, unsure as it is of those that are asked for.
  Beliefs without = *this;
  without.heights_ = {};
  without.covariances_ = prior_;
  const Chance before = without.At(age, seen);
  const double trials_before = TrialsOf(before.mean, before.variance);
  reasons.looks = std::max(trials - trials_before, 0.0);
  reasons.found = std::clamp(reasons.alpha - trials_before * before.mean, 0.0, reasons.looks);
  return reasons;
}

void Beliefs::Looked(Duration age, Duration seen, bool found) {
  if (age <= seen) return;
  const Place place = PlaceOf(curve_.Mean(age, seen), seen);
  const double variance = Variance(place);
  const double predicted = MeanLogistic(LogOdds(place), variance);
  const double information = std::max(predicted * (1 - predicted), kLeastInformation);
  const double damped = 1 / (1 + information * variance);
  const double surprise = damped * ((found ? 1 : 0) - predicted);
  std::array<double, kKnots> with{};  // covariances of the heights with the log-odds here
  for (size_t k = 0; k < 4; ++k) {
    const auto& row = covariances_[place.knots[k]];
    for (size_t i = 0; i < kKnots; ++i) with[i] += place.weights[k] * row[i];
  }
  const double keep = std::exp(-1 / options_.memory);
  for (size_t i = 0; i < kKnots; ++i) {
    heights_[i] = keep * (heights_[i] + surprise * with[i]);
    const double told = damped * information * with[i];
    for (size_t j = 0; j < kKnots; ++j) {
      covariances_[i][j] =
          keep * keep * (covariances_[i][j] - told * with[j]) + (1 - keep * keep) * prior_[i][j];
    }
  }
}

}  // namespace holdfast::snapshot
