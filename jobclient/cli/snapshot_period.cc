// SPDX-License-Identifier: Apache-2.0
// holdfast snapshot period
#include "jobclient/cli/snapshot_period.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "jobclient/cli/snapshot_commands.h"
#include "jobclient/cli/snapshot_text.h"

namespace holdfast::cli {
namespace {

using snapshot::SnapshotLog;

// What CostOptions has for the work of a look: 50 us of a core for 2 nanodollars.
constexpr double kCoreNanoUsdPerUs = 2.0 / 50;
// Of a node's listing, until it is measured.
constexpr Duration kTookAtLeast = 10ms;
constexpr double kTookUsPerObject = 2;

double InSeconds(Duration d) { return static_cast<double>(d.count()) / 1e6; }

// Objects that came in the newest files, by the time between their first and last snapshot.
class Loads {
 public:
  void Saw(const SnapshotLog& log) {
    if (first_ == snapshot::Stamp{}) {
      first_ = log.stamp();  // what came before it came in no known time
      return;
    }
    came_ += log.added();
    last_ = log.stamp();
  }
  double per_s() const {
    const double seconds = InSeconds(Since(first_, last_));
    return seconds > 0 ? static_cast<double>(came_) / seconds : 0;
  }

 private:
  snapshot::Stamp first_{};
  snapshot::Stamp last_{};
  uint64_t came_ = 0;
};

void PrintChoice(const Globals& globals, const snapshot::PeriodChoice& choice,
                 const PeriodBasis& basis) {
  if (globals.json) {
    PrintJson({{"period_us", choice.period.count()},
               {"least_us", choice.least.count()},
               {"most_us", choice.most.count()},
               {"snapshots_usd_per_hour", choice.snapshots_usd_per_hour},
               {"decisions_usd_per_hour", choice.decisions_usd_per_hour},
               {"reads_per_s", basis.reads_per_s},
               {"loads_per_s", basis.loads_per_s},
               {"took_us", basis.took.count()},
               {"why", choice.why}});
    return;
  }
  std::printf("least   %s\nmost    %s\nchosen  %s\n", FormatDuration(choice.least).c_str(),
              FormatDuration(choice.most).c_str(), FormatDuration(choice.period).c_str());
  std::printf("why     %s\n", choice.why.c_str());
  std::printf(
      "for     %.4g reads a second (--reads-per-s), %.4g objects loaded a second, snapshots "
      "that take %s (--took)\n",
      basis.reads_per_s, basis.loads_per_s, FormatDuration(basis.took).c_str());
}

}  // namespace

snapshot::PeriodChoice PeriodFor(const SnapshotLog& log, const ClientOptions& options,
                                 const PeriodBasis& basis, Duration fixed) {
  // Millionths of a dollar per thousand are billionths for each.
  const snapshot::Costs costs({.micro_usd_per_hour = options.micro_usd_per_hour,
                               .far_money = options.far.micro_usd_per_1000_gets});
  const double nodes = std::max(static_cast<double>(log.nodes().size()), 1.0);
  const double busy_us = static_cast<double>(basis.took.count()) * nodes +
                         static_cast<double>(basis.collected_in.count());
  const snapshot::SurvivalCurve curve(log.evidence().Together(), {});
  return snapshot::ChoosePeriod(curve, costs,
                                {.snapshot_cost = std::llround(busy_us * kCoreNanoUsdPerUs),
                                 .reads_per_s = basis.reads_per_s,
                                 .loads_per_s = basis.loads_per_s * (1 - 1 / nodes),
                                 .known_objects = static_cast<double>(log.known().size())},
                                fixed);
}

int ShowPeriod(const Globals& globals, const PeriodArguments& arguments) {
  const Result<std::string> directory = LogDirectoryOf(globals, arguments.log);
  if (!directory.ok()) return Fail(directory.status());
  const Result<ClientOptions> options = ReadOptions(globals);
  if (!options.ok()) return Fail(options.status());
  Result<Duration> took = Duration(0), fixed = Duration(0);
  if (!arguments.took.empty()) took = DurationOf("--took", arguments.took, Duration(1));
  if (!took.ok()) return Fail(took.status());
  if (!arguments.fixed.empty()) fixed = DurationOf("--fixed", arguments.fixed, Duration(1s));
  if (!fixed.ok()) return Fail(fixed.status());
  Loads loads;
  const Result<SnapshotLog> log = ReadLogDirectory(*directory, 2,
                                                   {.frame =
                                                        [&](const LogFrame&, const SnapshotLog& l) {
                                                          loads.Saw(l);
                                                          return true;
                                                        },
                                                    .fault = WarnOf});
  if (!log.ok()) return Fail(log.status());
  if (*took == Duration(0)) {
    const double us = kTookUsPerObject * static_cast<double>(log->known().size());
    took = kTookAtLeast + Duration(std::llround(us));
  }
  const PeriodBasis basis{.took = *took,
                          .collected_in = *took,
                          .loads_per_s = loads.per_s(),
                          .reads_per_s = arguments.reads_per_s};
  PrintChoice(globals, PeriodFor(*log, *options, basis, *fixed), basis);
  return kOk;
}

}  // namespace holdfast::cli
