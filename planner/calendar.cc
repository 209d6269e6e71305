// SPDX-License-Identifier: Apache-2.0
#include "planner/calendar.h"

#include <algorithm>

#include "base/status.h"

namespace holdfast::planner {
namespace {
constexpr size_t kMaxEnds = 64;
}  // namespace

// Counts from the earliest reservation at an end, so that merging again and again does not carry
// one far.
void Calendar::MergeClosest(Time now) {
  auto best = ends_.end();
  int64_t best_width = 0;
  int64_t best_left = 0;
  for (auto it = ends_.begin(), next = std::next(it); next != ends_.end(); it = next++) {
    int64_t left = (next->first - now).count();
    int64_t width = left <= 0 ? 0 : (next->first - it->second.earliest).count();
    left = std::max<int64_t>(left, 1);
    if (best == ends_.end() ||
        static_cast<__int128>(width) * best_left < static_cast<__int128>(best_width) * left) {
      best = it;
      best_width = width;
      best_left = left;
    }
  }
  End& later = std::next(best)->second;
  later.bytes += best->second.bytes;
  later.earliest = best->second.earliest;
  ends_.erase(best);
}

bool Calendar::Reserve(uint64_t bytes, Time now, Time until) {
  if (bytes > Room()) return false;
  if (bytes == 0) return true;
  reserved_ += bytes;
  auto end = ends_.try_emplace(until, End{0, until}).first;
  end->second.bytes += bytes;
  if (ends_.size() > kMaxEnds) MergeClosest(now);
  return true;
}

// Takes from the first ends at or after `until`: an end is only ever rounded up. Where rounding has
// mixed reservations up, every byte that is left still stands at its own end or later, so RoomFor
// never promises too early.
void Calendar::Release(uint64_t bytes, Time until) {
  HF_CHECK(bytes <= reserved_);
  reserved_ -= bytes;
  auto it = ends_.lower_bound(until);
  while (bytes > 0) {
    HF_CHECK(it != ends_.end());
    uint64_t part = std::min(bytes, it->second.bytes);
    bytes -= part;
    it->second.bytes -= part;
    it = it->second.bytes == 0 ? ends_.erase(it) : std::next(it);
  }
}

Time Calendar::RoomFor(uint64_t bytes, Time now) const {
  if (bytes > capacity_) return Time::Max();
  uint64_t left = reserved_;
  auto it = ends_.begin();
  Time when = now;
  while (left > capacity_ - bytes) {
    left -= it->second.bytes;
    when = std::max(now, it->first);
    ++it;
  }
  return when;
}

}  // namespace holdfast::planner
