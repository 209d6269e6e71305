// SPDX-License-Identifier: Apache-2.0
#include "io/far/connection_limit.h"

#include <algorithm>

namespace holdfast::far {
namespace {

constexpr uint32_t kStart = 16;
constexpr Duration kMinPeriod = 100ms;
constexpr uint64_t kRoundsPerPeriod = 4;     // completions per connection
constexpr uint64_t kRequestWeight = 16'384;  // a request counts like this many bytes
constexpr double kDoublePays = 1.25;         // of at most 2
constexpr double kMorePays = 1.08;           // of at most 1.25
constexpr double kLessCosts = 0.96;
constexpr uint32_t kPatience = 8;
constexpr uint32_t kMaxPatience = 16;  // a step up or down at least every few seconds
constexpr uint32_t kDoubleTries = 3;   // one bad period may be anybody's fault

}  // namespace

ConnectionLimit::ConnectionLimit(uint32_t min, uint32_t max)
    : min_(std::max<uint32_t>(min, 1)),
      max_(std::max(max, min_)),
      limit_(Clamp(kStart)),
      good_limit_(limit_),
      patience_(kPatience) {}

uint32_t ConnectionLimit::Clamp(uint32_t n) const { return std::clamp(n, min_, max_); }

void ConnectionLimit::OnDone(Time now, Duration latency, uint64_t bytes, bool busy) {
  if (min_ == max_) return;
  if (!measuring_) return BeginPeriod(now);
  ++done_;
  work_ += bytes + kRequestWeight;
  latency_us_ += latency.count();
  if (!busy) ++idle_;
  const Duration mean(latency_us_ / static_cast<int64_t>(done_));
  const Duration passed = now - began_;
  if (done_ < kRoundsPerPeriod * limit_ || passed < std::max(kMinPeriod, 2 * mean)) return;
  // A period in which more than an eighth was idle is not counted.
  const bool says_something = idle_ * 8 <= done_;
  if (says_something) EndPeriod(static_cast<double>(work_) / static_cast<double>(passed.count()));
  BeginPeriod(now);
}

void ConnectionLimit::OnSlowDown(Time now) {
  if (now < deaf_until_) return;
  deaf_until_ =
      now + std::max(kMinPeriod, done_ == 0
                                     ? kMinPeriod
                                     : Duration(2 * latency_us_ / static_cast<int64_t>(done_)));
  Hold(Clamp(limit_ / 2), 0);
  patience_ = kPatience;
  failed_doubles_ = kDoubleTries;
  measuring_ = false;
}

void ConnectionLimit::BeginPeriod(Time now) {
  began_ = now;
  done_ = 0;
  work_ = 0;
  latency_us_ = 0;
  idle_ = 0;
  measuring_ = true;
}

void ConnectionLimit::EndPeriod(double rate) {
  switch (step_) {
    case Step::kDouble:
      if (good_rate_ > 0 && rate < kDoublePays * good_rate_) {
        Hold(good_limit_, good_rate_);
        if (++failed_doubles_ < kDoubleTries) hold_periods_ = 1;  // measured afresh, and once more
        return;
      }
      failed_doubles_ = 0;
      good_limit_ = limit_;
      good_rate_ = rate;
      if (limit_ == max_) return Hold(limit_, rate);
      return Try(Step::kDouble);
    case Step::kHold:
      good_rate_ = good_rate_ == 0 ? rate : 0.7 * good_rate_ + 0.3 * rate;
      if (hold_periods_ > 0 && --hold_periods_ > 0) return;
      return Try(failed_doubles_ > 0 && failed_doubles_ < kDoubleTries ? Step::kDouble : next_try_);
    case Step::kMore:
    case Step::kLess: {
      const bool pays = rate >= (step_ == Step::kMore ? kMorePays : kLessCosts) * good_rate_;
      if (pays) {  // more of the same, soon
        patience_ = kPatience;
        if (step_ == Step::kMore) failed_doubles_ = 1;  // there is more to have: doubling again
        Hold(limit_, rate);
        hold_periods_ = 1;
        return;
      }
      next_try_ = step_ == Step::kMore ? Step::kLess : Step::kMore;
      patience_ = std::min(2 * patience_, kMaxPatience);
      return Hold(good_limit_, good_rate_);
    }
  }
}

void ConnectionLimit::Try(Step step) {
  step_ = step;
  if (step == Step::kDouble) limit_ = Clamp(limit_ * 2);
  if (step == Step::kMore) limit_ = Clamp(limit_ + std::max<uint32_t>(1, limit_ / 4));
  if (step == Step::kLess) limit_ = Clamp(limit_ - limit_ / 4);
}

void ConnectionLimit::Hold(uint32_t limit, double rate) {
  step_ = Step::kHold;
  limit_ = limit;
  good_limit_ = limit;
  good_rate_ = rate;
  hold_periods_ = patience_;
}

}  // namespace holdfast::far
