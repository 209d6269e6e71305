// SPDX-License-Identifier: Apache-2.0
// To look, or to go far? Look if and only if
//
//   p (far - hit) > look,
//
// p being the chance that the object is there, far the cost of reading it far away by way of its
// home, hit what a find costs on top of a look, and look what asking costs, found or not. Looking
// and going far at once (a race) is better still where what a failed look delays is more than what
// a needless far read costs:
//
//   (1 - p) look > p (far money),   and p (far - hit) > look or nearly so.
//
// Every cost is latency and money together: waiting has a price. Each is measured, decays, and
// starts from a prior, so that the rule never stops for good; and of what it gives up a small
// bounded share is looked for all the same, chosen by Thompson's rule (On the likelihood that one
// unknown probability exceeds another, Biometrika 1933): with the chance that p is in truth above
// the threshold.
//
// Costs are integers, nanodollars. Pure, and for one thread.
#pragma once

#include <cstdint>

#include "base/random.h"
#include "base/units.h"
#include "snapshot/belief.h"
#include "snapshot/known.h"

namespace holdfast::snapshot {

using NanoUsd = int64_t;

struct CostOptions {
  // The price of waiting. 1 USD an hour is 278 nanodollars a millisecond.
  MicroUsd micro_usd_per_hour = 1'000'000;
  // Priors, until measured, and their weight in measurements.
  Duration look = 300us;
  Duration hit = 100us;
  Duration far = 50ms;
  NanoUsd far_money = 400;  // of one request
  double prior_weight = 4;
  double memory = 1'000;  // measurements: older ones fade
};

// What things cost here, as it was measured.
class Costs {
 public:
  explicit Costs(const CostOptions& options);

  void Looked(Duration took);  // a look that found nothing
  void Found(Duration took);   // a look that came with the object
  void WentFar(Duration took, NanoUsd money);

  NanoUsd look() const;  // what asking costs
  NanoUsd hit() const;   // what a find costs on top of it; >= 0
  NanoUsd far() const;   // with its money
  NanoUsd far_money() const;
  // Overhead of all looks by the finds, as the seed of the idea has it: for people.
  NanoUsd overhead_per_find() const;
  // The least p for which a look pays: look / (far - hit), in [0, 1]; 1 when going far costs no
  // more than a hit.
  double Threshold() const;
};

enum class Way : uint8_t {
  kUnknown = 0,  // the log does not know it: by way of its home
  kFar = 1,      // it is too unlikely to be there: by way of its home
  kLook = 2,
  kRace = 3,     // both at once
  kExplore = 4,  // a look, although it does not pay by what is known
};

struct Decision {
  Way way = Way::kUnknown;
  NodeId node = kNoNode;  // where to look
  double chance = 0;      // p, there
  double threshold = 0;
  Duration age{};   // of the object there, now
  Duration seen{};  // when it was seen last
};

struct DecisionOptions {
  double explore = 0.01;  // the largest share of what was given up that is looked for
};

class Decider {
 public:
  // All outlive it.
  Decider(const Known* known, const Beliefs* beliefs, const Costs* costs, Random* random,
          const DecisionOptions& options);

  // For one object. `now` is by the clock of the log.
  Decision Decide(Print print, Stamp now);
  // For many, with prefetch: some 200 ns each at most.
  void DecideMany(std::span<const Print> prints, Stamp now, std::span<Decision> into);

 private:
  const Known* known_;
  const Beliefs* beliefs_;
  const Costs* costs_;
  Random* random_;
  DecisionOptions options_;
};

}  // namespace holdfast::snapshot
