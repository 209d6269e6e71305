// SPDX-License-Identifier: Apache-2.0
// How often to take a snapshot: the cost of snapshots falls with the period, that of wrong decisions
// grows with it. The controller chooses the period of the least sum, by the curve as it is now:
//
//   cost(period) = snapshot / period + reads per time x E over ages of the log in [0, period] of the
//                  cost of deciding by the chance instead of by the truth,
//
// between max(T / 10000, 1 min) and min(T / 2, t_alive), T being the mean life of a snapshot: the
// time after which none of its objects are left (t_dead). Where the lower bound is above the upper
// one, the lower one holds: nothing is gained by snapshots of the same minute. Pure.
#pragma once

#include <string>

#include "base/units.h"
#include "snapshot/belief.h"
#include "snapshot/decision.h"

namespace holdfast::snapshot {

struct PeriodInput {
  NanoUsd snapshot_cost = 0;  // of one, measured: the time of nodes and network, as money
  double reads_per_s = 0;     // decisions a second, of all jobs
  double loads_per_s = 0;     // objects a second that come into the cluster
  double known_objects = 0;
  Duration shortest = std::chrono::minutes(1);
};

struct PeriodChoice {
  Duration period{};
  Duration least{};  // the bounds
  Duration most{};
  double snapshots_usd_per_hour = 0;  // at this period
  double decisions_usd_per_hour = 0;
  std::string why;  // in a sentence
};

// `fixed` > 0: that period, and what it costs.
PeriodChoice ChoosePeriod(const SurvivalCurve& curve, const Costs& costs, const PeriodInput& input,
                          Duration fixed = Duration(0));

}  // namespace holdfast::snapshot
