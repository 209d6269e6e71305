// SPDX-License-Identifier: Apache-2.0
// The simulated world: events in the order (time, sequence), the processes that they belong to, the
// trace, and the first thing that went wrong. One thread. Everything random comes from streams
// named by purpose and seeded by the seed.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "base/random.h"
#include "base/units.h"
#include "tests/sim/faults.h"

namespace holdfast::sim {

// A process of the simulation; never used again after its death. kWorld owns what no process does.
using ProcessId = uint32_t;
constexpr ProcessId kWorld = 0;

// How a run ended: also the exit code of `sim --seed`.
enum class Verdict : uint8_t { kOk = 0, kWrong = 1, kStuck = 2, kCrash = 3 };

// XXH3-64 over everything that can be seen: deliveries, far requests, reads. Equal seeds have equal
// traces.
class Trace {
 public:
  void Note(Time now, std::string_view what, std::initializer_list<uint64_t> numbers);
  // Prints a line that is not part of the hash, when printing.
  void Say(Time now, std::string_view line) const;
  void PrintTo(std::FILE* out) { out_ = out; }
  bool printing() const { return out_ != nullptr; }
  uint64_t Digest() const { return hasher_.Digest(); }

 private:
  Hasher64 hasher_;
  std::FILE* out_ = nullptr;
};

class World {
 public:
  explicit World(uint64_t seed);
  World(const World&) = delete;

  uint64_t seed() const { return seed_; }
  Time now() const { return now_; }
  uint64_t events() const { return events_; }
  Faults& faults() { return faults_; }
  Trace& trace() { return trace_; }
  void Note(std::string_view what, std::initializer_list<uint64_t> numbers) {
    trace_.Note(now_, what, numbers);
  }
  Random Stream(std::string_view purpose) const {
    return Random(Mix64(seed_) ^ Hash64(AsBytes(purpose)));
  }

  ProcessId Spawn(std::string name);
  // From now on nothing that belongs to the process runs. Call it from the world's events only: a
  // process does not end in the middle of its own step.
  void Kill(ProcessId process);
  bool alive(ProcessId process) const { return processes_[process].alive; }
  const std::string& NameOf(ProcessId process) const { return processes_[process].name; }
  // What belongs to the process waits, in order, until `duration` has passed.
  void Pause(ProcessId process, Duration duration);
  bool paused(ProcessId process) const { return processes_[process].blocked_until > now_; }
  // The step that runs takes this much longer: the process's next one waits for it.
  void Spend(ProcessId process, Duration duration) { processes_[process].spent += duration; }
  Duration Spent(ProcessId process) const { return processes_[process].spent; }

  void At(Time when, ProcessId owner, std::function<void()> run);
  void After(Duration delay, ProcessId owner, std::function<void()> run) {
    At(now_ + delay, owner, std::move(run));
  }
  // Runs the next event. False when there is none, or when something went wrong.
  bool Step();

  // The first call decides how the run ended. `invariant` is a short name of what does not hold.
  void Fail(Verdict verdict, std::string_view invariant, std::string text);
  void Violate(std::string_view invariant, std::string text) {
    Fail(Verdict::kWrong, invariant, std::move(text));
  }
  Verdict verdict() const { return verdict_; }
  const std::string& failure() const { return failure_; }

 private:
  struct Event {
    ProcessId owner;
    std::function<void()> run;
  };
  struct Process {
    std::string name;
    bool alive = true;
    Time blocked_until{};
    bool wake_scheduled = false;
    Duration spent{};
    std::deque<std::function<void()>> deferred;
  };
  void Run(ProcessId owner, const std::function<void()>& run);
  void Wake(ProcessId process);
  void ScheduleWake(ProcessId process);
  void CountStep(Time when);

  uint64_t seed_;
  Time now_{};
  uint64_t sequence_ = 0;
  uint64_t events_ = 0;
  uint64_t events_at_now_ = 0;
  std::map<std::pair<Time, uint64_t>, Event> queue_;
  std::deque<Process> processes_;
  Faults faults_;
  Trace trace_;
  Verdict verdict_ = Verdict::kOk;
  std::string failure_;
};

}  // namespace holdfast::sim
