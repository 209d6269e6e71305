// SPDX-License-Identifier: Apache-2.0
// To look, or to go far? Let p be the chance that the object is
// there, look the cost of asking and not finding it, hit what a find costs on top of that, and far
// the cost of reading it by way of its home. A failed look delays the far read, and the cost of a
// find takes the place of the far one:
//
//   look first:  look + p hit + (1 - p) far
//   far at once: far
//
// so a look pays if and only if p (far - hit) > look. This is linear in p: of an uncertain p the
// mean decides, however uncertain it is: the integral over the belief, which has a closed form and is
// taken for every decision, close or not. (Divide by p, taken over all reads, and it is the rule of
// the idea: overhead of all looks by the finds < far - hit. That one is on or off for all ages.)
//
// Both at once is a race: nobody waits for the look when it fails, and when it finds the object the
// far read's money is spent for nothing. With look = wait + work, the work (of processors) being
// what a look costs those who do not wait for it:
//
//   race:        work + p (wait + hit + far money) + (1 - p) far
//
// which is below `look first` if and only if p (far money) < (1 - p) wait, and below `far at once`
// if and only if p (far - far money - wait - hit) > work. Both hold between two values of p, or
// nowhere. Between these two is also the threshold, which is their mediant. Where money is most of
// what going far costs, races are for a narrow band; where far reads are free, for nearly all.
//
// Every cost is latency and money together: waiting has a price. Each is measured, fades, and
// starts from a prior, to which it returns when it is not measured for long, so that the rule never
// stops for good. Of what it gives up a bounded share is looked for all the same, by Thompson's
// rule (On the likelihood that one unknown probability exceeds another, Biometrika 1933): with the
// chance that p is in truth above the threshold. That stops by itself where looks have shown that
// it is not. (Or with a hundredth of p, if that is more: costs can be wrong, too, and those of a
// look are learned by looking.)
//
// Costs are integers, nanodollars. Pure, and for one thread.
#pragma once

#include <cstdint>
#include <span>

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
  double memory = 500;  // measurements: older ones fade
  // Work of both ends for one look, which nobody waits for: 50 us of a core at 0.14 USD an hour.
  NanoUsd look_work = 2;
};

// A mean of costs whose older measurements fade, and that falls back to its prior when other things
// happen and it is not measured: its weight halves every 8 memories of events.
class FadingMean {
 public:
  // Negative numbers count as zero.
  FadingMean(double prior, double prior_weight, double memory);
  // `event` counts what happened until now; it does not decrease. One measurement counts for at
  // most 1,000 times the mean: a clock that jumped is no cost.
  void Add(double value, uint64_t event);
  double At(uint64_t event) const;

 private:
  double WeightAt(uint64_t event) const;

  double prior_;
  double prior_weight_;
  double memory_;
  double mean_ = 0;    // of what was measured
  double weight_ = 0;  // at last_, in measurements
  uint64_t last_ = 0;
};

// What things cost here, as it was measured. Durations and money below zero count as zero; no cost
// is above 2^50 nanodollars, a million dollars.
class Costs {
 public:
  explicit Costs(const CostOptions& options);

  void Looked(Duration took);  // a look that found nothing, or was not answered
  void Found(Duration took);   // a look that came with the object
  // By way of the home, whoever had it then; with the price of request and bytes.
  void WentFar(Duration took, NanoUsd money);

  NanoUsd look() const;  // what asking costs: waiting and work
  NanoUsd look_work() const { return static_cast<NanoUsd>(look_work_); }
  // What a find costs on top of it. Below zero where looks that fail take longer than those that
  // find (nodes that do not answer).
  NanoUsd hit() const;
  NanoUsd far() const;  // with its money
  NanoUsd far_money() const;
  // Overhead of all looks by the finds, as the rule of the idea has it: for people.
  NanoUsd overhead_per_find() const;

  // A look pays where p is above: look / (far - hit), in [0, 1]; 1 when going far costs no more
  // than a hit.
  double Threshold() const;
  // A race is better than both where low < p < high. Nowhere when low >= high.
  struct Band {
    double low = 1;
    double high = 0;
  };
  Band Race() const;

 private:
  double Price(Duration took) const;  // of waiting

  double nano_usd_per_us_;
  double look_work_;
  FadingMean look_;   // waiting, of those that fail
  FadingMean found_;  // waiting, of those that find
  FadingMean far_;    // waiting
  FadingMean far_money_;
  uint64_t events_ = 0;
  double memory_;
  double looks_;  // faded, and with as many of the prior: half of those find
  double finds_;
};

enum class Way : uint8_t {
  kUnknown = 0,  // the log does not know it: by way of its home
  kFar = 1,      // it is too unlikely to be there: by way of its home
  kLook = 2,
  kRace = 3,     // both at once
  kExplore = 4,  // a look, although it does not pay by what is known
};

// Where `node` is the object's home, going far asks it anyway: there is no need for another look.
struct Decision {
  Way way = Way::kUnknown;
  NodeId node = kNoNode;  // where to look; also told where it does not pay
  double chance = 0;      // p, there
  double threshold = 0;
  // For Beliefs: of the object there. What was held by a promise counts as new when it was seen: its
  // life in the ring begins when the promise is over.
  Situation situation{};
};

struct DecisionOptions {
  // The largest share of what was given up that is looked for. It matters little between 0.03 and
  // 1: Thompson's rule bounds itself; at 0.01 what was given up by mistake is found out late.
  double explore = 0.03;
  bool race = true;  // false: one after the other, always
};

class Decider {
 public:
  // All outlive it.
  Decider(const Known* known, const Beliefs* beliefs, const Costs* costs, Random* random,
          const DecisionOptions& options);

  // For one object. `now` is by the clock of the log; a clock that went backwards finds things as
  // they were when they were seen.
  Decision Decide(Print print, Stamp now);
  // For many, as Decide one after the other, with prefetch: some 200 ns each at most. `into` is as
  // long as `prints`.
  void DecideMany(std::span<const Print> prints, Stamp now, std::span<Decision> into);

 private:
  struct Rule {
    double threshold = 1;
    Costs::Band race{};
  };
  Rule RuleNow() const;
  // Of the likeliest sighting.
  Decision Likeliest(Print print, Stamp now) const;
  Decision DecideBy(const Rule& rule, Print print, Stamp now);
  bool Explores(const Decision& decision);

  const Known* known_;
  const Beliefs* beliefs_;
  const Costs* costs_;
  Random* random_;
  DecisionOptions options_;
};

}  // namespace holdfast::snapshot
