// SPDX-License-Identifier: Apache-2.0
// Prints the tables of docs/decisions/0001-home-reserves.md and
// 0002-home-weights-are-capacities.md.
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "tests/sim/bidding_model/model.h"

namespace holdfast::sim {
namespace {

struct Scenario {
  const char* name;
  ModelOptions options;
};

std::vector<Scenario> Scenarios() {
  ModelOptions base;
  std::vector<Scenario> all;
  auto add = [&](const char* name, auto change) {
    ModelOptions o = base;
    change(o);
    all.push_back({name, o});
  };
  add("one job", [](ModelOptions&) {});
  add("one job, warm", [](ModelOptions& o) { o.warm = true; });
  add("unequal nodes", [](ModelOptions& o) { o.unequal = true; });
  add("64 nodes", [](ModelOptions& o) { o.nodes = 64; });
  add("16 nodes, much room", [](ModelOptions& o) {
    o.nodes = 16;
    o.objects = 200'000;
    o.promisable = 1;
  });
  add("16 nodes, warm", [](ModelOptions& o) {
    o.nodes = 16;
    o.objects = 200'000;
    o.promisable = 1;
    o.warm = true;
  });
  add("two jobs, same list", [](ModelOptions& o) { o.jobs = {{}, {}}; });
  add("two jobs, disjoint", [](ModelOptions& o) { o.jobs = {{0, 0.5, {}}, {0.5, 0.5, {}}}; });
  add("two jobs, third in common", [](ModelOptions& o) {
    o.jobs = {{0, 0.667, {}}, {0.333, 0.667, {}}};
  });
  add("10 % of settles lost", [](ModelOptions& o) { o.lost_settles = 0.1; });
  add("two jobs, 20 % lost", [](ModelOptions& o) {
    o.jobs = {{0, 0.5, {}}, {0.5, 0.5, {}}};
    o.lost_settles = 0.2;
  });
  add("dead node", [](ModelOptions& o) { o.dead_nodes = 1; });
  add("node dies, 75 % full", [](ModelOptions& o) {
    o.dies_during_settle = true;
    o.universe_share = 0.75;
  });
  return all;
}

constexpr uint64_t kSeeds = 3;

// The worst of each figure over the seeds; the mean of those that have no worst.
ModelFigures WorstOfSeeds(ModelOptions o) {
  ModelFigures worst = RunBiddingModel(o);
  double on_time = worst.on_time_share;
  double same_home = worst.same_home_share;
  for (o.seed = 2; o.seed <= kSeeds; ++o.seed) {
    ModelFigures f = RunBiddingModel(o);
    for (size_t c = 0; c < f.confirmed_after.size(); ++c) {
      worst.confirmed_after[c] = std::min(worst.confirmed_after[c], f.confirmed_after[c]);
    }
    worst.calls = std::max(worst.calls, f.calls);
    worst.unbid_share = std::max(worst.unbid_share, f.unbid_share);
    worst.bids_per_object = std::max(worst.bids_per_object, f.bids_per_object);
    worst.busiest_vs_mean = std::max(worst.busiest_vs_mean, f.busiest_vs_mean);
    worst.settled_ms = std::max(worst.settled_ms, f.settled_ms);
    worst.far_per_object = std::max(worst.far_per_object, f.far_per_object);
    worst.t1_error = std::max(worst.t1_error, f.t1_error);
    worst.over_promised |= f.over_promised;
    on_time += f.on_time_share;
    same_home += f.same_home_share;
  }
  worst.on_time_share = on_time / kSeeds;
  worst.same_home_share = same_home / kSeeds;
  return worst;
}

void PrintRule(const char* name, const BiddingRule& rule) {
  std::printf("\n%s\n%-28s %8s %8s %8s %6s %7s %7s %8s %7s %8s %8s\n", name, "scenario", "call 1",
              "call 2", "end", "calls", "no bid", "bids", "busiest", "far", "on time", "t1 err");
  for (const Scenario& s : Scenarios()) {
    ModelOptions o = s.options;
    o.rule = rule;
    ModelFigures f = WorstOfSeeds(o);
    std::string calls = f.calls > o.max_calls ? "never" : std::to_string(f.calls);
    std::printf("%-28s %8.4f %8.4f %8.4f %6s %6.1f%% %7.2f %8.3f %7.4f %7.1f%% %7.1f%%%s\n", s.name,
                f.confirmed_after[0], f.confirmed_after[1], f.confirmed_after.back(), calls.c_str(),
                100 * f.unbid_share, f.bids_per_object, f.busiest_vs_mean, f.far_per_object,
                100 * f.on_time_share, 100 * f.t1_error, f.over_promised ? "  OVER-PROMISED" : "");
  }
}

void PrintViews() {
  std::printf("\nviews of the weights\n%-28s %10s %8s %8s %8s\n", "views apart by", "same home",
              "far", "call 1", "end");
  for (double error : {0.0, 0.05, 0.1, 0.3}) {
    ModelOptions o;
    o.jobs = {{}, {}};
    o.universe_share = 0.45;
    o.view_error = error;
    ModelFigures f = WorstOfSeeds(o);
    std::printf("%-28.2f %9.1f%% %8.4f %8.4f %8.4f\n", error, 100 * f.same_home_share,
                f.far_per_object, f.confirmed_after[0], f.confirmed_after.back());
  }
}

}  // namespace
}  // namespace holdfast::sim

int main() {
  using holdfast::sim::BiddingRule;
  holdfast::sim::PrintRule("the rule: the home reserves, what is known to be full passes it on",
                           BiddingRule{});
  holdfast::sim::PrintRule("the same, but what a node has left is inferred from its answers",
                           BiddingRule{.fresh_room = false});
  holdfast::sim::PrintRule("the home reserves always, later calls go to the same picks",
                           BiddingRule{.room_ignored = true});
  holdfast::sim::PrintRule("every pick reserves", BiddingRule{.every_pick_reserves = true});
  holdfast::sim::PrintViews();
  return 0;
}
