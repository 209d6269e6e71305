// SPDX-License-Identifier: Apache-2.0
#include "jobclient/cli/snapshot_cohort.h"

#include <algorithm>
#include <array>
#include <span>

namespace holdfast::cli {
namespace {

using snapshot::AgeCells;
using snapshot::Known;
using snapshot::Print;
using snapshot::Sighting;
using snapshot::SnapshotLog;

// How far ahead of what is looked up the processor is asked for it.
constexpr size_t kAhead = 16;

std::span<const Sighting> Find(const SnapshotLog& log, Print print,
                               std::array<Sighting, Known::kMost>* room) {
  return std::span<const Sighting>(*room).first(log.known().Find(print, *room));
}

}  // namespace

void Cohort::Begin(const SnapshotLog& log) {
  start_ = log.stamp();
  std::vector<Print> prints;
  prints.reserve(log.known().size());
  log.known().ForEach([&](Print print, const Sighting&) { prints.push_back(print); });
  std::sort(prints.begin(), prints.end());
  prints.erase(std::unique(prints.begin(), prints.end()), prints.end());
  objects_ = prints.size();
  // Prints are bits of a hash: every so many-th of them is a fair sample.
  const uint64_t one_in = objects_ / kMostFollowed + 1;
  ages_.resize(AgeCells::kCells);
  std::array<Sighting, Known::kMost> room;
  for (size_t i = 0; i < prints.size(); i += one_in) {
    members_.push_back({.print = prints[i]});
    Duration age{};
    for (const Sighting& s : Find(log, prints[i], &room)) {
      if (!s.held) age = std::max(age, Duration(start_.us - s.written.us));
    }
    ++ages_[AgeCells::CellOf(age)];
  }
}

void Cohort::Saw(const SnapshotLog& log) {
  if (points_.empty() && (log.sequence() < from_ || log.known().size() == 0)) return;
  if (points_.empty()) Begin(log);
  Point point{.snapshot = log.sequence(), .later = Duration(log.stamp().us - start_.us)};
  std::array<Sighting, Known::kMost> room;
  for (size_t i = 0; i < members_.size(); ++i) {
    if (i + kAhead < members_.size()) log.known().Prefetch(members_[i + kAhead].print);
    Member& member = members_[i];
    const std::span<const Sighting> seen = Find(log, member.print, &room);
    if (seen.empty()) {
      member.left = true;
      continue;
    }
    ++point.listed;
    const bool younger = std::all_of(seen.begin(), seen.end(),
                                     [&](const Sighting& s) { return s.written > start_; });
    point.back += member.left;
    point.renewed += !member.left && younger;
  }
  points_.push_back(point);
}

double Cohort::Expected(const snapshot::SurvivalCurve& curve, Duration later) const {
  double sum = 0;
  for (uint32_t cell = 0; cell < ages_.size(); ++cell) {
    if (ages_[cell] == 0) continue;
    const Duration age = AgeCells::StartOf(cell);
    sum += static_cast<double>(ages_[cell]) * curve.Mean(age + later, age);
  }
  return members_.empty() ? 0 : sum / static_cast<double>(members_.size());
}

}  // namespace holdfast::cli
