// SPDX-License-Identifier: Apache-2.0
// The chance that an object that somebody asks for is still where it was seen.
//
// The survival curve (survival.h) is made of all objects. Those that are asked for live longer than
// those that are merely there: they were read, and what is read stays; and what is gone may have
// been loaded again. By how much depends on the curve's chance P, and on how many objects are still
// there at the age at which this one was seen, S: who has lived long is of the kind that is read. So
// looks learn a correction of the curve's log-odds, by a surface over both:
//
//   logit p = u + f(u, S), u = logit P,
//
// f being bilinear between knots whose heights are Gaussian: at first 0, give or take kCommon for
// all together and kApart for each, neighbours alike, and more where the curve has next to nothing
// (there, being loaded again is all). A look updates mean and covariance of all heights as a Kalman
// filter does, with the logistic function linearised at its prediction (West, Harrison and Migon,
// Dynamic Generalized Linear Models and Bayesian Forecasting, 1985): so few looks are soon enough,
// and what one range of P learned helps its neighbours. Heights return to 0 with time, counted in
// looks, so that the belief follows the cluster. What the curve is unsure of is added to the
// variance: looks correct it on average over a range, not at each age. Pure, and for one thread.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "base/units.h"
#include "snapshot/survival.h"

namespace holdfast::snapshot {

struct BeliefOptions {
  SurvivalOptions survival{};
  double memory = 60'000;  // looks: older ones fade
};

class Beliefs {
 public:
  explicit Beliefs(const BeliefOptions& options);

  // A newer log: the curve is made again.
  void Learn(const SurvivalEvidence& evidence);

  // P(there at `age` | seen there at `seen`), for one that is asked for; 1 when age <= seen. A
  // chance of its own uncertainty: some microseconds.
  Chance At(Duration age, Duration seen) const;
  // Its mean, from a table that is made again after looks: some ten nanoseconds, within a fifth of a
  // percentage point.
  double Mean(Duration age, Duration seen) const;

  // The outcome of a look.
  void Looked(Duration age, Duration seen, bool found);

  // How At came to be, for people.
  struct Reasons {
    Chance curve{};    // what the curve alone says
    double looks = 0;  // so many at this very chance would tell as much as all did
    double found = 0;  // and so many of them would find it
    double low = 0;    // the range of P whose looks tell the most: between two knots
    double high = 0;
    double alpha = 0;  // of the posterior
    double beta = 0;
  };
  Reasons Explain(Duration age, Duration seen) const;
  const SurvivalCurve& curve() const { return curve_; }

 private:
  static constexpr size_t kChances = 9;  // knots of u
  static constexpr size_t kShares = 3;   // and of S
  static constexpr size_t kKnots = kChances * kShares;

  // Where an age lies among the knots, in steps of them.
  struct Point {
    double right = 0;  // u, from the first
    double up = 0;     // S
  };
  Point PointOf(Duration age, Duration seen) const;
  // The corrected log-odds there: mean, and variance.
  struct Gaussian {
    double mean = 0;
    double variance = 0;
  };
  Gaussian LogOddsAt(const Point& point) const;
  void Tabulate() const;

  BeliefOptions options_;
  SurvivalCurve curve_;
  std::vector<float> shares_;  // S by cells of age
  using Matrix = std::array<std::array<double, kKnots>, kKnots>;
  std::array<double, kKnots> heights_{};
  Matrix prior_{};  // covariances, before any look
  Matrix covariances_{};

  // Log-odds of the mean chance, at knots and halfway between them.
  static constexpr size_t kRows = 2 * kChances - 1;
  static constexpr size_t kColumns = 2 * kShares - 1;
  mutable std::array<float, kRows * kColumns> means_{};
  mutable bool tabulated_ = false;  // since the last look
};

}  // namespace holdfast::snapshot
