// SPDX-License-Identifier: Apache-2.0
// What looks found, as a correction of the log-odds of a chance, smooth over that chance and over one
// more number v in [0, 1] that tells situations of the same chance apart:
//
//   logit p = u + f(u, v), u = logit P,
//
// f being bilinear between knots whose heights are Gaussian: at first 0, give or take kCommon for
// all together and kApart for each, neighbours alike, and more where P is next to nothing (there,
// being loaded again is all). A look updates mean and covariance of all heights as a Kalman filter
// does, with the logistic function linearised at its prediction (West, Harrison and Migon, Dynamic
// Generalized Linear Models and Bayesian Forecasting, 1985): so few looks are soon enough, and what
// one range of P learned helps its neighbours. Heights return to 0 with time, counted in looks, so
// that the belief follows the cluster. Pure, and for one thread.
#pragma once

#include <array>
#include <cstddef>

namespace holdfast::snapshot {

class LogOddsSurface {
 public:
  // `memory` in looks, > 1: older ones fade.
  explicit LogOddsSurface(double memory);

  // Where a situation lies among the knots, in steps of them.
  struct Point {
    double right = 0;  // u, from the first
    double up = 0;     // v
  };
  static Point PointOf(double log_chance, double v);
  // The range of chances between whose knots it lies: (0, 1) at the ends.
  struct Range {
    double low = 0;
    double high = 1;
  };
  static Range RangeOf(const Point& point);

  // The corrected log-odds there: mean, and variance.
  struct Gaussian {
    double mean = 0;
    double variance = 0;
  };
  Gaussian At(const Point& point) const;
  // The chance itself, on average.
  static double MeanOf(const Gaussian& log_odds);
  // The same, from a table that is made again after looks: within a fifth of a percentage point.
  double Mean(const Point& point) const;

  void Looked(const Point& point, bool found);

 private:
  static constexpr size_t kChances = 9;  // knots of u
  static constexpr size_t kColumns = 3;  // and of v
  static constexpr size_t kKnots = kChances * kColumns;
  using Matrix = std::array<std::array<double, kKnots>, kKnots>;

  void Tabulate() const;

  double memory_;
  std::array<double, kKnots> heights_{};
  Matrix prior_{};  // covariances, before any look
  Matrix covariances_{};

  // Log-odds of the mean chance, at knots and halfway between them.
  static constexpr size_t kTableRows = 2 * kChances - 1;
  static constexpr size_t kTableColumns = 2 * kColumns - 1;
  mutable std::array<float, kTableRows * kTableColumns> means_{};
  mutable bool tabulated_ = false;  // since the last look
};

}  // namespace holdfast::snapshot
