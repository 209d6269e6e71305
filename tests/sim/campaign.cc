// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/campaign.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <map>
#include <type_traits>
#include <vector>

namespace holdfast::sim {
namespace {

static_assert(std::is_trivially_copyable_v<RunReport>, "it travels through a pipe");

std::string_view NameOf(Verdict verdict) {
  constexpr std::string_view kNames[] = {"ok", "wrong", "stuck", "crash"};
  return kNames[static_cast<size_t>(verdict)];
}

// A crash tells the most, then wrong, then stuck.
int Weight(Verdict verdict) {
  constexpr int kWeights[] = {0, 2, 1, 3};
  return kWeights[static_cast<size_t>(verdict)];
}

struct Child {
  pid_t pid = 0;
  uint64_t seed = 0;
  bool second = false;
  int pipe = -1;
  std::string received;  // a RunReport, then the failure's text
};

struct Outcome {
  RunReport report;
  std::string failure;
};

void WriteAll(int fd, const void* data, size_t size) {
  auto* at = static_cast<const char*>(data);
  while (size > 0) {
    ssize_t n = write(fd, at, size);
    if (n <= 0) _exit(static_cast<int>(Verdict::kCrash));
    at += n;
    size -= static_cast<size_t>(n);
  }
}

Child StartChild(uint64_t seed, bool second, uint32_t seconds) {
  int ends[2];
  HF_CHECK(pipe2(ends, O_CLOEXEC) == 0);
  std::fflush(stdout);
  pid_t pid = fork();
  HF_CHECK(pid >= 0);
  if (pid == 0) {
    close(ends[0]);
    // Of the processor's time: a machine that is busy, or stopped, makes no run stuck.
    itimerval limit{.it_interval = {}, .it_value = {.tv_sec = seconds, .tv_usec = 0}};
    HF_CHECK(setitimer(ITIMER_PROF, &limit, nullptr) == 0);
    std::string failure;
    RunReport report;
    {
      Cluster cluster(seed, nullptr);
      report = cluster.Run();
      failure = cluster.world().failure();
    }
    WriteAll(ends[1], &report, sizeof(report));
    WriteAll(ends[1], failure.data(), failure.size());
    _exit(0);
  }
  close(ends[1]);
  return {.pid = pid, .seed = seed, .second = second, .pipe = ends[0], .received = {}};
}

Outcome Reap(const Child& child) {
  int status = 0;
  waitpid(child.pid, &status, 0);
  close(child.pipe);
  Outcome outcome;
  outcome.report.seed = child.seed;
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGPROF) {
    outcome.report.verdict = Verdict::kStuck;
    outcome.failure = "no end within its time of the processor";
  } else if (child.received.size() < sizeof(RunReport)) {
    outcome.report.verdict = Verdict::kCrash;
    outcome.failure = WIFSIGNALED(status) ? "signal " + std::to_string(WTERMSIG(status))
                                          : "exit code " + std::to_string(WEXITSTATUS(status));
  } else {
    std::memcpy(static_cast<void*>(&outcome.report), child.received.data(), sizeof(RunReport));
    outcome.failure = child.received.substr(sizeof(RunReport));
  }
  return outcome;
}

class Campaign {
 public:
  explicit Campaign(const CampaignOptions& options) : options_(options) {
    if (!options_.list.empty()) options_.seeds = options_.list.size();
  }

  Verdict Run() {
    uint64_t total = options_.seeds * (options_.twice ? 2 : 1);
    for (uint64_t started = 0; started < total || !children_.empty();) {
      bool more = started < total && failures_ < options_.max_failures;
      if (!more && children_.empty()) break;
      if (more && children_.size() < options_.jobs) {
        uint64_t number = started / (options_.twice ? 2 : 1);
        uint64_t seed = options_.list.empty() ? options_.first + number : options_.list[number];
        children_.push_back(
            StartChild(seed, options_.twice && started % 2 == 1, options_.run_seconds));
        ++started;
      } else {
        Wait();
      }
    }
    Print();
    return worst_;
  }

 private:
  void Wait() {
    std::vector<pollfd> polls;
    for (const Child& child : children_)
      polls.push_back({.fd = child.pipe, .events = POLLIN, .revents = 0});
    if (poll(polls.data(), polls.size(), -1) < 0) return;
    for (size_t i = polls.size(); i-- > 0;) {
      if (polls[i].revents == 0) continue;
      char bytes[4096];
      ssize_t n = read(children_[i].pipe, bytes, sizeof(bytes));
      if (n > 0) {
        children_[i].received.append(bytes, static_cast<size_t>(n));
      } else {
        Ended(children_[i]);
        children_.erase(children_.begin() + static_cast<ptrdiff_t>(i));
      }
    }
  }

  void Ended(const Child& child) {
    Outcome outcome = Reap(child);
    if (outcome.report.verdict == Verdict::kOk) CompareTraces(&outcome);
    if (outcome.report.verdict != Verdict::kOk) Fail(outcome);
    Add(outcome.report);
    ++runs_;
    if (runs_ % 50 == 0) {
      std::printf("%" PRIu64 " runs\n", runs_);
      std::fflush(stdout);
    }
  }

  void CompareTraces(Outcome* outcome) {
    auto [it, fresh] = traces_.emplace(outcome->report.seed, outcome->report.trace);
    if (fresh || it->second == outcome->report.trace) return;
    outcome->report.verdict = Verdict::kWrong;
    outcome->failure = "same-seed-same-trace: two runs of this seed differ";
  }

  void Fail(const Outcome& outcome) {
    if (Weight(outcome.report.verdict) > Weight(worst_)) worst_ = outcome.report.verdict;
    if (!failed_.emplace(outcome.report.seed, true).second) return;  // the second run of the same
    ++failures_;
    std::printf("seed %" PRIu64 ": %s: %s\n  replay: %s --seed %" PRIu64 " --trace\n",
                outcome.report.seed, std::string(NameOf(outcome.report.verdict)).c_str(),
                outcome.failure.c_str(), options_.replay.c_str(), outcome.report.seed);
    std::fflush(stdout);
  }

  void Add(const RunReport& report);
  void Print();

  CampaignOptions options_;
  std::vector<Child> children_;
  std::map<uint64_t, uint64_t> traces_;
  std::map<uint64_t, bool> failed_;
  RunReport sum_;
  uint64_t runs_ = 0;
  uint64_t faultless_ = 0;
  uint32_t failures_ = 0;
  double worst_refetch_ = 0;
  Verdict worst_ = Verdict::kOk;
};

void AddReads(const ReadCounts& from, ReadCounts* to) {
  to->reads += from.reads;
  to->local += from.local;
  to->views += from.views;
  to->peer += from.peer;
  to->through_home += from.through_home;
  to->far += from.far;
  to->own_disk += from.own_disk;
  to->failed += from.failed;
  to->chunks += from.chunks;
}

void Campaign::Add(const RunReport& report) {
  for (size_t k = 0; k < kFaultKinds; ++k) sum_.faults[k] += report.faults[k];
  AddReads(report.reads, &sum_.reads);
  sum_.dynamic += report.dynamic;
  sum_.streams += report.streams;
  sum_.spill += report.spill;
  sum_.events += report.events;
  sum_.messages += report.messages;
  sum_.simulated_s += report.simulated_s;
  sum_.promises.promised += report.promises.promised;
  sum_.promises.looks += report.promises.looks;
  sum_.promises.here += report.promises.here;
  sum_.promises.below += report.promises.below;
  sum_.promises.carried += report.promises.carried;
  sum_.dropped_objects += report.dropped_objects;
  sum_.moved_bytes += report.moved_bytes;
  sum_.grants += report.grants;
  sum_.visits.looks += report.visits.looks;
  sum_.visits.found += report.visits.found;
  sum_.visits.fetched += report.visits.fetched;
  sum_.visits.views += report.visits.views;
  sum_.planned_objects += report.planned_objects;
  sum_.covered_objects += report.covered_objects;
  sum_.far_gets += report.far_gets;
  sum_.distinct_objects += report.distinct_objects;
  sum_.deepest_queue = std::max(sum_.deepest_queue, report.deepest_queue);
  if (report.distinct_objects > 0) {
    worst_refetch_ = std::max(worst_refetch_, static_cast<double>(report.far_gets) /
                                                  static_cast<double>(report.distinct_objects));
  }
  faultless_ += report.faultless ? 1 : 0;
}

bool PrintSpill(const SpillCounts& spill) {
  std::printf("spill-over: guests %" PRIu64 ", of them on disks %" PRIu64 "; read %" PRIu64
              " times, kept %" PRIu64 ", given up %" PRIu64 "; homes sent there %" PRIu64
              " times; lifted from disks %" PRIu64 "\n",
              spill.guests, spill.disk_guests, spill.reads, spill.kept, spill.given_up, spill.sent,
              spill.lifted);
  return spill.guests > spill.disk_guests && spill.disk_guests > 0 && spill.reads > 0 &&
         spill.kept > 0 && spill.given_up > 0 && spill.sent > 0;
}

double Share(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

void Campaign::Print() {
  std::printf("\nfault                   times\n");
  bool all_fired = true;
  for (size_t k = 0; k < kFaultKinds; ++k) {
    std::string name(sim::NameOf(static_cast<Fault>(k)));
    std::printf("%-22s %7" PRIu64 "\n", name.c_str(), sum_.faults[k]);
    all_fired = all_fired && sum_.faults[k] > 0;
  }
  const ReadCounts& reads = sum_.reads;
  std::printf("\nruns %" PRIu64 " (%" PRIu64 " without faults), events %" PRIu64
              ", messages %" PRIu64 ", simulated %.0f s\n",
              runs_, faultless_, sum_.events, sum_.messages, sum_.simulated_s);
  std::printf(
      "reads %" PRIu64 ", %.1f %% of chunks: local %.1f %%, views %.1f %%, own disk %" PRIu64
      ", peers %.1f %%, through home %.1f %%, far %.1f %%, "
      "refused by the far store %.2f %%\n",
      reads.reads, 100 * Share(reads.chunks, reads.reads), 100 * Share(reads.local, reads.reads),
      100 * Share(reads.views, reads.reads), reads.own_disk, 100 * Share(reads.peer, reads.reads),
      100 * Share(reads.through_home, reads.reads), 100 * Share(reads.far, reads.reads),
      100 * Share(reads.failed, reads.reads));
  std::printf(
      "planned %" PRIu64 ", covered %.1f %%; promised %" PRIu64 ", looked at %" PRIu64
      " times, loaded %.1f %%, %.1f %% on a disk alone; still promised after a restart %" PRIu64
      "\n",
      sum_.planned_objects, 100 * Share(sum_.covered_objects, sum_.planned_objects),
      sum_.promises.promised, sum_.promises.looks,
      100 * Share(sum_.promises.here, sum_.promises.looks),
      100 * Share(sum_.promises.below, sum_.promises.looks), sum_.promises.carried);
  std::printf("reclaim dropped %" PRIu64 " objects and moved %" PRIu64 " bytes; homes gave %" PRIu64
              " grants\n",
              sum_.dropped_objects, sum_.moved_bytes, sum_.grants);
  std::printf("local look-ups of visitors %" PRIu64 ", copies %" PRIu64 ", views %" PRIu64
              ", fetched for them %" PRIu64 "\n",
              sum_.visits.looks, sum_.visits.found, sum_.visits.views, sum_.visits.fetched);
  std::printf("far gets per distinct object %.3f, worst seed %.3f; deepest queue %u\n",
              Share(sum_.far_gets, sum_.distinct_objects), worst_refetch_, sum_.deepest_queue);
  all_fired = sim::Print(sum_.dynamic) && reads.chunks > 0 && all_fired;
  all_fired = sim::Print(sum_.streams) && all_fired;
  all_fired = PrintSpill(sum_.spill) && all_fired;
  if (options_.seeds >= kEnoughSeeds && failures_ == 0 && !all_fired) {
    std::printf("a kind of fault or a way to read never fired: nothing was tested about it\n");
    worst_ = Verdict::kWrong;
  }
  std::printf("%s: %u of %" PRIu64 " seeds failed\n", std::string(NameOf(worst_)).c_str(),
              failures_, static_cast<uint64_t>(traces_.size() + failures_));
}

}  // namespace

Verdict RunCampaign(const CampaignOptions& options) { return Campaign(options).Run(); }

Verdict RunSeed(uint64_t seed, bool trace) {
  Cluster cluster(seed, trace ? stdout : nullptr);
  RunReport report = cluster.Run();
  for (size_t k = 0; k < kFaultKinds; ++k) {
    if (report.faults[k] == 0) continue;
    std::printf("%-22s %7" PRIu64 "\n", std::string(sim::NameOf(static_cast<Fault>(k))).c_str(),
                report.faults[k]);
  }
  std::printf("seed %" PRIu64 ": %s, trace %016" PRIx64 ", %" PRIu64
              " events, %.1f simulated s, %" PRIu64 " reads%s%s\n",
              seed, std::string(NameOf(report.verdict)).c_str(), report.trace, report.events,
              report.simulated_s, report.reads.reads, report.faultless ? ", no faults" : "",
              report.ample ? ", ample" : "");
  std::printf("planned %" PRIu64 ", covered %" PRIu64 "; far gets %" PRIu64 " of %" PRIu64
              " distinct; reads local %" PRIu64 ", views %" PRIu64 ", peers %" PRIu64
              ", through home %" PRIu64 ", far %" PRIu64 "\n",
              report.planned_objects, report.covered_objects, report.far_gets,
              report.distinct_objects, report.reads.local, report.reads.views, report.reads.peer,
              report.reads.through_home, report.reads.far);
  Print(report.streams);
  PrintSpill(report.spill);
  if (report.verdict != Verdict::kOk) std::printf("%s\n", cluster.world().failure().c_str());
  return report.verdict;
}

}  // namespace holdfast::sim
