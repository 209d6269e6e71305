// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/world.h"

#include <gtest/gtest.h>

#include "tests/sim/sim_clock.h"

namespace holdfast::sim {
namespace {

TEST(World, EventsAtTheSameTimeRunInTheOrderInWhichTheyWereMade) {
  World world(1);
  std::string order;
  world.At(Time{5}, kWorld, [&] { order += "b"; });
  world.At(Time{3}, kWorld, [&] {
    order += "a";
    world.At(Time{5}, kWorld, [&] { order += "d"; });
  });
  world.At(Time{5}, kWorld, [&] { order += "c"; });
  while (world.Step()) {
  }
  EXPECT_EQ(order, "abcd");
}

TEST(World, TheDeadDoNothing) {
  World world(1);
  ProcessId process = world.Spawn("p");
  int ran = 0;
  world.At(Time{1}, process, [&] { ++ran; });
  world.At(Time{3}, process, [&] { ++ran; });
  world.At(Time{2}, kWorld, [&] { world.Kill(process); });
  while (world.Step()) {
  }
  world.At(Time{4}, process, [&] { ++ran; });
  EXPECT_FALSE(world.Step());
  EXPECT_EQ(ran, 1);
}

TEST(World, APausedProcessDoesEverythingLaterInOrder) {
  World world(1);
  ProcessId process = world.Spawn("p");
  std::vector<std::pair<int, int64_t>> ran;
  for (int i = 0; i < 3; ++i)
    world.At(Time{10 + i}, process, [&, i] { ran.push_back({i, world.now().us}); });
  world.At(Time{1}, kWorld, [&] { world.Pause(process, Duration(100)); });
  world.At(Time{101}, process, [&] { ran.push_back({3, world.now().us}); });
  while (world.Step()) {
  }
  EXPECT_EQ(ran, (std::vector<std::pair<int, int64_t>>{{0, 101}, {1, 101}, {2, 101}, {3, 101}}));
}

TEST(World, TimeThatAStepTakesDelaysTheNextOne) {
  World world(1);
  ProcessId process = world.Spawn("p");
  Time second{};
  world.At(Time{1}, process, [&] { world.Spend(process, Duration(50)); });
  world.At(Time{2}, process, [&] { second = world.now(); });
  while (world.Step()) {
  }
  EXPECT_EQ(second, Time{51});
}

TEST(World, TheFirstFailureStaysAndEndsTheRun) {
  World world(1);
  int ran = 0;
  world.At(Time{1}, kWorld, [&] {
    world.Violate("one", "first");
    world.Violate("two", "second");
  });
  world.At(Time{2}, kWorld, [&] { ++ran; });
  EXPECT_FALSE(world.Step());
  EXPECT_FALSE(world.Step());
  EXPECT_EQ(ran, 0);
  EXPECT_EQ(world.verdict(), Verdict::kWrong);
  EXPECT_EQ(world.failure(), "one (event 1, 0.000001 s): first");
}

TEST(SimClock, DriftsAndFiresWhenItShowsTheTime) {
  World world(1);
  ProcessId process = world.Spawn("p");
  SimClock clock(&world, process,
                 {.drift_ppm = 100'000, .start = Duration(1'000), .cost_per_look = {}});
  Time shown{};
  clock.At(Time{12'000}, [&] { shown = clock.Now(); });
  while (world.Step()) {
  }
  EXPECT_EQ(world.now(), Time{10'000});
  EXPECT_EQ(shown, Time{12'000});
}

TEST(SimClock, AJumpMakesTimersDue) {
  World world(1);
  ProcessId process = world.Spawn("p");
  SimClock clock(&world, process, {});
  std::vector<int> order;
  clock.At(Time{5'000'000}, [&] { order.push_back(2); });
  clock.At(Time{4'000'000}, [&] { order.push_back(1); });
  world.At(Time{10}, kWorld, [&] { clock.JumpForward(Duration(60'000'000)); });
  while (order.size() < 2 && world.Step()) {
  }
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
  EXPECT_EQ(clock.Peek(), Time{60'000'010});
}

TEST(SimClock, APastTimeMeansBehindWhatIsQueuedNow) {
  World world(1);
  ProcessId process = world.Spawn("p");
  SimClock clock(&world, process, {});
  std::string order;
  world.At(Time{1}, process, [&] {
    world.At(Time{1}, process, [&] { order += "a"; });
    clock.At(Time{0}, [&] { order += "b"; });
    clock.At(Time{-5}, [&] { order += "c"; });
  });
  while (world.Step()) {
  }
  EXPECT_EQ(order, "abc");
}

}  // namespace
}  // namespace holdfast::sim
