// SPDX-License-Identifier: Apache-2.0
// Real processes over a node's shared memory: one that loads and reclaims without rest, some that
// read, and this one, which kills, stops and starts them at random. It ends when enough was looked
// up and viewed, and says so with exit code 0 if no byte was wrong, every kind of mischief
// happened, and every segment became free when the readers had let go.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "tests/torture/torture_node.h"
#include "tests/torture/torture_reader.h"
#include "tests/torture/torture_records.h"

namespace holdfast::torture {
namespace {

struct Options {
  uint64_t lookups = 1'000'000;
  uint64_t views = 100'000;
  uint64_t seconds = 0;  // at least this long
  uint64_t seed = 1;
  uint32_t readers = 3;
  bool threads = false;
};

struct Totals {
  uint64_t lookups = 0, hits = 0, views = 0, over_grant = 0, wrong = 0, attached = 0, forked = 0;
};

Totals Sum(const Shared& shared) {
  Totals t;
  for (const ReaderCounters& r : shared.readers) {
    t.lookups += r.lookups, t.hits += r.hits, t.views += r.views, t.over_grant += r.over_grant;
    t.wrong += r.wrong, t.attached += r.attached, t.forked += r.forked;
  }
  return t;
}

class Torture {
 public:
  Torture(const Options& options, Shared* shared, std::string directory)
      : options_(options),
        shared_(shared),
        directory_(std::move(directory)),
        random_(options.seed) {}
  int Run();

 private:
  struct Process {
    std::function<int()> body;
    pid_t pid = 0;
    uint64_t kills = 0;
    uint64_t stops = 0;
  };
  void Start(Process* process);
  void Kill(Process* process);
  void Mischief();
  bool Enough() const;
  // True when nothing has ended by itself.
  bool AllRun();
  bool WaitFor(const char* what, const std::function<bool()>& condition);
  bool End();
  // Prints what happened; false when some kind of mischief never did, because then nothing was
  // shown.
  bool Report() const;
  Process& Node() { return processes_[0]; }

  Options options_;
  Shared* shared_;
  std::string directory_;
  Random random_;
  std::vector<Process> processes_;  // the node, then the readers
};

void Torture::Start(Process* process) {
  process->pid = ::fork();
  if (process->pid == 0) ::_exit(process->body());
}

void Torture::Kill(Process* process) {
  ::kill(process->pid, SIGKILL);
  ::waitpid(process->pid, nullptr, 0);
  ++process->kills;
  Start(process);
}

void Torture::Mischief() {
  ::usleep(static_cast<useconds_t>(5000 + random_.Below(60'000)));
  Process& victim = processes_[random_.Below(1 + options_.readers)];
  uint64_t what = random_.Below(3);
  if (what == 0) return Kill(&victim);
  ::kill(victim.pid, SIGSTOP);
  ++victim.stops;
  ::usleep(static_cast<useconds_t>(random_.Below(20'000)));
  if (what == 1) return Kill(&victim);
  ::kill(victim.pid, SIGCONT);
}

bool Torture::Enough() const {
  Totals t = Sum(*shared_);
  return t.lookups >= options_.lookups && t.views >= options_.views;
}

bool Torture::AllRun() {
  for (Process& process : processes_) {
    int status = 0;
    if (::waitpid(process.pid, &status, WNOHANG) == process.pid) {
      std::fprintf(stderr, "torture: a process ended by itself with status %d\n", status);
      process.pid = 0;
      return false;
    }
  }
  return true;
}

bool Torture::WaitFor(const char* what, const std::function<bool()>& condition) {
  for (int i = 0; i < 20'000; ++i) {
    if (condition()) return true;
    ::usleep(1000);
  }
  std::fprintf(stderr, "torture: %s: %u sessions, %u segments pinned, %u waiting\n", what,
               shared_->node.sessions.load(), shared_->node.pinned_segments.load(),
               shared_->node.waiting_segments.load());
  return false;
}

// Twice: with the readers alive, whose pins must all have been taken away, and without them.
bool Torture::End() {
  const NodeCounters& node = shared_->node;
  auto at_rest = [&] { return node.pinned_segments == 0 && node.waiting_segments == 0; };
  shared_->phase.store(Phase::kLetGo);
  uint64_t seen = node.ticks;
  bool clean = WaitFor("a pin has leaked", [&] { return node.ticks > seen + 2 && at_rest(); });
  shared_->phase.store(Phase::kEnd);
  for (size_t i = 1; i < processes_.size(); ++i) {
    int status = 0;
    ::waitpid(processes_[i].pid, &status, 0);
    clean = clean && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }
  clean = WaitFor("a session has leaked", [&] { return node.sessions == 0 && at_rest(); }) && clean;
  shared_->node_ends.store(true);
  int status = 0;
  ::waitpid(Node().pid, &status, 0);
  return clean && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int Torture::Run() {
  uint64_t starts = 0;  // every start of a process has its own seed
  auto next_seed = [this, &starts] { return options_.seed * 1'000'003 + ++starts; };
  processes_.resize(1 + options_.readers);
  Node().body = [&] { return RunNode(directory_, next_seed() + Node().kills, shared_); };
  for (uint32_t i = 0; i < options_.readers; ++i) {
    Process& reader = processes_[1 + i];
    reader.body = [&, i] {
      uint64_t seed = next_seed() * 31 + i * 1'000'000'007 + reader.kills;
      return RunReader(directory_, seed, shared_, &shared_->readers[i]);
    };
  }
  for (Process& process : processes_) Start(&process);
  Time start = Now();
  Time told = start;
  bool run = true;
  while (run && (!Enough() || Now() - start < Duration(options_.seconds * 1'000'000)) &&
         Sum(*shared_).wrong == 0) {
    Mischief();
    run = AllRun();
    if (Now() - told < 10s) continue;
    told = Now();
    std::printf("%s lookups, %s views\n", FormatCount(Sum(*shared_).lookups).c_str(),
                FormatCount(Sum(*shared_).views).c_str());
    std::fflush(stdout);
  }
  if (!run) {
    for (Process& process : processes_) {
      if (process.pid != 0) ::kill(process.pid, SIGKILL);
    }
    return 1;
  }
  bool clean = End();
  clean = Report() && clean;
  std::printf("took %s\n", FormatDuration(Now() - start).c_str());
  return clean && Sum(*shared_).wrong == 0 ? 0 : 1;
}

bool Torture::Report() const {
  Totals t = Sum(*shared_);
  const NodeCounters& n = shared_->node;
  uint64_t kills = 0, stops = 0;
  for (size_t i = 1; i < processes_.size(); ++i) {
    kills += processes_[i].kills;
    stops += processes_[i].stops;
  }
  std::printf("readers: %s lookups (%s found), %s views, %s over the grant, %s wrong\n",
              FormatCount(t.lookups).c_str(), FormatCount(t.hits).c_str(),
              FormatCount(t.views).c_str(), FormatCount(t.over_grant).c_str(),
              FormatCount(t.wrong).c_str());
  std::printf("         killed %" PRIu64 ", stopped %" PRIu64 ", forked %" PRIu64
              ", attached %" PRIu64 " times\n",
              kills, stops, t.forked, t.attached);
  std::printf("node:    killed %" PRIu64 ", stopped %" PRIu64 ", sessions taken over %" PRIu64
              "; %s records loaded, %s times no room, a segment waited %s times\n",
              processes_[0].kills, processes_[0].stops, n.readopted.load(),
              FormatCount(n.loaded).c_str(), FormatCount(n.no_space).c_str(),
              FormatCount(n.waited).c_str());
  bool all = t.hits != 0 && t.forked != 0 && kills != 0 && stops != 0 && processes_[0].kills != 0 &&
             processes_[0].stops != 0 && n.readopted != 0 && n.dropped != 0 && n.waited != 0;
  if (!all) std::fprintf(stderr, "torture: too short: not everything happened at least once\n");
  return all;
}

// The same without processes: threads over memory of this one, where the thread sanitizer sees both
// sides.
int RunThreads(const Options& options, Shared* shared) {
  store::MemoryTierOptions tiny = TinyTier(options.seed);
  shm::RegionPlan plan = *store::PlanRegion(tiny);
  Buffer region(plan.region_bytes);
  std::memset(region.data(), 0, region.size());
  store::Sessions sessions(plan.segments);
  std::vector<Buffer> memories;
  for (uint32_t i = 0; i < options.readers; ++i) {
    memories.emplace_back(shm::SessionBytes(plan.segments));
    std::memset(memories[i].data(), 0, memories[i].size());
    FormatSession(memories[i].span(), i + 1, plan.segments, tiny.incarnation, 1);
    sessions.Attach(i + 1, memories[i].span());
  }
  auto tier = std::make_unique<store::MemoryTier>(region.span(), plan, tiny, &sessions);
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < options.readers; ++i) {
    threads.emplace_back([&, i] {
      auto reader = *LocalReader::Open(region.view(), memories[i].span());
      ReadLoop loop(reader.get(), options.seed * 100 + i, &shared->readers[i]);
      while (shared->phase.load() == Phase::kRun) loop.Step();
      loop.ReleaseViews();
    });
  }
  Random random(options.seed);
  Time start = Now();
  while (Now() - start < Duration(options.seconds * 1'000'000) ||
         Sum(*shared).lookups < options.lookups || Sum(*shared).views < options.views) {
    Churn churn(tier.get(), random.Next(), &shared->node);
    for (uint64_t steps = random.Below(2000); steps > 0; --steps) churn.Step();
    churn.Rest();
    // A daemon that starts again over the same memory.
    tier = std::make_unique<store::MemoryTier>(region.span(), plan, tiny, &sessions);
    ::usleep(static_cast<useconds_t>(random.Below(1000)));
  }
  shared->phase.store(Phase::kEnd);
  for (std::thread& thread : threads) thread.join();
  tier->Maintain(Now(), 0);
  Totals t = Sum(*shared);
  std::printf("threads: %s lookups (%s found), %s views, %s wrong, %u segments still wait\n",
              FormatCount(t.lookups).c_str(), FormatCount(t.hits).c_str(),
              FormatCount(t.views).c_str(), FormatCount(t.wrong).c_str(),
              tier->Stats().waiting_segments);
  return t.wrong == 0 && tier->Stats().waiting_segments == 0 && t.hits > t.lookups / 10 ? 0 : 1;
}

int Usage() {
  std::fprintf(
      stderr,
      "torture [--lookups N] [--views N] [--seconds N] [--seed N] [--readers N] [--threads]\n"
      "  ends when all of lookups, views and seconds are reached; exit code 0 if all was well\n");
  return 2;
}

int Main(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    std::string flag = argv[i];
    if (flag == "--threads") {
      options.threads = true;
      continue;
    }
    char* end = nullptr;
    uint64_t value = i + 1 < argc ? std::strtoull(argv[++i], &end, 10) : 0;
    if (end == nullptr || *end != '\0') return Usage();
    if (flag == "--lookups")
      options.lookups = value;
    else if (flag == "--views")
      options.views = value;
    else if (flag == "--seconds")
      options.seconds = value;
    else if (flag == "--seed")
      options.seed = value;
    else if (flag == "--readers" && value >= 1 && value <= kMaxReaders)
      options.readers = static_cast<uint32_t>(value);
    else
      return Usage();
  }
  void* memory =
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 1;
  Shared* shared = new (memory) Shared();
  if (options.threads) return RunThreads(options, shared);
  char directory[] = "/dev/shm/holdfast-torture-XXXXXX";
  if (::mkdtemp(directory) == nullptr) {
    std::perror("torture: /dev/shm");
    return 1;
  }
  int result = Torture(options, shared, std::string(directory) + "/node").Run();
  ::rmdir(directory);  // stays when it is not empty, to be looked at
  if (result != 0) {
    std::fprintf(stderr,
                 "torture: FAILED; to see it again: torture --seed %" PRIu64 " --lookups %" PRIu64
                 " --views %" PRIu64 " --readers %u\n",
                 options.seed, options.lookups, options.views, options.readers);
  }
  return result;
}

}  // namespace
}  // namespace holdfast::torture

int main(int argc, char** argv) { return holdfast::torture::Main(argc, argv); }
