// SPDX-License-Identifier: Apache-2.0
// Bidding in a nearly full cluster, as a small deterministic model: the planner's own code for
// placement, offers, bids, settling and the calendar, and around it only what decides the figures:
// messages with delays, reservations that expire, settles that are lost, nodes that are dead, a
// queue of loads at each node, and the question to the home.
//
// One run:  call → bids → settle → confirm → acknowledge → [call again] … → load (ask the home, far
// or peer)
#pragma once

#include <cstdint>
#include <vector>

#include "base/units.h"

namespace holdfast::sim {

// How offers reserve, and what they know.
struct BiddingRule {
  bool every_pick_reserves = false;  // instead of one reserving offer for each object
  bool room_ignored = false;         // offers go to the picks, whatever is free there
  bool fresh_room = true;            // a job asks what is free before each call; else it infers it
};

struct ModelJob {
  double first = 0;  // its objects are [first, first + share) of the universe
  double share = 1;
  Duration start{};
};

struct ModelOptions {
  uint64_t seed = 1;
  uint32_t nodes = 8;
  uint32_t objects = 40'000;    // of the universe
  double universe_share = 0.9;  // bytes of the universe in proportion to the capacity of all nodes
  double promisable = 0.94;     // of a node's capacity
  bool unequal = false;         // capacities 1 : 2 : 3 : 4, in turn
  bool warm = false;            // everything is at its home, promised to nobody
  uint32_t dead_nodes = 0;      // do not answer, and are in nobody's list of live nodes
  bool dies_during_settle = false;  // node 1 answers with bids and never again
  double lost_settles = 0;  // share of confirms that arrive after their reservation has expired
  double view_error = 0;    // weights as each job and each node sees them differ by up to this much
  double rate_error = 0.1;  // of a node's far rate against its rate model
  uint32_t max_calls = 8;
  Duration first_wait = 50ms;  // before another call; doubled after each that gained nothing
  BiddingRule rule;
  std::vector<ModelJob> jobs = {{}};
};

struct ModelFigures {
  std::vector<double>
      confirmed_after;  // share of all jobs' objects, after each call; the last one is the end
  uint32_t calls = 0;   // until 0.999, of the slowest job; max_calls + 1 if never
  double bids_per_object = 0;  // of the first calls
  double unbid_share = 0;  // objects without any offer that reserves, or keep, in the first calls
  double busiest_vs_mean = 0;  // promised bytes in proportion to capacity, over the live nodes
  double settled_ms = 0;       // from the first call to the last acknowledgement
  double far_per_object = 0;   // far requests by distinct objects loaded
  double on_time_share = 0;    // loads that arrived by the t1 of their acknowledgement
  double t1_error = 0;         // mean of |actual - t1| in proportion to the mean t1
  double same_home_share = 0;  // objects whose home the first two jobs agree upon
  bool over_promised = false;  // a node promised more than it may: must never be
};

ModelFigures RunBiddingModel(const ModelOptions& options);

}  // namespace holdfast::sim
