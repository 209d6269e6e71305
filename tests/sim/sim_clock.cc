// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/sim_clock.h"

#include <algorithm>

namespace holdfast::sim {
namespace {

constexpr Duration kHorizon = std::chrono::hours(24 * 31);

}  // namespace

SimClock::SimClock(World* world, ProcessId process, SimClockOptions options)
    : world_(world),
      process_(process),
      options_(options),
      anchor_world_(world->now()),
      anchor_local_{options.start.count()} {}

Time SimClock::LocalAt(Time world) const {
  int64_t passed = (world - anchor_world_).count();
  return {anchor_local_.us + passed + passed * options_.drift_ppm / 1'000'000};
}

Time SimClock::Peek() const { return LocalAt(world_->now() + world_->Spent(process_)); }

Time SimClock::Now() const {
  if (options_.cost_per_look.count() > 0) world_->Spend(process_, options_.cost_per_look);
  return Peek();
}

WallTime SimClock::Wall() const { return {wall_offset_ + world_->now().us / 1'000'000}; }

Time SimClock::WorldAt(Time local) const {
  Time shown = LocalAt(world_->now());
  if (local <= shown) return world_->now();
  Duration wait = local - shown;
  if (wait > kHorizon) return Time::Max();
  Time world =
      world_->now() + Duration(wait.count() * 1'000'000 / (1'000'000 + options_.drift_ppm));
  while (LocalAt(world) < local) ++world.us;
  return world;
}

void SimClock::At(Time when, std::function<void()> run) {
  timers_.emplace(std::pair(std::max(when, Peek()), ++sequence_), std::move(run));
  Arm();
}

void SimClock::JumpForward(Duration by) {
  anchor_local_ = LocalAt(world_->now()) + by;
  anchor_world_ = world_->now();
  armed_ = Time::Max();
  Arm();
}

void SimClock::Arm() {
  if (timers_.empty()) return;
  Time due = WorldAt(timers_.begin()->first.first);
  if (due >= armed_ || due == Time::Max()) return;
  armed_ = due;
  world_->At(due, process_, [this, alarm = ++alarm_] { Fire(alarm); });
}

void SimClock::Fire(uint64_t alarm) {
  if (alarm != alarm_) return;  // an earlier one was set since
  armed_ = Time::Max();
  // One timer for each event: others that are due go behind what is queued in the world now.
  if (!timers_.empty() && timers_.begin()->first.first <= Peek()) {
    std::function<void()> run = std::move(timers_.begin()->second);
    timers_.erase(timers_.begin());
    run();
  }
  Arm();
}

}  // namespace holdfast::sim
