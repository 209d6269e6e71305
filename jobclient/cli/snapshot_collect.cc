// SPDX-License-Identifier: Apache-2.0
// holdfast snapshot collect: a snapshot to disk, and then to the nodes; once, or every so often.
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "jobclient/cli/snapshot_commands.h"
#include "jobclient/cli/snapshot_directory.h"
#include "jobclient/cli/snapshot_period.h"
#include "jobclient/cli/snapshot_text.h"
#include "jobclient/client/collector.h"

namespace holdfast::cli {
namespace {

using snapshot::Stamp;

constexpr Duration kLeastPeriod = 1s;

Duration SinceBoot() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::chrono::duration_cast<Duration>(std::chrono::seconds(now.tv_sec) +
                                              std::chrono::nanoseconds(now.tv_nsec));
}

// SIGTERM and SIGINT wait until somebody asks for them. Before any thread is started: threads
// inherit it.
class EndSignals {
 public:
  EndSignals() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGTERM);
    sigaddset(&signals_, SIGINT);
    ::pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  }
  // Waits until then (by SinceBoot), or for one of them: true.
  bool WaitUntil(Duration then) const {
    while (true) {
      const Duration left = std::max(then - SinceBoot(), Duration(0));
      const timespec wait{.tv_sec = static_cast<time_t>(left.count() / 1'000'000),
                          .tv_nsec = static_cast<long>(left.count() % 1'000'000 * 1'000)};
      if (::sigtimedwait(&signals_, nullptr, &wait) > 0) return true;
      if (errno == EAGAIN) return false;
    }
  }

 private:
  sigset_t signals_{};
};

struct Settings {
  Duration deadline{};
  std::optional<Duration> every{};  // 0: the best one; none: once
  DirectoryOptions directory{};
};

Result<Settings> SettingsOf(const Globals& globals, const CollectArguments& arguments,
                            const ClientOptions& options) {
  Settings settings;
  const Result<std::string> directory = LogDirectoryOf(globals, arguments.log);
  if (!directory.ok()) return directory.status();
  const Result<Duration> deadline = DurationOf("--deadline", arguments.deadline, Duration(1ms));
  if (!deadline.ok()) return deadline.status();
  const Result<Duration> keep_for = DurationOf("--keep-for", arguments.keep_for, Duration(0));
  if (!keep_for.ok()) return keep_for.status();
  const Result<uint64_t> max_bytes = ParseBytes(arguments.max_bytes);
  if (!max_bytes.ok()) return max_bytes.status().Annotate("--max-bytes");
  if (arguments.every == "auto") {
    settings.every = Duration(0);
  } else if (arguments.every) {
    const Result<Duration> every = DurationOf("--every", *arguments.every, kLeastPeriod);
    if (!every.ok()) return every.status();
    settings.every = *every;
  }
  settings.deadline = *deadline;
  settings.directory = {.path = *directory,
                        .cluster = snapshot::ClusterHash(options.cluster),
                        .full_every = arguments.full_every,
                        .keep_for = *keep_for,
                        .max_bytes = *max_bytes};
  return settings;
}

std::string Join(const std::vector<NodeId>& nodes) {
  std::string text;
  for (NodeId node : nodes) text += (text.empty() ? "" : ", ") + std::to_string(node);
  return text;
}

// Snapshots of one cluster into one directory.
class Collection {
 public:
  Collection(const Globals& globals, const CollectArguments& arguments, ClientOptions options,
             Settings settings)
      : globals_(globals),
        arguments_(arguments),
        options_(std::move(options)),
        settings_(std::move(settings)),
        basis_{.reads_per_s = arguments.reads_per_s} {}

  // False when another collector is at work there.
  Result<bool> Open() {
    Result<std::unique_ptr<SnapshotDirectory>> directory =
        SnapshotDirectory::Open(settings_.directory, Say);
    HF_RETURN_IF_ERROR(directory.status());
    directory_ = *std::move(directory);
    if (directory_ == nullptr) return false;
    Result<std::unique_ptr<Client>> client = Client::Connect(options_);
    HF_RETURN_IF_ERROR(client.status());
    client_ = *std::move(client);
    return true;
  }

  Status Once() {
    const Duration started = SinceBoot();
    HF_RETURN_IF_ERROR(directory_->Refresh());
    const Stamp now = StampNow(), before = directory_->log()->stamp();
    if (before > now) {
      Say("the clock is " + FormatDuration(Since(now, before)) +
          " behind that of the last snapshot; until it has caught up all snapshots are of that "
          "time. If the clock was wrong then, move " +
          settings_.directory.path + " away: that begins a new log");
    }
    SnapshotCollector collector(client_.get(), directory_->log());
    const Result<Collected> collected =
        collector.Collect(now, settings_.deadline, arguments_.full || directory_->WantsFull());
    HF_RETURN_IF_ERROR(collected.status());
    HF_RETURN_IF_ERROR(directory_->Append(collected->frame));
    const uint32_t have = collector.Broadcast(
        *collected,
        [&] {
          const Result<Buffer> all = directory_->SinceFull();
          const ByteView bytes = all.ok() ? all->view() : ByteView(collected->frame);
          return std::vector<std::byte>(bytes.begin(), bytes.end());
        },
        settings_.deadline);
    if (have < collected->answered) {
      Say(CountOf(collected->answered - have, "node") + " did not take the snapshot");
    }
    Tell(*collected, have);
    Learn(*collected, before, SinceBoot() - started);
    if (const Status retired = directory_->Retire().status(); !retired.ok()) {
      Say(retired.message());  // the snapshot is kept all the same
    }
    return {};
  }

  // The time between two snapshots, by what the last one said.
  Duration Period() const {
    if (*settings_.every > Duration(0)) return *settings_.every;
    const snapshot::PeriodChoice choice =
        PeriodFor(*directory_->log(), options_, basis_, Duration(0));
    if (!globals_.quiet && !globals_.json) std::printf("next %s\n", choice.why.c_str());
    std::fflush(stdout);
    return std::max(choice.period, kLeastPeriod);
  }

 private:
  void Tell(const Collected& collected, uint32_t have) const {
    const snapshot::SnapshotLog& log = *directory_->log();
    if (!collected.absent.empty()) {
      Say("absent from snapshot " + std::to_string(log.sequence()) + ": node " +
          Join(collected.absent) + "; what it held is remembered as it was");
    }
    const uint64_t nodes = collected.answered + collected.absent.size();
    if (globals_.json) {
      PrintJson({{"snapshot", log.sequence()},
                 {"time", UtcText(log.stamp())},
                 {"kind", collected.full ? "full" : "difference"},
                 {"nodes", nodes},
                 {"answered", collected.answered},
                 {"absent", collected.absent},
                 {"objects", collected.objects},
                 {"added", collected.added},
                 {"removed", collected.removed},
                 {"evictions", collected.evictions},
                 {"bytes", collected.frame.size()},
                 {"log_bytes", directory_->bytes()},
                 {"took_us", collected.took.count()},
                 {"have_it", have}});
    } else if (!globals_.quiet) {
      std::printf(
          "%s snapshot %llu, %s: %u of %llu nodes answered, %llu absent; %s objects, %s "
          "added, %s removed; %s in %s; %s %s it\n",
          UtcText(log.stamp()).c_str(), static_cast<unsigned long long>(log.sequence()),
          collected.full ? "full" : "difference", collected.answered,
          static_cast<unsigned long long>(nodes),
          static_cast<unsigned long long>(collected.absent.size()),
          FormatCount(collected.objects).c_str(), FormatCount(collected.added).c_str(),
          FormatCount(collected.removed).c_str(), FormatBytes(collected.frame.size()).c_str(),
          FormatDuration(collected.took).c_str(), CountOf(have, "node").c_str(),
          have == 1 ? "has" : "have");
    }
    std::fflush(stdout);
  }

  void Learn(const Collected& collected, Stamp before, Duration collected_in) {
    const double seconds =
        static_cast<double>(Since(before, directory_->log()->stamp()).count()) / 1e6;
    const bool known = before != Stamp{} && seconds > 0;
    basis_ = {.took = collected.took,
              .collected_in = collected_in,
              .loads_per_s = known ? static_cast<double>(collected.added) / seconds : 0,
              .reads_per_s = arguments_.reads_per_s};
  }

  const Globals& globals_;
  const CollectArguments& arguments_;
  ClientOptions options_;
  Settings settings_;
  std::unique_ptr<SnapshotDirectory> directory_;
  std::unique_ptr<Client> client_;
  PeriodBasis basis_;
};

// What fails is said, and tried again when its time comes or a minute later; the log is as it was.
int CollectEvery(Collection& collection, const EndSignals& signals) {
  constexpr Duration kRetry = 1min;
  Duration next = SinceBoot();
  while (!signals.WaitUntil(next)) {
    const Status status = collection.Once();
    if (!status.ok()) Say(status.message());
    const Duration period = collection.Period();
    // By the time at which this one was due, as long as that is not missed.
    next = std::max(next + (status.ok() ? period : std::min(period, kRetry)), SinceBoot());
  }
  return kOk;
}

// Cron comes again while a slow one, or one that goes on by itself, is at work: then what it came
// for is being done. Who is to go on by itself cannot.
int AtWorkAlready(const Globals& globals, const std::string& directory, bool again) {
  const std::string text = "another collector is at work in " + directory;
  if (again) return Fail(Status::Unavailable(text));
  if (globals.json) {
    PrintJson({{"snapshot", nullptr}, {"why", text}});
  } else if (!globals.quiet) {
    std::printf("%s; nothing to do\n", text.c_str());
  }
  return kOk;
}

}  // namespace

int CollectSnapshots(const Globals& globals, const CollectArguments& arguments) {
  Result<ClientOptions> options = ReadOptions(globals);
  if (!options.ok()) return Fail(options.status());
  Result<Settings> settings = SettingsOf(globals, arguments, *options);
  if (!settings.ok()) return Fail(settings.status());
  if (options->nodes.empty()) return Fail(NoCluster());
  options->attach.clear();  // nodes are asked by messages
  const bool again = settings->every.has_value();
  const std::string directory = settings->directory.path;
  std::optional<EndSignals> signals;
  if (again) signals.emplace();
  Collection collection(globals, arguments, *std::move(options), *std::move(settings));
  const Result<bool> opened = collection.Open();
  if (!opened.ok()) return Fail(opened.status());
  if (!*opened) return AtWorkAlready(globals, directory, again);
  if (again) return CollectEvery(collection, *signals);
  const Status status = collection.Once();
  return status.ok() ? kOk : Fail(status);
}

}  // namespace holdfast::cli
