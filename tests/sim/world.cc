// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/world.h"

#include <cinttypes>
#include <cstdio>

namespace holdfast::sim {
namespace {

// Steps at one instant beyond which something runs in circles.
constexpr uint64_t kMaxStepsPerInstant = 2'000'000;

}  // namespace

void Trace::Note(Time now, std::string_view what, std::initializer_list<uint64_t> numbers) {
  hasher_.Update(AsBytes(what));
  uint64_t head[2] = {static_cast<uint64_t>(now.us), numbers.size()};
  hasher_.Update(std::as_bytes(std::span(head)));
  hasher_.Update(std::as_bytes(std::span(numbers.begin(), numbers.size())));
  if (out_ == nullptr) return;
  std::fprintf(out_, "%12.6f %.*s", static_cast<double>(now.us) / 1e6,
               static_cast<int>(what.size()), what.data());
  for (uint64_t n : numbers) {
    if (n < 10'000'000) {
      std::fprintf(out_, " %" PRIu64, n);
    } else {
      std::fprintf(out_, " %" PRIx64, n);
    }
  }
  std::fputc('\n', out_);
}

void Trace::Say(Time now, std::string_view line) const {
  if (out_ == nullptr) return;
  std::fprintf(out_, "%12.6f -- %.*s\n", static_cast<double>(now.us) / 1e6,
               static_cast<int>(line.size()), line.data());
}

World::World(uint64_t seed) : seed_(seed), faults_(seed) { Spawn("world"); }

ProcessId World::Spawn(std::string name) {
  processes_.push_back({.name = std::move(name), .alive = true, .deferred = {}});
  return static_cast<ProcessId>(processes_.size() - 1);
}

void World::Kill(ProcessId process) {
  HF_CHECK(process != kWorld && processes_[process].alive);
  processes_[process].alive = false;
  // What was deferred may own views and buffers; it goes now, while what they refer to is there.
  processes_[process].deferred.clear();
  for (auto it = queue_.begin(); it != queue_.end();) {
    it = it->second.owner == process ? queue_.erase(it) : std::next(it);
  }
}

void World::Pause(ProcessId process, Duration duration) {
  Process& p = processes_[process];
  p.blocked_until = std::max(p.blocked_until, now_ + duration);
}

void World::At(Time when, ProcessId owner, std::function<void()> run) {
  if (!processes_[owner].alive) return;
  queue_.emplace(std::pair(std::max(when, now_), ++sequence_), Event{owner, std::move(run)});
}

void World::CountStep(Time when) {
  events_at_now_ = when == now_ ? events_at_now_ + 1 : 0;
  now_ = when;
  ++events_;
  if (events_at_now_ > kMaxStepsPerInstant) {
    Fail(Verdict::kStuck, "time-moves", "too many steps at one instant");
  }
}

bool World::Step() {
  if (queue_.empty() || verdict_ != Verdict::kOk) return false;
  auto node = queue_.extract(queue_.begin());
  CountStep(node.key().first);
  ProcessId owner = node.mapped().owner;
  Process& p = processes_[owner];
  if (p.blocked_until > now_ || !p.deferred.empty()) {
    p.deferred.push_back(std::move(node.mapped().run));
    ScheduleWake(owner);
  } else {
    Run(owner, node.mapped().run);
  }
  return verdict_ == Verdict::kOk;
}

void World::Run(ProcessId owner, const std::function<void()>& run) {
  Process& p = processes_[owner];
  run();
  if (p.spent.count() > 0) {
    p.blocked_until = std::max(p.blocked_until, now_ + p.spent);
    p.spent = Duration(0);
  }
}

void World::ScheduleWake(ProcessId process) {
  Process& p = processes_[process];
  if (p.wake_scheduled) return;
  p.wake_scheduled = true;
  // The wake-up is the world's own event, so that it is not deferred itself.
  At(p.blocked_until, kWorld, [this, process] { Wake(process); });
}

void World::Wake(ProcessId process) {
  Process& p = processes_[process];
  p.wake_scheduled = false;
  while (p.alive && !p.deferred.empty() && p.blocked_until <= now_ && verdict_ == Verdict::kOk) {
    std::function<void()> run = std::move(p.deferred.front());
    p.deferred.pop_front();
    Run(process, run);
  }
  if (p.alive && !p.deferred.empty()) ScheduleWake(process);
}

void World::Fail(Verdict verdict, std::string_view invariant, std::string text) {
  if (verdict_ != Verdict::kOk) return;
  verdict_ = verdict;
  char head[96];
  std::snprintf(head, sizeof(head), " (event %" PRIu64 ", %.6f s): ", events_,
                static_cast<double>(now_.us) / 1e6);
  failure_ = std::string(invariant) + head + std::move(text);
  trace_.Say(now_, failure_);
}

}  // namespace holdfast::sim
