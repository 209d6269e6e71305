// SPDX-License-Identifier: Apache-2.0
#include "snapshot/surface.h"

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
// How far apart, in log-odds and in v, heights are alike by no more than exp(-1).
constexpr double kAlikeLogOdds = 3;
constexpr double kAlikeV = 1;
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
double LogOddsOfMean(const LogOddsSurface::Gaussian& g) {
  constexpr double kPiBy8 = 0.392699081698724;
  return g.mean / std::sqrt(1 + kPiBy8 * g.variance);
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

}  // namespace

LogOddsSurface::LogOddsSurface(double memory) : memory_(memory) {
  HF_CHECK(memory > 1);
  for (size_t i = 0; i < kKnots; ++i) {
    for (size_t j = 0; j < kKnots; ++j) {
      const double u = KnotAt(i / kColumns), v = KnotAt(j / kColumns);
      const double apart =
          std::abs(static_cast<double>(i % kColumns) - static_cast<double>(j % kColumns)) /
          (kColumns - 1);
      const double below_0 =
          kPerLogOddsBelow0 * kPerLogOddsBelow0 * std::min(u, 0.0) * std::min(v, 0.0);
      prior_[i][j] = below_0 + kCommon * kCommon +
                     kApart * kApart * std::exp(-std::abs(u - v) / kAlikeLogOdds - apart / kAlikeV);
    }
  }
  covariances_ = prior_;
}

LogOddsSurface::Point LogOddsSurface::PointOf(double log_chance, double v) {
  const double log_odds = LogOddsOf(log_chance);
  return {std::clamp((log_odds - kLeastLogOdds) * (1 / kStep), 0.0, kChances - 1.0),
          std::clamp(v * (kColumns - 1.0), 0.0, kColumns - 1.0)};
}

LogOddsSurface::Range LogOddsSurface::RangeOf(const Point& point) {
  const size_t knot = std::min(static_cast<size_t>(point.right), kChances - 2);
  return {.low = knot == 0 ? 0 : Logistic(KnotAt(knot)),
          .high = knot + 2 == kChances ? 1 : Logistic(KnotAt(knot + 1))};
}

LogOddsSurface::Gaussian LogOddsSurface::At(const Point& point) const {
  const Corners knots = CornersOf(point.right, point.up, kChances, kColumns);
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

double LogOddsSurface::MeanOf(const Gaussian& log_odds) {
  return Logistic(LogOddsOfMean(log_odds));
}

void LogOddsSurface::Tabulate() const {
  for (size_t i = 0; i < means_.size(); ++i) {
    const auto row = static_cast<double>(i / kTableColumns);
    const auto column = static_cast<double>(i % kTableColumns);
    means_[i] = static_cast<float>(LogOddsOfMean(At({row / 2, column / 2})));
  }
  tabulated_ = true;
}

double LogOddsSurface::Mean(const Point& point) const {
  if (!tabulated_) Tabulate();
  const Corners corners = CornersOf(2 * point.right, 2 * point.up, kTableRows, kTableColumns);
  double sum = 0;
  for (size_t k = 0; k < 4; ++k) {
    sum += corners.weights[k] * static_cast<double>(means_[corners.at[k]]);
  }
  return Logistic(sum);
}

void LogOddsSurface::Looked(const Point& point, bool found) {
  tabulated_ = false;
  const Gaussian log_odds = At(point);
  const double predicted = MeanOf(log_odds);
  const double information = std::max(predicted * (1 - predicted), kLeastInformation);
  const double damped = 1 / (1 + information * log_odds.variance);
  const double surprise = damped * ((found ? 1 : 0) - predicted);
  std::array<double, kKnots> with{};  // covariances of the heights with the log-odds here
  const Corners knots = CornersOf(point.right, point.up, kChances, kColumns);
  for (size_t k = 0; k < 4; ++k) {
    const auto& row = covariances_[knots.at[k]];
    for (size_t i = 0; i < kKnots; ++i) with[i] += knots.weights[k] * row[i];
  }
  const double keep = std::exp(-1 / memory_);
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
