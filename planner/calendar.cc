// SPDX-License-Identifier: Apache-2.0
#include "planner/calendar.h"

#include <algorithm>

#include "base/status.h"

namespace holdfast::planner {
namespace {

constexpr size_t kMaxEnds = 64;

// Rounds one end up to the next, where that is least in proportion to the time that remains: what
// ended long ago first.
void MergeClosest(std::map<Time, uint64_t>& ends, Time now) {
  auto best = ends.begin();
  int64_t best_gap = 0;
  int64_t best_left = 0;
  for (auto it = ends.begin(), next = std::next(it); next != ends.end(); it = next++) {
    int64_t left = (next->first - now).count();
    int64_t gap = left <= 0 ? 0 : (next->first - it->first).count();
    left = std::max<int64_t>(left, 1);
    bool closer = static_cast<__int128>(gap) * best_left < static_cast<__int128>(best_gap) * left;
    if (best_left == 0 || closer) {
      best = it;
      best_gap = gap;
      best_left = left;
    }
  }
  std::next(best)->second += best->second;
  ends.erase(best);
}

}  // namespace

bool Calendar::Reserve(uint64_t bytes, Time now, Time until) {
  if (bytes > Room()) return false;
  if (bytes == 0) return true;
  reserved_ += bytes;
  ends_[until] += bytes;
  if (ends_.size() > kMaxEnds) MergeClosest(ends_, now);
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
    uint64_t part = std::min(bytes, it->second);
    bytes -= part;
    it->second -= part;
    it = it->second == 0 ? ends_.erase(it) : std::next(it);
  }
}

Time Calendar::RoomFor(uint64_t bytes, Time now) const {
  if (bytes > capacity_) return Time::Max();
  uint64_t left = reserved_;
  auto it = ends_.begin();
  Time when = now;
  while (left > capacity_ - bytes) {
    left -= it->second;
    when = std::max(now, it->first);
    ++it;
  }
  return when;
}

}  // namespace holdfast::planner
