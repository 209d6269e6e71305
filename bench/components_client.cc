// SPDX-License-Identifier: Apache-2.0
#include "bench/components_client.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <map>

#include "bench/components_engine.h"
#include "io/disk/short_slice.h"
#include "io/storage/storage_server.h"

namespace holdfast::bench {
namespace {

constexpr uint64_t kCacheValues = 48 * 1024;
constexpr uint64_t kHotValues = 32 * 1024;  // that the gets with a cache ask for, mostly
constexpr double kHotShare = 0.98;
constexpr uint32_t kFetchesInFlight = 64;
constexpr size_t kGetsAtOnce = 256;

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double CpuOf(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

// Of a process that was forked: it ends with its parent, too. A core is its own: other processes of a
// crowded machine wait, where that is permitted. The storage server goes before a client on its core.
void Pin(int core, int priority) {
  HF_CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
  const sched_param own{.sched_priority = priority};
  if (sched_setscheduler(0, SCHED_FIFO, &own) != 0) disk::AskForShortSlice();
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  HF_CHECK(sched_setaffinity(0, sizeof(set), &set) == 0);
}

// Times in microseconds, by their logarithm: to within 2 %.
class Latencies {
 public:
  void Add(double us, uint64_t count = 1) {
    const double place = std::log2(std::max(us, 0.01) / 0.01) * kPerOctave;
    counts_[std::min(static_cast<size_t>(place), counts_.size() - 1)] += count;
    total_ += count;
  }
  double At(double share) const {
    auto left = static_cast<uint64_t>(share * static_cast<double>(total_));
    for (size_t i = 0; i < counts_.size(); ++i) {
      if (left < counts_[i]) return 0.01 * std::exp2((static_cast<double>(i) + 0.5) / kPerOctave);
      left -= counts_[i];
    }
    return 0;
  }

 private:
  static constexpr double kPerOctave = 32;
  std::array<uint64_t, 1200> counts_{};
  uint64_t total_ = 0;
};

class Client {
 public:
  explicit Client(const ComponentsSpec& spec)
      : spec_(spec), loop_(*net::EventLoop::Create()), random_(spec.node) {}

  Outcome Run(Work work, Duration span) {
    Prepare(work);
    latencies_ = {};
    operations_ = hits_ = 0;
    const store::FallbackMover::Counters moves = engine_->stats().moves;
    const double kept = KeptMb(), cpu = CpuOf(CLOCK_PROCESS_CPUTIME_ID), began = Now();
    end_ = began + static_cast<double>(span.count()) / 1e6;
    if (work == Work::kPuts || work == Work::kPutsAndReclaim) {
      for (uint32_t i = 0; i < spec_.in_flight; ++i) Put();
    } else {
      cached_ = work == Work::kCachedGets;
      loop_->Post([this] { Get(); });
    }
    ending_ = false;
    loop_->Run();
    const double seconds = Now() - began;
    Outcome outcome{.operations = operations_,
                    .seconds = seconds,
                    .p95_us = latencies_.At(0.95),
                    .p99_us = latencies_.At(0.99),
                    .p999_us = latencies_.At(0.999),
                    .cpu_s = CpuOf(CLOCK_PROCESS_CPUTIME_ID) - cpu,
                    .hits = static_cast<double>(hits_) / static_cast<double>(operations_)};
    outcome.kept_mb = KeptMb() - kept;
    outcome.moves_here = engine_->stats().moves.here - moves.here;
    outcome.moves_elsewhere = engine_->stats().moves.elsewhere - moves.elsewhere;
    return outcome;
  }

 private:
  // A store of 8 GiB is not filled by the rounds; one of 512 MiB is before them, so that what comes
  // has to be made room for.
  void Prepare(Work work) {
    const bool puts = work == Work::kPuts, reclaim = work == Work::kPutsAndReclaim;
    const int which = puts ? 0 : reclaim ? 1 : 2;
    std::unique_ptr<Engine>& engine = engines_[static_cast<size_t>(which)];
    engine_ = engine.get();
    if (engine_ != nullptr) return;
    EngineSpec spec{.directory = spec_.directory + "/" + std::to_string(which),
                    .storage = spec_.storage,
                    .reclaim = spec_.reclaim,
                    .node = static_cast<NodeId>(spec_.node + static_cast<uint32_t>(which)),
                    .segments = puts      ? 128u
                                : reclaim ? 64u
                                          : 128u,
                    .segment_bytes = puts      ? 64 * kMiB
                                     : reclaim ? 8 * kMiB
                                               : 8 * kMiB,
                    .objects = puts ? 8'000'000u : 2'000'000u};
    if (reclaim) spec.looked_at = 1.0 / 16;
    if (which == 2) spec.cached_values = kCacheValues;
    std::filesystem::create_directories(spec.directory);
    engine = std::make_unique<Engine>(loop_.get(), spec);
    engine_ = engine.get();
    next_ = 0;
    if (reclaim) Fill(64 * 8 * 1024);
    if (which == 2) Fill(spec_.objects);
    if (which == 2) Warm();
  }
  void Fill(uint64_t values) {
    fill_until_ = values;
    end_ = INFINITY;
    for (uint32_t i = 0; i < spec_.in_flight; ++i) Put();
    loop_->Run();
    engine_->Flush();
    while (!engine_->flushed()) {
      loop_->At(loop_->Now() + 1ms, [this] { loop_->Stop(); });
      loop_->Run();
    }
    fill_until_ = UINT64_MAX;
    ending_ = false;
  }
  void Warm() {
    for (uint64_t index = 0; index < kHotValues; ++index) {
      engine_->Fetch(index, true, [this] { loop_->Stop(); });
      loop_->Run();
    }
  }
  double KeptMb() const { return static_cast<double>(engine_->stats().reclaim.kept_bytes) / 1e6; }

  // One of in_flight chains of puts.
  void Put() {
    const double now = Now();
    if (now >= end_ || next_ >= fill_until_) {
      ending_ = true;
      if (puts_ == 0) loop_->Stop();
      return;
    }
    if (engine_->stalled()) {
      if (waiting_++ == 0) loop_->At(loop_->Now() + 200us, [this] { GoOn(); });
      return;
    }
    ++puts_;
    engine_->Put(next_++, [this, now] {
      --puts_;
      ++operations_;
      latencies_.Add((Now() - now) * 1e6);
      Put();
    });
  }

  // The chains that found the engine stalled; each on a timer of its own took the core from its disk.
  void GoOn() {
    for (uint32_t n = std::exchange(waiting_, 0); n > 0; --n) Put();
  }

  // Gets one after the other, but for those that wait for the segments.
  void Get() {
    if (Now() >= end_) {
      ending_ = true;
      if (fetches_ == 0) loop_->Stop();
      return;
    }
    getting_ = false;
    for (size_t i = 0; i < kGetsAtOnce; ++i) {
      if (fetches_ >= kFetchesInFlight) return;  // the next that ends goes on
      const double now = Now();
      const uint64_t index = NextIndex();
      if (cached_ && engine_->GetCached(index)) {
        ++hits_;
        ++operations_;
        latencies_.Add((Now() - now) * 1e6);
        continue;
      }
      ++fetches_;
      engine_->Fetch(index, cached_, [this, now] {
        --fetches_;
        ++operations_;
        latencies_.Add((Now() - now) * 1e6);
        if (ending_ && fetches_ == 0) return loop_->Stop();
        if (!ending_) GetLater();
      });
    }
    GetLater();
  }
  void GetLater() {
    if (std::exchange(getting_, true)) return;
    loop_->Post([this] { Get(); });
  }
  uint64_t NextIndex() {
    if (!cached_) return random_.Below(spec_.objects);
    return random_.Unit() < kHotShare ? random_.Below(kHotValues)
                                      : kHotValues + random_.Below(spec_.objects - kHotValues);
  }

  ComponentsSpec spec_;
  std::unique_ptr<net::EventLoop> loop_;
  Random random_;
  std::array<std::unique_ptr<Engine>, 3> engines_;  // by what is done with them
  Engine* engine_ = nullptr;
  Latencies latencies_;
  uint64_t operations_ = 0, hits_ = 0;
  uint64_t next_ = 0, fill_until_ = UINT64_MAX;
  uint64_t puts_ = 0;
  uint32_t waiting_ = 0;  // chains of puts
  uint32_t fetches_ = 0;
  double end_ = 0;
  bool cached_ = false, ending_ = false, getting_ = false;
};

struct Command {
  Work work;
  int64_t span_us;
};

template <typename T>
bool ReadWhole(int fd, T* into) {
  return ::read(fd, into, sizeof(T)) == static_cast<ssize_t>(sizeof(T));
}

template <typename T>
void WriteWhole(int fd, const T& from) {
  HF_CHECK(::write(fd, &from, sizeof(T)) == static_cast<ssize_t>(sizeof(T)));
}

void ServeCommands(const ComponentsSpec& spec, int from, int to) {
  Pin(spec.core, 1);
  Client client(spec);
  Command command{};
  while (ReadWhole(from, &command) && command.work != Work::kEnd)
    WriteWhole(to, client.Run(command.work, Duration(command.span_us)));
}

}  // namespace

ClientProcess::ClientProcess(const ComponentsSpec& spec) {
  int down[2], up[2];
  HF_CHECK(::pipe2(down, O_CLOEXEC) == 0 && ::pipe2(up, O_CLOEXEC) == 0);
  pid_ = ::fork();
  HF_CHECK(pid_ >= 0);
  if (pid_ == 0) {
    ::close(down[1]), ::close(up[0]);
    ServeCommands(spec, down[0], up[1]);
    ::_exit(0);
  }
  ::close(down[0]), ::close(up[1]);
  to_ = down[1], from_ = up[0];
}

ClientProcess::~ClientProcess() {
  ::close(to_);
  ::close(from_);
  ::waitpid(pid_, nullptr, 0);
}

void ClientProcess::Begin(Work work, Duration span) {
  WriteWhole(to_, Command{work, span.count()});
}

Outcome ClientProcess::Await() {
  Outcome outcome;
  HF_CHECK(ReadWhole(from_, &outcome));
  return outcome;
}

StorageProcess::StorageProcess(const std::string& directory, int core) {
  int up[2];
  HF_CHECK(::pipe2(up, O_CLOEXEC) == 0);
  pid_ = ::fork();
  HF_CHECK(pid_ >= 0);
  if (pid_ == 0) {
    Pin(core, 2);
    auto loop = *net::EventLoop::Create();
    storage::StorageServerOptions options{.endpoint = "tcp://127.0.0.1:0", .cluster = "bench"};
    if (!directory.empty())
      options.stores = storage::StoresOptions{.directory = directory, .limit = 1024 * kGiB};
    auto server = storage::StorageServer::Start(loop.get(), std::move(options));
    HF_CHECK(server.ok());
    std::array<char, 64> endpoint{};
    std::copy_n((*server)->endpoint().data(), (*server)->endpoint().size(), endpoint.data());
    WriteWhole(up[1], endpoint);
    loop->Run();
    ::_exit(0);
  }
  ::close(up[1]);
  std::array<char, 64> endpoint{};
  HF_CHECK(ReadWhole(up[0], &endpoint));
  ::close(up[0]);
  endpoint_ = endpoint.data();
}

StorageProcess::~StorageProcess() {
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

double StorageProcess::CpuSeconds() const {
  clockid_t clock;
  HF_CHECK(clock_getcpuclockid(pid_, &clock) == 0);
  return CpuOf(clock);
}

}  // namespace holdfast::bench
