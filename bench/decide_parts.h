// SPDX-License-Identifier: Apache-2.0
// The parts of bench decide. Each prints its table and gives its figures.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "bench/decide_player.h"
#include "bench/decide_world.h"

namespace holdfast::bench {

constexpr std::array<Churn, 3> kChurns = {Churn::kPlateau, Churn::kWear, Churn::kRing};

// Of each kind of churn the true law.
using Laws = std::array<std::unique_ptr<Law>, kChurns.size()>;
inline const Law& LawOf(const Laws& laws, Churn churn) { return *laws[static_cast<size_t>(churn)]; }

// How many units of churn between two snapshots make the mean chance of a read be `chance`, between
// 0.01 and 100.
double PeriodFor(const Law& law, const WorldOptions& options, double chance);

// Share of the avoidable cost that is recovered, over looks of 0.02 to 0.5 of what going far costs,
// chances from 1 % to 99 %, and 4 to 64 nodes.
struct Savings {
  double recovered = 0;       // looks and far reads
  double race_recovered = 0;  // races, too
  double vs_oracle = 0;       // cost
  double vs_plain_rule = 0;
  double fixed = 0;  // the best threshold for all
};
Savings MeasureSavings(const Laws& laws, bool quick);

// Reads until what is paid is within 5 % of the oracle's after the churn changed ten-fold, both
// ways.
struct Recovery {
  double reads = 0;  // the most
};
Recovery MeasureRecovery(const Laws& laws, bool quick);

// Cost of snapshots and reads by the controller's period, against the best fixed one. The clusters
// are those of seeds from 1 + seed_offset on.
struct Periods {
  double worst_vs_best = 0;  // of all fixed ones
};
Periods MeasurePeriods(const Laws& laws, bool quick, uint64_t seed_offset);

// Against an exact directory, and against placement by hash.
struct PeerPrices {
  double look_us = 150;
  double far_ms = 30;
  double far_money_nano_usd = 400;
  double get_us = 0;          // of the directory's answer; 0: as measured here
  double message_cpu_us = 0;  // of both ends, for each message; 0: as measured here
  double core_usd_per_hour = 0.05;
  double collect_cpu_s = 4;  // of a snapshot of a million objects, all ends
};
// Of small messages over our own sockets on this machine: the median wait for an answer, one after
// the other, and processor time of both ends for each message, 64 questions under way.
struct MessageCosts {
  double round_trip_us = 0;
  double cpu_us = 0;
};
MessageCosts MeasureMessages(bool quick);
struct Peers {
  double vs_directory = 0;
  double vs_hash = 0;
};
Peers MeasurePeers(const Laws& laws, const PeerPrices& prices, bool quick);

// Decisions a second, one core, a million objects known.
double MeasureSpeed(bool quick);

}  // namespace holdfast::bench
