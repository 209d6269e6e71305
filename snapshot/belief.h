// SPDX-License-Identifier: Apache-2.0
// The chance that an object that somebody asks for is still where it was seen.
//
// The survival curve of the ring that it was seen in (rings.h) is made of all objects there. Those
// that are asked for live longer than those that are merely there: they were read, and what is read
// stays; and what is gone may have been loaded again. By how much depends on the curve's chance, and
// on how many objects of that ring are still in it at the age at which this one was seen: who has
// lived long is of the kind that is read. So looks learn a correction for each ring, a surface over
// both (surface.h). What the curve is unsure of is added to the variance: looks correct it on average
// over a range, not at each age. Pure, and for one thread.
#pragma once

#include <array>
#include <vector>

#include "base/units.h"
#include "snapshot/rings.h"
#include "snapshot/surface.h"

namespace holdfast::snapshot {

struct BeliefOptions {
  SurvivalOptions survival{};
  double memory = 60'000;  // looks: older ones fade
};

// What is known of an object that was seen: its age now, if it is there, and when it was seen; and
// where. age >= seen >= 0.
struct Situation {
  Duration age{};
  Duration seen{};
  Ring ring = Ring::kFresh;
};

class Beliefs {
 public:
  explicit Beliefs(const BeliefOptions& options);

  // A newer log: the curves are made again.
  void Learn(const RingEvidence& evidence);

  // P(there at `age` | seen there at `seen`), for one that is asked for; 1 when age <= seen. A
  // chance of its own uncertainty: some microseconds.
  Chance At(const Situation& object) const;
  // Its mean, from a table that is made again after looks: some ten nanoseconds, within a fifth of a
  // percentage point.
  double Mean(const Situation& object) const;

  // The outcome of a look.
  void Looked(const Situation& object, bool found);

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
  Reasons Explain(const Situation& object) const;
  const SurvivalCurve& curve(Ring ring) const { return Of(ring).curve; }

 private:
  struct Kind {
    SurvivalCurve curve;
    LogOddsSurface surface;
    std::vector<float> shares{};  // there still, by cells of age
  };
  const Kind& Of(Ring ring) const { return kinds_[static_cast<size_t>(ring)]; }
  LogOddsSurface::Point PointOf(const Situation& object) const;

  BeliefOptions options_;
  std::array<Kind, kRings> kinds_;
};

}  // namespace holdfast::snapshot
