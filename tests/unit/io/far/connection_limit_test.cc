// SPDX-License-Identifier: Apache-2.0
// The limit against a model of a far store: c connections give min(c / latency, most) objects per
// second.
#include "io/far/connection_limit.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/random.h"

namespace holdfast::far {
namespace {

struct Store {
  Duration latency;
  double most_per_s;
  double Rate(uint32_t connections) const {
    return std::min(connections / std::chrono::duration<double>(latency).count(), most_per_s);
  }
};

class Model {
 public:
  Model(uint32_t min, uint32_t max) : limit(min, max) {}

  void For(const Store& store, Duration time, bool busy = true) {
    const Time end = now_ + time;
    while (now_ < end) {
      const double rate = store.Rate(limit.limit()) * (0.98 + 0.04 * random_.Unit());
      due_us_ += 1e6 / rate;
      now_ = {static_cast<int64_t>(due_us_)};
      const auto latency = Duration(static_cast<int64_t>(1e6 * limit.limit() / rate));
      limit.OnDone(now_, latency, 100'000, busy);
      sum_ += limit.limit();
      ++count_;
    }
  }
  double MeanLimit() {
    const double mean = sum_ / static_cast<double>(count_);
    sum_ = 0;
    count_ = 0;
    return mean;
  }
  Time now() const { return now_; }

  ConnectionLimit limit;

 private:
  Random random_{1};
  Time now_;
  double due_us_ = 0;
  double sum_ = 0;
  uint64_t count_ = 0;
};

TEST(ConnectionLimitTest, ReachesWhatTheLatencyNeeds) {
  Model run(8, 256);
  run.For({.latency = 30ms, .most_per_s = 1e9}, 3s);
  EXPECT_EQ(run.limit.limit(), 256u) << "nothing but latency: all that is allowed";
}

// A busy machine makes some periods look slow; a climb that one of them ended did not go on for a
// minute.
TEST(ConnectionLimitTest, SlowPeriodsDoNotEndTheClimb) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    Model run(8, 256);
    Random random(seed);
    for (int spans = 0; spans < 150; ++spans) {
      const bool slow = random.Below(3) == 0;
      run.For({.latency = slow ? 150ms : 30ms, .most_per_s = 1e9}, 100ms);
    }
    EXPECT_GT(run.limit.limit(), 180u) << "seed " << seed;
  }
}

TEST(ConnectionLimitTest, StaysNearBandwidthTimesLatency) {
  Model run(8, 1024);
  const Store store{.latency = 30ms, .most_per_s = 4000};  // 120 connections fill it
  run.For(store, 10s);
  run.MeanLimit();
  run.For(store, 60s);
  const double mean = run.MeanLimit();
  EXPECT_GT(mean, 100);
  EXPECT_LT(mean, 200);
}

TEST(ConnectionLimitTest, FewAreEnoughWithoutLatency) {
  Model run(8, 256);
  run.For({.latency = 1ms, .most_per_s = 2000}, 60s);
  run.MeanLimit();
  run.For({.latency = 1ms, .most_per_s = 2000}, 60s);
  EXPECT_LT(run.MeanLimit(), 16);
}

TEST(ConnectionLimitTest, FollowsAStoreThatBecomesSlow) {
  Model run(8, 256);
  run.For({.latency = 1ms, .most_per_s = 3000}, 60s);
  run.For({.latency = 50ms, .most_per_s = 3000}, 120s);
  EXPECT_GT(run.limit.limit(), 100u);
}

TEST(ConnectionLimitTest, ASlowDownHalvesItOncePerPeriod) {
  Model run(8, 256);
  run.For({.latency = 30ms, .most_per_s = 1e9}, 3s);
  const Time now = run.now();
  for (int i = 0; i < 50; ++i) run.limit.OnSlowDown(now);
  EXPECT_EQ(run.limit.limit(), 128u);
  run.limit.OnSlowDown(now + 1s);
  EXPECT_EQ(run.limit.limit(), 64u);
  for (int i = 2; i < 20; ++i) run.limit.OnSlowDown(now + i * 1s);
  EXPECT_EQ(run.limit.limit(), 8u);
}

TEST(ConnectionLimitTest, IdleTimesTeachNothing) {
  Model run(8, 256);
  const uint32_t before = run.limit.limit();
  run.For({.latency = 30ms, .most_per_s = 1e9}, 10s, false);
  EXPECT_EQ(run.limit.limit(), before);
}

TEST(ConnectionLimitTest, EqualBoundsFixIt) {
  Model run(16, 16);
  run.For({.latency = 30ms, .most_per_s = 1e9}, 5s);
  EXPECT_EQ(run.limit.limit(), 16u);
  run.limit.OnSlowDown(run.now());
  EXPECT_EQ(run.limit.limit(), 16u);
}

}  // namespace
}  // namespace holdfast::far
