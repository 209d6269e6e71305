// SPDX-License-Identifier: Apache-2.0
// The chance that an object that somebody asks for is still where it was seen.
//
// The survival curve (survival.h) is made of all objects. Those that are asked for live longer than
// those that are merely there: they were read, and what is read stays. So the curve is a prior of
// bounded weight w, and looks are the likelihood. Looks of a range of P, the curve's chance, are
// counted together: of n, n - k did not find the object where the curve expected sum (1 - P) not to.
// Their quotient c says how many times as often as the curve has it an object is gone, so that at
// this P the n looks would have found k' = n (1 - c (1 - P)). The quotient of all looks makes the
// prior, P' = 1 - c' (1 - P), for ranges with few of them:
//
//   Beta(w P' + k', w (1 - P') + n - k').
//
// (c, not k / n itself: a range is as wide as ten points, and its upper end must not be pulled to
// its middle. And c of what is gone, not of what is there: where the store keeps a share of what is
// asked for instead of dropping it, c is that share's complement at all ages, P near 0 included.)
// What the curve is unsure of is added to the variance: looks correct it on average over a range,
// not at each age. Counts decay, so that the belief follows the cluster; n is the number of
// undecayed looks that would tell as much. Pure, and for one thread.
#pragma once

#include <array>
#include <cstdint>

#include "base/units.h"
#include "snapshot/survival.h"

namespace holdfast::snapshot {

struct BeliefOptions {
  SurvivalOptions survival{};
  double curve_weight = 20;  // w, in looks
  double memory = 300;       // looks of a range: older ones fade
};

class Beliefs {
 public:
  explicit Beliefs(const BeliefOptions& options);

  // A newer log: the curve is made again.
  void Learn(const SurvivalEvidence& evidence);

  // P(there at `age` | seen there at `seen`), for one that is asked for; 1 when age <= seen. A
  // chance of its own uncertainty: some microseconds.
  Chance At(Duration age, Duration seen) const;
  // Its mean, from tables: some nanoseconds, within half a percentage point.
  double Mean(Duration age, Duration seen) const;

  // The outcome of a look.
  void Looked(Duration age, Duration seen, bool found);

  // How At came to be, for people.
  struct Reasons {
    Chance curve{};    // what the curve alone says
    double prior = 0;  // P'
    double looks = 0;  // n of its range
    double found = 0;  // k'
    double low = 0;    // the range of P that is counted together
    double high = 0;
    double alpha = 0;  // of the posterior
    double beta = 0;
  };
  Reasons Explain(Duration age, Duration seen) const;
  const SurvivalCurve& curve() const { return curve_; }

 private:
  struct Looks {
    double looks = 0;
    double squares = 0;   // of their weights
    double lost = 0;      // found nothing
    double expected = 0;  // to find nothing, by the curve
    double size() const { return squares > 0 ? looks * looks / squares : 0; }  // n
    double Quotient(double weight) const;  // c, being 1 with this weight until now
  };
  // Bounds of the ranges: ten points, so that few looks are soon enough; and apart what is not there
  // at all, and what is there for sure: unless, say, its node began anew with an empty memory.
  static constexpr std::array<double, 13> kBounds = {0,    0.02, 0.10, 0.20, 0.30,  0.40, 0.50,
                                                     0.60, 0.70, 0.80, 0.90, 0.998, 1};
  static size_t RangeOf(double chance);
  static double GoneOf(double chance);
  struct Counts {
    double prior = 0;   // P'
    double weight = 0;  // w, or less where the curve is less sure
    double looks = 0;   // n
    double found = 0;   // k'
    double mean() const { return (weight * prior + found) / (weight + looks); }
  };
  Counts CountsAt(const Chance& curve) const;

  BeliefOptions options_;
  SurvivalCurve curve_;
  std::array<Looks, kBounds.size() - 1> looks_{};
  Looks all_{};  // lost and expected of all ranges
};

}  // namespace holdfast::snapshot
