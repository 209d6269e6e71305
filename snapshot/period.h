// SPDX-License-Identifier: Apache-2.0
// How often to take a snapshot: the cost of snapshots falls
// with the period, that of wrong decisions grows with it. The controller chooses the period of the
// least sum, by the curve as it is now:
//
//   cost(period) = snapshot / period + mean of wrong(u) over u in [0, period],
//
// where u is how old the log is, and wrong(u) what not knowing costs per time. It has two parts.
//
// Reads of what the log knows: an object of age y at the snapshot is there still with the chance p
// = P(there at y + u | seen at y). Who decides by p instead of by the truth pays for a look in vain
// (1 - p) look, for a far read in vain p (far - hit - look), for a race (1 - p) work + p (far
// money), whichever is least (decision.h). In a cluster whose churn is steady, ages y are
// distributed as the curve falls: density proportional to P(there at y), the stationary age of a
// renewal process (Cox, Renewal Theory, 1962).
//
// Reads of what came since the snapshot, and is not at its home, which is asked anyway: far - hit -
// look. Each is asked for as often as one that is known.
//
// The period lies between max(T / 10000, 1 min) and min(T / 2, t_alive), T being how long a
// snapshot lives: the time after which (nearly) none of its objects are left, t_dead. t_alive
// bounds only where it ends a youth in which nothing is evicted: where it is above the lower bound,
// and evictions before it are ten times rarer per time than over the whole of a life. (Lives
// without a memory have lost a hundredth after a 458th of T, too: that bound made the period a
// quarter of an hour with lives of a day, and 1.7 hours with those of a week, whatever a snapshot
// cost.) Where T / 2 is below the lower bound, that is the period: objects live so shortly that more
// snapshots would know little more. Pure.
#pragma once

#include <string>

#include "base/units.h"
#include "snapshot/belief.h"
#include "snapshot/decision.h"

namespace holdfast::snapshot {

// What is below zero counts as zero.
struct PeriodInput {
  NanoUsd snapshot_cost = 0;  // of one, measured: the time of nodes and network, as money
  double reads_per_s = 0;     // of objects that the log knows, by all jobs
  double loads_per_s = 0;     // objects a second that come to be elsewhere than at their homes
  double known_objects = 0;
  bool race = true;  // decisions may be races (DecisionOptions)
  Duration shortest = std::chrono::minutes(1);
};

struct PeriodChoice {
  Duration period{};
  Duration least{};                   // the bounds
  Duration most{};                    // never below `least`
  double snapshots_usd_per_hour = 0;  // at this period
  double decisions_usd_per_hour = 0;  // more than with a log that is never old
  std::string why;                    // in a sentence
};

// `fixed` > 0: that period, and what it costs. A millisecond.
PeriodChoice ChoosePeriod(const SurvivalCurve& curve, const Costs& costs, const PeriodInput& input,
                          Duration fixed = Duration(0));

}  // namespace holdfast::snapshot
