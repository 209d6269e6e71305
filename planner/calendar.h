// SPDX-License-Identifier: Apache-2.0
// What a tier has promised, over time.
#pragma once

#include <cstdint>
#include <map>

#include "base/units.h"

namespace holdfast::planner {

// Bytes reserved until instants to come. Every reservation starts at once and ends at its `until`.
// There are at most 64 ends, whatever the load: beyond that the two that lie closest, in proportion
// to the time that remains, become the later one. Objects that several jobs hold are reserved once
// (cached/commitments.h sees to it): reserved() is what has to stay.
class Calendar {
 public:
  // `capacity` is what may be promised: the tier without head-room for reclaim, open segments and
  // pinned views.
  explicit Calendar(uint64_t capacity) : capacity_(capacity) {}

  uint64_t capacity() const { return capacity_; }
  uint64_t reserved() const { return reserved_; }
  // What can be reserved from now on.
  uint64_t Room() const { return capacity_ > reserved_ ? capacity_ - reserved_ : 0; }
  // False, and nothing changes, when it does not fit.
  bool Reserve(uint64_t bytes, Time now, Time until);
  // Gives back bytes that were reserved with the same `until`; more than that is our own mistake
  // (CHECK).
  void Release(uint64_t bytes, Time until);
  // When `bytes` more could be reserved, given the ends that are known: `now` when they fit,
  // Time::Max() if never.
  Time RoomFor(uint64_t bytes, Time now) const;

 private:
  struct End {
    uint64_t bytes = 0;
    Time earliest;  // of the reservations that were rounded up to this end
  };
  void MergeClosest(Time now);

  uint64_t capacity_;
  uint64_t reserved_ = 0;
  std::map<Time, End> ends_;
};

}  // namespace holdfast::planner
