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

// As floats, which are as good here and faster: nobody knows chances to seven digits.
float Logistic(double x) { return 1 / (1 + std::exp(static_cast<float>(-x))); }

// Infinite for a chance of 1.
float LogOddsOf(double log_chance) {
  const auto log_p = static_cast<float>(log_chance);
  return log_p - std::log(1 - std::exp(log_p));
}

double KnotAt(size_t i) { return kLeastLogOdds + kStep * static_cast<double>(i); }

// The log-odds of the mean of a logistic function of a Gaussian (MacKay, The Evidence Framework
// Applied to Classification Networks, 1992).
double LogOddsOfMean(double mean, double variance) {
  constexpr double kPiBy8 = 0.392699081698724;
  return mean / std::sqrt(1 + kPiBy8 * variance);
}

// The four neighbours of a point on a grid, and what each counts for.
struct Corners {
  std::array<size_t, 4> at{};
  std::array<double, 4> weights{};
};

inline Corners CornersOf(double right, double up, size_t rows, size_t columns) {
  const size_t row = std::min(static_cast<size_t>(right), rows - 2);
  const size_t column = std::min(static_cast<size_t>(up), columns - 2);
  right -= static_cast<double>(row);
  up -= static_cast<double>(column);
  const size_t at = row * columns + column;
  return {{at, at + 1, at + columns, at + columns + 1},
          {(1 - right) * (1 - up), (1 - right) * up, right * (1 - up), right * up}};
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

Beliefs::Point Beliefs::PointOf(Duration age, Duration seen) const {
  const double from = AgeCells::PositionOf(seen), to = AgeCells::PositionOf(age);
  const double log_odds = LogOddsOf(curve_.LogMean(from, to));
  return {std::clamp((log_odds - kLeastLogOdds) * (1 / kStep), 0.0, kChances - 1.0),
          std::clamp(shares_[static_cast<uint32_t>(from)] * (kShares - 1.0), 0.0, kShares - 1.0)};
}

Beliefs::Gaussian Beliefs::LogOddsAt(const Point& point) const {
  const Corners knots = CornersOf(point.right, point.up, kChances, kShares);
  Gaussian sum{.mean = kLeastLogOdds + kStep * point.right};
  for (size_t k = 0; k < 4; ++k) {
    const auto& row = covariances_[knots.at[k]];
    double part = 0;
    for (size_t l = 0; l < 4; ++l) part += knots.weights[l] * row[knots.at[l]];
    sum.mean += knots.weights[k] * heights_[knots.at[k]];
    sum.variance += knots.weights[k] * part;
  }
  sum.variance = std::max(sum.variance, 0.0);
  return sum;
}

void Beliefs::Tabulate() const {
  for (size_t i = 0; i < means_.size(); ++i) {
    const auto row = static_cast<double>(i / kColumns), column = static_cast<double>(i % kColumns);
    const Gaussian log_odds = LogOddsAt({row / 2, column / 2});
    means_[i] = static_cast<float>(LogOddsOfMean(log_odds.mean, log_odds.variance));
  }
  tabulated_ = true;
}

double Beliefs::Mean(Duration age, Duration seen) const {
  if (age <= seen) return 1;
  if (!tabulated_) Tabulate();
  const Point point = PointOf(age, seen);
  const Corners corners = CornersOf(2 * point.right, 2 * point.up, kRows, kColumns);
  double sum = 0;
  for (size_t k = 0; k < 4; ++k) {
    sum += corners.weights[k] * static_cast<double>(means_[corners.at[k]]);
  }
  return Logistic(sum);
}

Chance Beliefs::At(Duration age, Duration seen) const {
  // The filter allows as much for what may have changed since the looks as for their being few, so
  // that it follows. While nothing changes it is off by half of that, and by what the surface is too
  // plain to show.
  constexpr double kStationary = 0.6;
  if (age <= seen) return {1, 0};
  const Chance curve = curve_.At(age, seen);
  const Gaussian log_odds = LogOddsAt(PointOf(age, seen));
  const double variance = log_odds.variance;
  const double mean = Logistic(LogOddsOfMean(log_odds.mean, variance));
  const double spread = mean * (1 - mean);
  // Of p, for one of its log-odds; bounded, as that of p is.
  const double of_looks = kStationary * spread * spread * variance / (1 + spread * variance);
  return {mean, std::min(of_looks + curve.variance, spread)};
}

Beliefs::Reasons Beliefs::Explain(Duration age, Duration seen) const {
  Reasons reasons{.curve = curve_.At(age, seen)};
  const size_t knot = std::min(static_cast<size_t>(PointOf(age, seen).right), kChances - 2);
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
  tabulated_ = false;
  const Point point = PointOf(age, seen);
  const Gaussian log_odds = LogOddsAt(point);
  const double variance = log_odds.variance;
  const double predicted = Logistic(LogOddsOfMean(log_odds.mean, variance));
  const double information = std::max(predicted * (1 - predicted), kLeastInformation);
  const double damped = 1 / (1 + information * variance);
  const double surprise = damped * ((found ? 1 : 0) - predicted);
  std::array<double, kKnots> with{};  // covariances of the heights with the log-odds here
  const Corners knots = CornersOf(point.right, point.up, kChances, kShares);
  for (size_t k = 0; k < 4; ++k) {
    const auto& row = covariances_[knots.at[k]];
    for (size_t i = 0; i < kKnots; ++i) with[i] += knots.weights[k] * row[i];
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
