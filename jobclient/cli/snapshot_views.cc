// SPDX-License-Identifier: Apache-2.0
// holdfast snapshot show | diff | verify: what is in the log. None of them needs a cluster.
#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "jobclient/cli/snapshot_commands.h"
#include "jobclient/cli/snapshot_directory.h"
#include "jobclient/cli/snapshot_text.h"

namespace holdfast::cli {
namespace {

using snapshot::Print;
using snapshot::Sighting;
using snapshot::SnapshotLog;
using snapshot::Stamp;

// --- show ----------------------------------------------------------------------------------------

void PrintFrame(const Globals& globals, const LogFrame& frame, const SnapshotLog& log) {
  const auto answered = static_cast<uint64_t>(std::count_if(
      log.nodes().begin(), log.nodes().end(), [](const auto& node) { return node.answered; }));
  const uint64_t objects = log.known().size(), bytes = frame.header.frame_bytes();
  const char* kind = frame.header.full ? "full" : "difference";
  if (globals.json) {
    PrintJson({{"snapshot", log.sequence()},
               {"time", UtcText(log.stamp())},
               {"kind", kind},
               {"bytes", bytes},
               {"answered", answered},
               {"nodes", log.nodes().size()},
               {"objects", objects},
               {"added", log.added()},
               {"removed", log.removed()},
               {"file", frame.file->path},
               {"offset", frame.offset}});
    return;
  }
  std::printf("%9" PRIu64 "  %s  %-10s  %10s  %5s  %13s  %11s  %11s\n", log.sequence(),
              UtcText(log.stamp()).c_str(), kind, FormatBytes(bytes).c_str(),
              (std::to_string(answered) + "/" + std::to_string(log.nodes().size())).c_str(),
              FormatCount(objects).c_str(), ("+" + FormatCount(log.added())).c_str(),
              ("-" + FormatCount(log.removed())).c_str());
}

void PrintNodes(const Globals& globals, const SnapshotLog& log) {
  for (const SnapshotLog::Node& node : log.nodes()) {
    const bool ever = node.seen != Stamp{};
    if (globals.json) {
      PrintJson({{"node", node.node},
                 {"answered", node.answered},
                 {"seen", ever ? Json(UtcText(node.seen)) : Json(nullptr)},
                 {"objects", node.objects}});
      continue;
    }
    const std::string since = ever ? "at " + UtcText(node.seen) + ", " +
                                         FormatDuration(Since(node.seen, StampNow())) + " ago"
                                   : "never";
    std::printf("node %u: %s objects, %s %s\n", unsigned{node.node},
                FormatCount(node.objects).c_str(),
                node.answered ? "answered" : "absent the last time; answered", since.c_str());
  }
}

// --- diff ----------------------------------------------------------------------------------------

// All sightings, by node and print.
struct State {
  struct Entry {
    uint64_t place = 0;  // node << 40 | print
    int64_t written_us = 0;
    NodeId node() const { return static_cast<NodeId>(place >> 40); }
  };
  std::vector<Entry> entries;

  static State Of(const SnapshotLog& log) {
    State state;
    state.entries.reserve(log.known().size());
    log.known().ForEach([&](Print print, const Sighting& s) {
      state.entries.push_back({uint64_t{s.node} << 40 | print, s.written.us});
    });
    std::sort(state.entries.begin(), state.entries.end(),
              [](const Entry& a, const Entry& b) { return a.place < b.place; });
    return state;
  }
};

struct Change {
  uint64_t added = 0;
  uint64_t removed = 0;
  uint64_t same = 0;
  uint64_t renewed = 0;  // of `same`: younger than it would be
};

std::map<NodeId, Change> ChangesOf(const State& from, const State& to) {
  std::map<NodeId, Change> changes;
  auto a = from.entries.begin();
  auto b = to.entries.begin();
  while (a != from.entries.end() || b != to.entries.end()) {
    if (b == to.entries.end() || (a != from.entries.end() && a->place < b->place)) {
      ++changes[a++->node()].removed;
    } else if (a == from.entries.end() || b->place < a->place) {
      ++changes[b++->node()].added;
    } else {
      ++changes[a->node()].same;
      if (b->written_us > a->written_us) ++changes[a->node()].renewed;
      ++a, ++b;
    }
  }
  return changes;
}

void PrintChange(const std::string& who, const Change& change) {
  std::printf("%s%s added, %s removed, %s the same, %s of them younger than before\n", who.c_str(),
              FormatCount(change.added).c_str(), FormatCount(change.removed).c_str(),
              FormatCount(change.same).c_str(), FormatCount(change.renewed).c_str());
}

}  // namespace

int ShowSnapshots(const Globals& globals, const std::string& log) {
  const Result<std::string> directory = LogDirectoryOf(globals, log);
  if (!directory.ok()) return Fail(directory.status());
  bool titled = globals.json;
  const LogVisitor visitor{.frame =
                               [&](const LogFrame& frame, const SnapshotLog& state) {
                                 if (!std::exchange(titled, true)) {
                                   std::printf("%9s  %-20s  %-10s  %10s  %5s  %13s  %11s  %11s\n",
                                               "snapshot", "time", "kind", "size", "nodes",
                                               "objects", "added", "removed");
                                 }
                                 PrintFrame(globals, frame, state);
                                 return true;
                               },
                           .fault = WarnOf};
  const Result<SnapshotLog> state = ReadLogDirectory(*directory, 0, visitor);
  if (!state.ok()) return Fail(state.status());
  PrintNodes(globals, *state);
  return kOk;
}

int DiffSnapshots(const Globals& globals, const std::string& log, uint64_t from, uint64_t to) {
  const Result<std::string> directory = LogDirectoryOf(globals, log);
  if (!directory.ok()) return Fail(directory.status());
  if (from > to) return Fail(Status::Invalid("FROM is the earlier one of the two snapshots"));
  std::optional<State> first, second;
  uint64_t least = 0, most = 0;
  const LogVisitor visitor{.frame =
                               [&](const LogFrame&, const SnapshotLog& state) {
                                 most = state.sequence();
                                 if (least == 0) least = most;
                                 if (most == from) first = State::Of(state);
                                 if (most == to) second = State::Of(state);
                                 return true;
                               },
                           .fault = WarnOf};
  const Result<SnapshotLog> state = ReadLogDirectory(*directory, 0, visitor);
  if (!state.ok()) return Fail(state.status());
  if (!first || !second) {
    return Fail(Status::NotFound("snapshot " + std::to_string(first ? to : from) +
                                 " is not in the log, which has " + std::to_string(least) + " to " +
                                 std::to_string(most) + "; `holdfast snapshot show` lists them"));
  }
  Change all;
  for (const auto& [node, change] : ChangesOf(*first, *second)) {
    all.added += change.added, all.removed += change.removed;
    all.same += change.same, all.renewed += change.renewed;
    if (globals.json) {
      PrintJson({{"node", node},
                 {"added", change.added},
                 {"removed", change.removed},
                 {"same", change.same},
                 {"renewed", change.renewed}});
    } else {
      PrintChange("node " + std::to_string(node) + ": ", change);
    }
  }
  if (!globals.json) PrintChange("together: ", all);
  return kOk;
}

int VerifySnapshots(const Globals& globals, const std::string& log) {
  const Result<std::string> directory = LogDirectoryOf(globals, log);
  if (!directory.ok()) return Fail(directory.status());
  const Result<std::vector<LogFile>> files = ListLogFiles(*directory);
  if (files.status().code() == Code::kNotFound || (files.ok() && files->empty()))
    return Fail(NoLogIn(*directory));
  if (!files.ok()) return Fail(files.status());
  uint64_t frames = 0, faults = 0, bytes = 0, aside = 0;
  for (const LogFile& file : *files) {
    bytes += file.bytes;
    if (file.damaged) ++aside;
  }
  const LogVisitor visitor{.frame =
                               [&](const LogFrame&, const SnapshotLog&) {
                                 ++frames;
                                 return true;
                               },
                           .fault =
                               [&](const LogFault& fault) {
                                 const bool newest = fault.path == files->back().path;
                                 if (fault.torn && newest && IsBeingWritten(*directory)) return;
                                 ++faults;
                                 if (globals.json) {
                                   PrintJson({{"file", fault.path},
                                              {"offset", fault.offset},
                                              {"fault", fault.status.message()},
                                              {"torn", fault.torn}});
                                 } else {
                                   std::printf("%s\n", fault.Text().c_str());
                                 }
                               }};
  const Status checked = CheckLogFiles(*files, visitor);
  if (!checked.ok()) return Fail(checked);
  if (globals.json) {
    PrintJson({{"files", files->size()},
               {"set_aside", aside},
               {"bytes", bytes},
               {"snapshots", frames},
               {"faults", faults}});
  } else if (!globals.quiet) {
    std::printf("%zu files, %s, %s snapshots: %s\n", files->size(), FormatBytes(bytes).c_str(),
                FormatCount(frames).c_str(),
                faults == 0 ? "no fault" : (FormatCount(faults) + " faults").c_str());
  }
  return faults == 0 ? kOk : kWrong;
}

}  // namespace holdfast::cli
