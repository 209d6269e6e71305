// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "bench/decide_parts.h"

namespace holdfast::bench {
namespace {

constexpr int kBefore = 15, kAfter = 40;  // snapshots
constexpr int kReads = 1'000;             // between two of them: a window
constexpr double kWithin = 1.05;

struct Windows {
  std::vector<double> ours = std::vector<double>(kAfter);
  std::vector<double> oracle = std::vector<double>(kAfter);
};

struct Change {
  double chance = 0;  // mean, before
  double factor = 0;  // of the churn
};
constexpr std::array<Change, 2> kChanges = {{{0.95, 10}, {0.25, 0.1}}};
constexpr std::array<double, 2> kLooks = {0.1, 0.3};

void Play(const Law& law, Churn churn, const Change& change, double look, uint64_t seed,
          Windows* windows) {
  WorldOptions options{.churn = churn, .nodes = 8, .objects = 4'096, .seed = seed};
  const double period = PeriodFor(law, options, change.chance);
  const int64_t period_us = std::llround(period * static_cast<double>(options.unit.count()));
  World world(options);
  Player player(&world, &law, {.prices = Prices::Of(look, 0.5), .seed = seed});
  for (int i = 0; i < kBefore + kAfter; ++i) {
    world.TakeSnapshot();
    player.Learn();
    if (i == kBefore) world.SetChurn(change.factor);
    const int64_t start_us = world.now().us;
    player.ResetScore();
    for (int k = 0; k < kReads; ++k) {
      if (k % 20 == 0) world.AdvanceTo({start_us + period_us * (k + 10) / kReads});
      player.Read(world.Ask(false));
    }
    world.AdvanceTo({start_us + period_us});
    if (i < kBefore) continue;
    windows->ours[static_cast<size_t>(i - kBefore)] += player.score().ours;
    windows->oracle[static_cast<size_t>(i - kBefore)] += player.score().oracle;
  }
}

}  // namespace

Recovery MeasureRecovery(const Laws& laws, bool quick) {
  const uint64_t seeds = quick ? 4 : 20;
  std::printf(
      "Cost / oracle's after the churn changed ten-fold, by thousands of reads, mean of %d runs\n\n"
      "%-8s %6s %5s | %6s %6s %6s %6s %6s %6s %6s %6s %6s %6s | %s\n",
      static_cast<int>(seeds), "churn", "change", "look", "1", "2", "3", "4", "5", "7", "10", "15",
      "20", "40", "reads until within 5 %");
  Recovery recovery;
  for (Churn churn : kChurns) {
    for (const Change& change : kChanges) {
      for (double look : kLooks) {
        Windows windows;
        for (uint64_t seed = 1; seed <= seeds; ++seed) {
          Play(LawOf(laws, churn), churn, change, look, seed, &windows);
        }
        auto ratio = [&](int k) {
          const auto i = static_cast<size_t>(k - 1);
          return windows.ours[i] / windows.oracle[i];
        };
        int last = 0;  // above
        for (int k = 1; k <= kAfter; ++k) {
          if (ratio(k) > kWithin) last = k;
        }
        std::printf("%-8s %6g %5.2f |", NameOf(churn), change.factor, look);
        for (int k : {1, 2, 3, 4, 5, 7, 10, 15, 20, 40}) std::printf(" %6.3f", ratio(k));
        std::printf(" | %d\n", last * kReads);
        recovery.reads = std::max(recovery.reads, static_cast<double>(last) * kReads);
      }
    }
  }
  std::printf("\n");
  return recovery;
}

}  // namespace holdfast::bench
