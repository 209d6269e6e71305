// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "bench/decide_parts.h"

namespace holdfast::bench {
namespace {

constexpr std::array<double, 5> kLookShares = {0.02, 0.05, 0.1, 0.2, 0.5};
constexpr std::array<double, 7> kChances = {0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99};
constexpr double kMoneyShare = 0.5;
// Races are for where the money is little.
constexpr std::array<double, 2> kRaceMoney = {0.1, 0.5};
constexpr std::array<double, 2> kRaceLooks = {0.05, 0.3};

struct Scenario {
  Churn churn{};
  uint32_t nodes = 0;
  double chance = 0;
  double look_share = 0;
  double money_share = 0;
  Score score{};
};

double BestSimple(const Score& s, size_t fixed, bool race) {
  const double best = std::min({s.always_look, s.always_fetch, s.fixed[fixed]});
  return race ? std::min(best, s.always_race) : best;
}

uint32_t ObjectsFor(Churn churn, uint32_t nodes, double period) {
  // The ring has 32 segments a node, of eight objects or more.
  if (churn == Churn::kRing) return std::max(nodes * 32 * 8, 4'096u);
  return static_cast<uint32_t>(std::clamp(40'000 / period, 512.0, 4'000.0));
}

// One world, and all prices in it.
void Play(const Laws& laws, Churn churn, uint32_t nodes, double chance, bool quick,
          std::vector<Scenario>* plain, std::vector<Scenario>* races) {
  const Law& law = LawOf(laws, churn);
  WorldOptions options{.churn = churn, .nodes = nodes, .seed = 1 + nodes};
  const double period = PeriodFor(law, options, chance);
  options.objects = ObjectsFor(churn, nodes, period);
  World world(options);
  std::vector<Scenario> scenarios;
  std::vector<std::unique_ptr<Player>> players;
  auto add = [&](double look, double money, bool race) {
    scenarios.push_back({churn, nodes, chance, look, money, {}});
    players.push_back(std::make_unique<Player>(
        &world, &law,
        PlayerOptions{.prices = Prices::Of(look, money), .race = race, .seed = players.size()}));
  };
  for (double look : kLookShares) add(look, kMoneyShare, false);
  for (double money : kRaceMoney) {
    for (double look : kRaceLooks) add(look, money, true);
  }
  const int snapshots = quick ? 12 : 50, reads = quick ? 800 : 2'000;
  const double period_us = period * static_cast<double>(options.unit.count());
  for (int i = 0; i < snapshots; ++i) {
    world.TakeSnapshot();
    for (auto& player : players) player->Learn();
    const int64_t start_us = world.now().us;
    for (int k = 0; k < reads; ++k) {
      if (k % 20 == 0) world.AdvanceTo({start_us + std::llround(period_us * (k + 10) / reads)});
      const World::Asked asked = world.Ask(false);
      for (auto& player : players) player->Read(asked);
    }
    world.AdvanceTo({start_us + std::llround(period_us)});
  }
  for (size_t i = 0; i < players.size(); ++i) {
    scenarios[i].score = players[i]->score();
    (i < kLookShares.size() ? plain : races)->push_back(scenarios[i]);
  }
}

void Print(const std::vector<Scenario>& scenarios, size_t fixed, bool race) {
  std::printf("%-8s %5s %6s %6s %6s %6s | %7s %7s %7s %7s %7s %7s %7s | %8s %9s\n", "churn",
              "nodes", "P", "there", "look", "money", "oracle", "ours", "looking", "far", "fixed",
              "plain", race ? "racing" : "", "% looks", "recovered");
  for (const Scenario& s : scenarios) {
    const double each = s.score.reads * Prices::Of(s.look_share, s.money_share).far();
    const double best = BestSimple(s.score, fixed, race);
    const double avoidable = best - s.score.oracle;
    std::printf("%-8s %5u %6.2f %6.3f %6.2f %6.2f | %7.4f %7.4f %7.4f %7.4f %7.4f %7.4f ",
                NameOf(s.churn), s.nodes, s.chance, s.score.there / s.score.reads, s.look_share,
                s.money_share, s.score.oracle / each, s.score.ours / each,
                s.score.always_look / each, s.score.always_fetch / each,
                s.score.fixed[fixed] / each, s.score.plain_rule / each);
    if (race) {
      std::printf("%7.4f", s.score.always_race / each);
    } else {
      std::printf("%7s", "");
    }
    std::printf(" | %8.1f ",
                100 * (s.score.looks + s.score.races + s.score.explored) / s.score.reads);
    // Of nothing there is no share.
    if (avoidable > 0.002 * each) {
      std::printf("%9.3f\n", (best - s.score.ours) / avoidable);
    } else {
      std::printf("%9s\n", "-");
    }
  }
}

// Sums over scenarios, each in units of what going far costs there.
struct Sums {
  double avoidable = 0;
  double recovered = 0;
  double ours = 0;
  double oracle = 0;
  double plain_rule = 0;
  void Add(const Scenario& s, size_t fixed, bool race) {
    const double each = s.score.reads * Prices::Of(s.look_share, s.money_share).far();
    const double best = BestSimple(s.score, fixed, race);
    avoidable += (best - s.score.oracle) / each;
    recovered += (best - s.score.ours) / each;
    ours += s.score.ours / each;
    oracle += s.score.oracle / each;
    plain_rule += s.score.plain_rule / each;
  }
  double share() const { return recovered / avoidable; }
};

// The threshold with which the policy of a fixed one is the cheapest over all scenarios.
size_t BestFixed(const std::vector<Scenario>& scenarios) {
  std::array<double, kFixed.size()> sums{};
  for (const Scenario& s : scenarios) {
    const double each = s.score.reads * Prices::Of(s.look_share, s.money_share).far();
    for (size_t i = 0; i < sums.size(); ++i) sums[i] += s.score.fixed[i] / each;
  }
  return static_cast<size_t>(std::min_element(sums.begin(), sums.end()) - sums.begin());
}

template <typename Key>
void PrintBy(const char* name, const std::vector<Scenario>& scenarios, size_t fixed, bool race,
             Key key) {
  std::vector<double> keys;
  for (const Scenario& s : scenarios) keys.push_back(key(s));
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  std::printf("recovered by %-6s", name);
  for (double k : keys) {
    Sums sums;
    for (const Scenario& s : scenarios) {
      if (key(s) == k) sums.Add(s, fixed, race);
    }
    std::printf("  %g: %.3f", k, sums.share());
  }
  std::printf("\n");
}

Sums Summary(const std::vector<Scenario>& scenarios, size_t fixed, bool race) {
  Print(scenarios, fixed, race);
  PrintBy("churn", scenarios, fixed, race,
          [](const Scenario& s) { return static_cast<double>(s.churn); });
  PrintBy("nodes", scenarios, fixed, race, [](const Scenario& s) { return s.nodes; });
  PrintBy("P", scenarios, fixed, race, [](const Scenario& s) { return s.chance; });
  PrintBy("look", scenarios, fixed, race, [](const Scenario& s) { return s.look_share; });
  Sums sums;
  for (const Scenario& s : scenarios) sums.Add(s, fixed, race);
  std::printf("recovered of all: %.3f; cost / oracle's %.4f\n\n", sums.share(),
              sums.ours / sums.oracle);
  return sums;
}

}  // namespace

double PeriodFor(const Law& law, const WorldOptions& options, double chance) {
  constexpr int kAges = 400, kTimes = 50;
  WorldOptions small = options;
  small.objects = ObjectsFor(options.churn, 4, 1);
  small.nodes = 4;
  World world(small);
  world.TakeSnapshot();
  std::vector<World::Asked> asked;
  for (int i = 0; i < kAges; ++i) asked.push_back(world.Ask(false));
  auto mean = [&](double period) {
    double sum = 0;
    for (const World::Asked one : asked) {
      const double age = world.AgeWhenSeen(one);
      for (int t = 0; t < kTimes; ++t) {
        sum += law.Chance(age + period * (t + 0.5) / kTimes, age, world.RingWhenSeen(one));
      }
    }
    return sum / (kAges * kTimes);
  };
  double low = 0.01, high = 100;
  for (int i = 0; i < 20; ++i) {
    const double middle = std::sqrt(low * high);
    (mean(middle) > chance ? low : high) = middle;
  }
  return low;
}

Savings MeasureSavings(const Laws& laws, bool quick) {
  std::vector<Scenario> plain, races;
  for (Churn churn : kChurns) {
    for (uint32_t nodes : {4u, 16u, 64u}) {
      for (double chance : kChances) Play(laws, churn, nodes, chance, quick, &plain, &races);
    }
  }
  const size_t fixed = BestFixed(plain);
  std::printf(
      "Cost of a read in units of going far. P: mean chance that the object is where the log says; "
      "there: how many were.\nlook: cost of a look; money: its share of going far. Fixed "
      "threshold: "
      "p >= %.2f, the best for all.\n\n",
      kFixed[fixed]);
  const Sums sums = Summary(plain, fixed, false);
  std::printf("With races:\n\n");
  const Sums race_sums = Summary(races, fixed, true);
  return {.recovered = sums.share(),
          .race_recovered = race_sums.share(),
          .vs_oracle = sums.ours / sums.oracle,
          .vs_plain_rule = sums.ours / sums.plain_rule,
          .fixed = kFixed[fixed]};
}

}  // namespace holdfast::bench
