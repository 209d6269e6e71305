// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>
#include <vector>

#include "base/status.h"
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
  Course(const Scenario& scenario, const Law& law, Duration fixed, int reads, uint64_t seed)
      : scenario_(scenario),
        fixed_(fixed),
        prices_(Prices::Of(0.1, 0.5)),
        world_({.churn = scenario.churn,
                .nodes = 8,
                .objects = 2'048,
                .unit = scenario.unit,
                .seed = seed}),
        player_(&world_, &law, {.prices = prices_, .seed = seed}),
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

// One scenario, in several clusters.
class Search {
 public:
  Search(const Scenario& scenario, const Law& law, bool quick, uint64_t first_seed)
      : scenario_(scenario), law_(law), quick_(quick), first_seed_(first_seed) {}

  // The controller's cost by the best fixed period's.
  double Compare() {
    const Runs ours = Go(0);
    const double least_s = 60, most_s = InSeconds(scenario_.unit) / 2;
    const double step = quick_ ? 2 : 1.6, fine = 1.25;
    Runs best{.total = INFINITY};
    auto search = [&](double period_s) {
      // Where the snapshots alone cost more, it is not the best.
      if (period_s < least_s || kSnapshotNanoUsd / period_s > ours.total / Seeds()) return;
      Runs runs = Go(period_s);
      if (runs.total < best.total) best = std::move(runs);
    };
    for (double period_s = least_s; period_s < most_s; period_s *= step) search(period_s);
    HF_CHECK(!best.runs.empty());
    if (!quick_) {
      const double about = best.runs[0].mean_period_s;
      search(about / fine);
      search(about * fine);
    }
    return Print(ours, best);
  }

 private:
  struct Runs {
    std::vector<Run> runs{};
    double total = 0;
  };
  static double InSeconds(Duration d) { return static_cast<double>(d.count()) / 1e6; }
  int Seeds() const { return quick_ ? 1 : 3; }

  Runs Go(double period_s) const {
    Runs runs;
    for (int i = 0; i < Seeds(); ++i) {
      const Duration period(std::llround(period_s * 1e6));
      runs.runs.push_back(Course(scenario_, law_, period, quick_ ? 20'000 : 300'000,
                                 first_seed_ + static_cast<uint64_t>(i))
                              .Go());
      runs.total += runs.runs.back().nano_usd_per_s;
    }
    return runs;
  }
  double Print(const Runs& ours, const Runs& best) const {
    double low = INFINITY, high = 0, period_s = 0;
    for (size_t i = 0; i < ours.runs.size(); ++i) {
      const double ratio = ours.runs[i].nano_usd_per_s / best.runs[i].nano_usd_per_s;
      low = std::min(low, ratio), high = std::max(high, ratio);
      period_s += ours.runs[i].mean_period_s / Seeds();
    }
    const double usd_per_hour = 3.6e-6 / Seeds();
    std::printf("%-36s %10.0f %12.4f %10.0f %12.4f %8.3f  %.3f-%.3f\n    %s\n", scenario_.name,
                period_s, ours.total * usd_per_hour, best.runs[0].mean_period_s,
                best.total * usd_per_hour, ours.total / best.total, low, high,
                ours.runs[0].why.c_str());
    return ours.total / best.total;
  }

  Scenario scenario_;
  const Law& law_;
  bool quick_;
  uint64_t first_seed_;
};

}  // namespace

Periods MeasurePeriods(const Laws& laws, bool quick, uint64_t seed_offset) {
  std::printf(
      "Snapshots and reads, by the controller's period and by the best fixed one; a snapshot costs "
      "a cent, %g reads/s; ratio of all clusters together, and of each\n\n"
      "%-36s %10s %12s %10s %12s %8s  %s\n",
      kReadsPerS, "churn", "period s", "USD/h", "fixed s", "USD/h", "ratio", "least-most");
  Periods periods;
  for (const Scenario& scenario : kScenarios) {
    const double ratio =
        Search(scenario, LawOf(laws, scenario.churn), quick, 1 + seed_offset).Compare();
    periods.worst_vs_best = std::max(periods.worst_vs_best, ratio);
  }
  std::printf("\n");
  return periods;
}

}  // namespace holdfast::bench
