// SPDX-License-Identifier: Apache-2.0
// The clock of one simulated process: it drifts against the world's time and jumps forward, never
// back; its wall time steps both ways. Looking at it can cost time, so that work that is cut into
// slices is really cut.
#pragma once

#include <functional>
#include <map>
#include <utility>

#include "base/env.h"
#include "tests/sim/world.h"

namespace holdfast::sim {

struct SimClockOptions {
  int64_t drift_ppm = 0;     // local seconds per world second, less 1
  Duration start{};          // what it shows at birth
  Duration cost_per_look{};  // see World::Spend
};

class SimClock : public Clock {
 public:
  SimClock(World* world, ProcessId process, SimClockOptions options);

  Time Now() const override;
  WallTime Wall() const override;
  void At(Time when, std::function<void()> run) override;

  // What it shows now, for checkers: costs nothing.
  Time Peek() const;
  // The first instant of the world's time at which it shows `local`; Time::Max() for what is beyond
  // a month.
  Time WorldAt(Time local) const;
  void JumpForward(Duration by);
  // Of a clock that was never set.
  static WallTime WallAt(Time world) { return {kWallAtStart + world.us / 1'000'000}; }
  void StepWall(int64_t seconds) { wall_offset_ += seconds; }

 private:
  Time LocalAt(Time world) const;
  void Arm();
  void Fire(uint64_t alarm);

  World* world_;
  ProcessId process_;
  SimClockOptions options_;
  Time anchor_world_;
  Time anchor_local_;
  static constexpr int64_t kWallAtStart = 1'800'000'000;
  int64_t wall_offset_ = kWallAtStart;
  uint64_t sequence_ = 0;
  std::map<std::pair<Time, uint64_t>, std::function<void()>> timers_;
  Time armed_ = Time::Max();  // world time of the event that will call Fire
  uint64_t alarm_ = 0;        // number of that event
};

}  // namespace holdfast::sim
