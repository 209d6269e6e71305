// SPDX-License-Identifier: Apache-2.0
// holdfast snapshot curve
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "jobclient/cli/cluster_files.h"
#include "jobclient/cli/curve_svg.h"
#include "jobclient/cli/snapshot_cohort.h"
#include "jobclient/cli/snapshot_commands.h"
#include "jobclient/cli/snapshot_text.h"
#include "snapshot/decision.h"

namespace holdfast::cli {
namespace {

using snapshot::AgeCells;
using snapshot::SnapshotLog;
using snapshot::SurvivalCurve;

double ShareOf(uint64_t part, uint64_t whole) {
  return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0;
}

// Before anything is measured: what client and log can be told apart by is the prices.
double ThresholdFor(const ClientOptions& options) {
  return snapshot::Costs({.micro_usd_per_hour = options.micro_usd_per_hour,
                          .far_money = options.far.micro_usd_per_1000_gets})
      .Threshold();
}

Json AgesOf(const SurvivalCurve& curve) {
  Json ages = Json::array();
  const Duration last = LastAgeShown(curve);
  for (uint32_t cell = 0; cell < AgeCells::kCells && AgeCells::StartOf(cell) <= last; ++cell) {
    const snapshot::Chance chance = curve.At(AgeCells::StartOf(cell), Duration(0));
    const snapshot::Chance::Range range = chance.Credible(0.95);
    ages.push_back({{"age_us", AgeCells::StartOf(cell).count()},
                    {"mean", chance.mean},
                    {"low", range.low},
                    {"high", range.high}});
  }
  return ages;
}

Json GroupsOf(const SurvivalCurve& curve) {
  Json groups = Json::array();
  for (const SurvivalCurve::Group& group : curve.groups()) {
    const bool open = group.end >= AgeCells::kCells;
    groups.push_back({{"from_us", AgeCells::StartOf(group.first).count()},
                      {"to_us", open ? Json(nullptr) : Json(AgeCells::StartOf(group.end).count())},
                      {"cells", group.end - group.first},
                      {"alpha", group.alpha},
                      {"beta", group.beta}});
  }
  return groups;
}

Json ObservedOf(const Cohort& cohort, const SurvivalCurve& curve) {
  Json observed = Json::array();
  for (const Cohort::Point& point : cohort.points()) {
    observed.push_back({{"snapshot", point.snapshot},
                        {"later_us", point.later.count()},
                        {"listed", ShareOf(point.listed, cohort.followed())},
                        {"back", ShareOf(point.back, cohort.followed())},
                        {"renewed", ShareOf(point.renewed, cohort.followed())},
                        {"expected", cohort.Expected(curve, point.later)}});
  }
  return observed;
}

// An age that the curve may not come down to.
std::string AgeText(Duration age) {
  const bool last = age >= AgeCells::StartOf(AgeCells::kCells - 1);
  return (last ? "more than " : "") + FormatDuration(age);
}

void PrintCurve(const SnapshotLog& log, const SurvivalCurve& curve, double threshold) {
  const double evictions = log.evidence().effective_evictions();
  const Duration given_up = curve.AgeOf(std::clamp(threshold, 1e-6, 1 - 1e-6));
  std::printf("snapshot %llu, %s: %.0f independent evictions, %zu intervals\n",
              static_cast<unsigned long long>(log.sequence()), UtcText(log.stamp()).c_str(),
              evictions, curve.groups().size());
  if (evictions < 1)
    std::printf("  no node has told of an eviction yet; this is what is believed before\n");
  std::printf("  t_alive    %s: 99 of 100 objects reach this age\n",
              AgeText(curve.AgeOf(0.99)).c_str());
  std::printf("  mean life  %s\n", FormatDuration(curve.MeanLife()).c_str());
  std::printf("  t_dead     %s: 1 of 100 does\n", AgeText(curve.AgeOf(0.01)).c_str());
  std::printf(
      "  give up    %s: older ones are there with less than %.2g %%, below which a look does "
      "not pay at the costs assumed before any is measured\n",
      AgeText(given_up).c_str(), 100 * threshold);
}

void PrintCohort(const SurvivalCurve& curve, const Cohort& cohort) {
  if (cohort.points().empty()) {
    std::printf("no snapshot has any objects to follow\n");
    return;
  }
  const Cohort::Point& first = cohort.points().front();
  const Cohort::Point& last = cohort.points().back();
  std::printf("snapshot %llu, %s: %s objects\n", static_cast<unsigned long long>(first.snapshot),
              UtcText(cohort.start()).c_str(), FormatCount(cohort.objects()).c_str());
  if (cohort.points().size() < 2) {
    std::printf("  there is no later one to compare it with\n");
    return;
  }
  std::printf(
      "  %s later %.1f %% of them are listed; without those loaded again %.1f %%, where the "
      "curve expects %.1f %%\n",
      FormatDuration(last.later).c_str(), 100 * ShareOf(last.listed, cohort.followed()),
      100 * ShareOf(last.same(), cohort.followed()), 100 * cohort.Expected(curve, last.later));
  std::printf(
      "  of those listed %.1f %% had gone and were loaded again: the bump; %.1f %% are "
      "younger than they would be, loaded again in between or held meanwhile\n",
      100 * ShareOf(last.back, last.listed), 100 * ShareOf(last.renewed, last.listed));
}

std::string Draw(const std::string& directory, const SnapshotLog& log, const SurvivalCurve& curve,
                 const Cohort& cohort, double threshold) {
  CurvePicture picture{.curve = &curve,
                       .threshold = threshold,
                       .about = directory + ", up to snapshot " + std::to_string(log.sequence()) +
                                ", " + UtcText(log.stamp())};
  for (const Cohort::Point& point : cohort.points()) {
    picture.observed.push_back({.later = point.later,
                                .listed = ShareOf(point.listed, cohort.followed()),
                                .the_same = ShareOf(point.same(), cohort.followed()),
                                .expected = cohort.Expected(curve, point.later)});
  }
  return CurveSvg(picture);
}

}  // namespace

int ShowCurve(const Globals& globals, const CurveArguments& arguments) {
  const Result<std::string> directory = LogDirectoryOf(globals, arguments.log);
  if (!directory.ok()) return Fail(directory.status());
  const Result<ClientOptions> options = ReadOptions(globals);
  if (!options.ok()) return Fail(options.status());
  Cohort cohort(arguments.from);
  const Result<SnapshotLog> log = ReadLogDirectory(*directory, 0,
                                                   {.frame =
                                                        [&](const LogFrame&, const SnapshotLog& l) {
                                                          cohort.Saw(l);
                                                          return true;
                                                        },
                                                    .fault = WarnOf});
  if (!log.ok()) return Fail(log.status());
  if (arguments.from != 0 && cohort.points().empty()) {
    return Fail(Status::NotFound("snapshot " + std::to_string(arguments.from) +
                                 " is not in the log, or lists no objects to follow; `holdfast "
                                 "snapshot show` lists them"));
  }
  const SurvivalCurve curve(log->evidence().Together(), {});
  const double threshold = ThresholdFor(*options);
  if (globals.json) {
    PrintJson({{"snapshot", log->sequence()},
               {"time", UtcText(log->stamp())},
               {"evictions", log->evidence().effective_evictions()},
               {"t_alive_us", curve.AgeOf(0.99).count()},
               {"mean_life_us", curve.MeanLife().count()},
               {"t_dead_us", curve.AgeOf(0.01).count()},
               {"threshold", threshold},
               {"curve", AgesOf(curve)},
               {"groups", GroupsOf(curve)},
               {"cohort", cohort.objects()},
               {"observed", ObservedOf(cohort, curve)}});
  } else {
    PrintCurve(*log, curve, threshold);
    PrintCohort(curve, cohort);
  }
  if (arguments.svg.empty()) return kOk;
  const Status written = WriteFile(arguments.svg, Draw(*directory, *log, curve, cohort, threshold));
  return written.ok() ? kOk : Fail(written);
}

}  // namespace holdfast::cli
