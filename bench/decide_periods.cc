// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "bench/decide_parts.h"
#include "snapshot/period.h"

namespace holdfast::bench {
namespace {

using std::chrono::hours;

struct Scenario {
  const char* name = "";
  Churn churn{};
  Duration unit{};
  double night = 1;  // factor of the churn every other half unit
};
constexpr std::array<Scenario, 5> kScenarios = {{
    {"plateau, lives of 1 h", Churn::kPlateau, hours(1)},
    {"ring, a turn in 12 h", Churn::kRing, hours(12)},
    {"wear, lives of 4 h", Churn::kWear, hours(4)},
    {"plateau, lives of 48 h", Churn::kPlateau, hours(48)},
    {"ring, 8 h, half the time a quarter", Churn::kRing, hours(8), 0.25},
}};

constexpr double kReadsPerS = 20;          // of all jobs
constexpr double kSnapshotNanoUsd = 10e6;  // a cent
constexpr double kAtHome = 0.125;          // of what was loaded since: at one of eight nodes
constexpr double kUnits = 10;              // that are measured, after two

struct Run {
  double nano_usd_per_s = 0;
  double mean_period_s = 0;
  std::string why;
};

// One way through the scenario. `fixed` of 0: the controller's periods.
class Course {
 public:
  Course(const Scenario& scenario, const Law& law, Duration fixed, int reads)
      : scenario_(scenario),
        fixed_(fixed),
        prices_(Prices::Of(0.1, 0.5)),
        world_({.churn = scenario.churn, .nodes = 8, .objects = 2'048, .unit = scenario.unit}),
        player_(&world_, &law, {.prices = prices_}),
        start_us_(world_.now().us),
        read_us_((kUnits + 2) * static_cast<double>(scenario.unit.count()) / reads) {}

  Run Go() {
    const double unit_us = static_cast<double>(scenario_.unit.count());
    const double end_us = (kUnits + 2) * unit_us;
    int snapshots = 0;
    double reads = 0, measured = 0, paid = 0, next_us = 0;
    for (double at_us = 0; at_us < end_us; at_us += read_us_) {
      while (next_us <= at_us) {
        AdvanceTo(next_us);
        next_us += static_cast<double>(Snapshot().count());
        if (at_us >= 2 * unit_us) ++snapshots;
      }
      AdvanceTo(at_us);
      const World::Asked asked = world_.Ask(true);
      const bool known = world_.IsKnown(asked);
      const double cost = known ? player_.Read(asked).ours : player_.ReadUnknown(asked, kAtHome);
      reads_ += 1, known_ += known ? 1 : 0;
      reads += 1;
      if (at_us >= 2 * unit_us) measured += 1, paid += cost;
    }
    const double seconds = kUnits * unit_us / 1e6;
    run_.nano_usd_per_s = paid / measured * kReadsPerS + snapshots * kSnapshotNanoUsd / seconds;
    run_.mean_period_s = seconds / std::max(snapshots, 1);
    return run_;
  }

 private:
  void AdvanceTo(double us) {
    const bool night = std::fmod(us, static_cast<double>(scenario_.unit.count())) * 2 >
                       static_cast<double>(scenario_.unit.count());
    world_.AdvanceTo({std::max(world_.now().us, start_us_ + static_cast<int64_t>(us))});
    world_.SetChurn(night ? scenario_.night : 1);
  }
  // How long until the next one.
  Duration Snapshot() {
    world_.TakeSnapshot();
    player_.Learn();
    if (fixed_ > Duration(0)) return fixed_;
    const snapshot::PeriodChoice choice =
        snapshot::ChoosePeriod(world_.curve(), player_.costs(),
                               {.snapshot_cost = std::llround(kSnapshotNanoUsd),
                                .reads_per_s = kReadsPerS * (known_ + 1) / (reads_ + 1),
                                .loads_per_s = world_.loads_per_s() * (1 - kAtHome),
                                .known_objects = static_cast<double>(world_.known_objects()),
                                .race = false});
    run_.why = choice.why;
    return choice.period;
  }

  Scenario scenario_;
  Duration fixed_;
  Prices prices_;
  World world_;
  Player player_;
  int64_t start_us_;
  double read_us_;
  double reads_ = 0;
  double known_ = 0;
  Run run_;
};

// The controller's cost by the best fixed period's.
double Compare(const Scenario& scenario, const Law& law, bool quick) {
  const int reads = quick ? 20'000 : 300'000;
  const Run ours = Course(scenario, law, Duration(0), reads).Go();
  Run best;
  best.nano_usd_per_s = INFINITY;
  const double unit_s = static_cast<double>(scenario.unit.count()) / 1e6;
  for (double period_s = 60; period_s < unit_s / 2; period_s *= quick ? 2 : 1.25) {
    // Where the snapshots alone cost more, it is not the best.
    if (kSnapshotNanoUsd / period_s > ours.nano_usd_per_s) continue;
    const Run run = Course(scenario, law, Duration(std::llround(period_s * 1e6)), reads).Go();
    if (run.nano_usd_per_s < best.nano_usd_per_s) best = run;
  }
  const double ratio = ours.nano_usd_per_s / best.nano_usd_per_s;
  std::printf("%-36s %10.0f %12.4f %10.0f %12.4f %8.3f\n    %s\n", scenario.name,
              ours.mean_period_s, ours.nano_usd_per_s * 3.6e-6, best.mean_period_s,
              best.nano_usd_per_s * 3.6e-6, ratio, ours.why.c_str());
  return ratio;
}

}  // namespace

Periods MeasurePeriods(const Laws& laws, bool quick) {
  std::printf(
      "Snapshots and reads, by the controller's period and by the best fixed one; a snapshot costs "
      "a cent, %g reads/s\n\n%-36s %10s %12s %10s %12s %8s\n",
      kReadsPerS, "churn", "period s", "USD/h", "fixed s", "USD/h", "ratio");
  Periods periods;
  for (const Scenario& scenario : kScenarios) {
    periods.worst_vs_best =
        std::max(periods.worst_vs_best, Compare(scenario, LawOf(laws, scenario.churn), quick));
  }
  std::printf("\n");
  return periods;
}

}  // namespace holdfast::bench
