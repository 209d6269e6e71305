// SPDX-License-Identifier: Apache-2.0
// How many connections to use at once. What is needed is bandwidth × latency / object size, none of
// which is known and all of which change, so the limit climbs towards the fewest connections that
// give the best throughput: it doubles while that pays, then tries a quarter more and a quarter
// less in turn, ever more rarely. A store that asks for less halves it. Pure: the caller gives the
// time.
#pragma once

#include <cstdint>

#include "base/units.h"

namespace holdfast::far {

class ConnectionLimit {
 public:
  ConnectionLimit(uint32_t min, uint32_t max);

  uint32_t limit() const { return limit_; }
  // A transfer ended well. `busy`: more were waiting for the limit; only then does the throughput
  // say anything about it.
  void OnDone(Time now, Duration latency, uint64_t bytes, bool busy);
  // The store answered 503 or 429. Counts once per period, because what is in flight hears the same
  // answer.
  void OnSlowDown(Time now);

 private:
  enum class Step : uint8_t { kDouble, kHold, kMore, kLess };

  void BeginPeriod(Time now);
  void EndPeriod(double rate);
  void Try(Step step);
  void Hold(uint32_t limit, double rate);
  uint32_t Clamp(uint32_t n) const;

  uint32_t min_;
  uint32_t max_;
  uint32_t limit_;
  Step step_ = Step::kDouble;
  Step next_try_ = Step::kMore;

  // The period that is being measured.
  Time began_;
  uint64_t done_ = 0;
  uint64_t work_ = 0;
  int64_t latency_us_ = 0;
  uint64_t idle_ = 0;  // of done_, those that were not busy
  bool measuring_ = false;

  uint32_t good_limit_;  // the best one known, and its rate
  double good_rate_ = 0;
  uint32_t hold_periods_ = 0;  // left before the next try
  uint32_t patience_;          // how many to hold
  uint32_t failed_doubles_ = 0;
  Time deaf_until_;  // to more slow-downs
};

}  // namespace holdfast::far
