// SPDX-License-Identifier: Apache-2.0
// The chance that an object that somebody asks for is still where it was seen.
//
// The survival curve (survival.h) is made of all objects. Those that are asked for live longer than
// those that are merely there: they were read, and what is read stays. So the curve is a prior of
// bounded weight w, and looks are the likelihood: where the curve says P, of n looks k found the
// object,
//
//   Beta(w P + k, w (1 - P) + n - k).
//
// The looks of a range of P are counted together. Counts decay, so that the belief follows the
// cluster. Pure, and for one thread.
#pragma once

#include <array>
#include <cstdint>

#include "base/units.h"
#include "snapshot/survival.h"

namespace holdfast::snapshot {

struct BeliefOptions {
  SurvivalOptions survival{};
  double curve_weight = 20;  // w, in looks
  double memory = 500;       // looks of a range: older ones fade
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
    double looks = 0;  // n of its range, decayed
    double found = 0;  // k
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
    double found = 0;
  };
  static constexpr uint32_t kRanges = 20;
  static uint32_t RangeOf(double chance);

  BeliefOptions options_;
  SurvivalCurve curve_;
  std::array<Looks, kRanges> looks_{};
};

}  // namespace holdfast::snapshot
