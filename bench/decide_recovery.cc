// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "bench/decide_parts.h"

namespace holdfast::bench {
namespace {

constexpr int kBefore = 12, kAfter = 24;  // snapshots
constexpr int kReads = 1'000;             // between two of them
constexpr int kWindow = 250;              // reads: a long one would hide what the first ones cost
constexpr size_t kWindows = kAfter * kReads / kWindow;
constexpr double kWithin = 1.05;
constexpr std::array<int, 10> kShown = {250,   500,   750,   1'000,  1'500,
                                        2'000, 3'000, 5'000, 10'000, 20'000};

struct Windows {
  std::vector<double> ours = std::vector<double>(kWindows);
  std::vector<double> oracle = std::vector<double>(kWindows);
};

struct Change {
  double chance = 0;  // mean, before
  double factor = 0;  // of the churn
};
// From where looks pay to where they do not, and back: else what was learned before is right still.
constexpr std::array<Change, 4> kChanges = {{{0.95, 10}, {0.7, 10}, {0.25, 0.1}, {0.05, 0.1}}};
constexpr std::array<double, 3> kLooks = {0.1, 0.3, 0.5};

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
    for (int k = 0; k < kReads; ++k) {
      if (k % 20 == 0) world.AdvanceTo({start_us + period_us * (k + 10) / kReads});
      const Player::Paid paid = player.Read(world.Ask(false));
      if (i < kBefore) continue;
      const auto window = static_cast<size_t>(((i - kBefore) * kReads + k) / kWindow);
      windows->ours[window] += paid.ours;
      windows->oracle[window] += paid.oracle;
    }
    world.AdvanceTo({start_us + period_us});
  }
}

}  // namespace

Recovery MeasureRecovery(const Laws& laws, bool quick) {
  const uint64_t seeds = quick ? 2 : 20;
  std::printf(
      "Cost / oracle's after the churn changed ten-fold, of %d reads up to this one, mean of %d "
      "runs. P: chance before.\n\n%-8s %6s %5s %5s |",
      kWindow, static_cast<int>(seeds), "churn", "change", "P", "look");
  for (int reads : kShown) std::printf(" %6d", reads);
  std::printf(" | reads until within 5 %%\n");
  Recovery recovery;
  for (Churn churn : kChurns) {
    for (const Change& change : kChanges) {
      for (double look : kLooks) {
        Windows windows;
        for (uint64_t seed = 1; seed <= seeds; ++seed) {
          Play(LawOf(laws, churn), churn, change, look, seed, &windows);
        }
        size_t above = 0;  // up to the last window that is
        for (size_t i = 0; i < kWindows; ++i) {
          if (windows.ours[i] > kWithin * windows.oracle[i]) above = i + 1;
        }
        std::printf("%-8s %6g %5.2f %5.2f |", NameOf(churn), change.factor, change.chance, look);
        for (int reads : kShown) {
          const auto i = static_cast<size_t>(reads / kWindow - 1);
          std::printf(" %6.3f", windows.ours[i] / windows.oracle[i]);
        }
        std::printf(" | %zu\n", above * kWindow);
        recovery.reads = std::max(recovery.reads, static_cast<double>(above) * kWindow);
      }
    }
  }
  std::printf("\n");
  return recovery;
}

}  // namespace holdfast::bench
