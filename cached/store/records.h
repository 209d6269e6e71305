// SPDX-License-Identifier: Apache-2.0
// What is done to one record: found, linked, held, moved, taken out. The one place where index,
// segments and counters change together.
#pragma once

#include <cstdint>

#include "base/units.h"
#include "cached/store/index.h"
#include "cached/store/region.h"
#include "cached/store/segments.h"
#include "snapshot/rings.h"

namespace holdfast::store {

struct RecordCounters {
  uint64_t live_bytes = 0;
  uint64_t live_objects = 0;
  uint64_t held_bytes = 0;
  uint64_t held_objects = 0;
};

class Records {
 public:
  Records(const Region& region, Index* index, Segments* segments)
      : region_(region), index_(index), segments_(segments) {}
  // What the index and the segments were found with.
  void Adopt(const Reattached& found) {
    counters_.live_objects = found.objects;
    counters_.live_bytes = found.bytes;
  }

  // The record at `place` is complete; from now on it can be found.
  void Link(uint32_t reserved, Place place, uint16_t holds);
  // Not held.
  void Unlink(uint32_t slot);
  // Copies the record to `to`, where there is room for it, and has readers find it there.
  void Move(uint32_t slot, Place to);
  void SetHolds(uint32_t slot, uint16_t holds);

  Place PlaceOf(uint32_t slot) const {
    return {shm::SegmentOf(index_->entry(slot)), shm::OffsetOf(index_->entry(slot))};
  }
  uint64_t BytesOf(uint32_t slot) const;
  // When it was loaded, or when its segment joined the ring if it was held before.
  Time Since(uint32_t slot) const;
  // Of what nobody holds.
  snapshot::Ring RingOf(uint32_t slot) const {
    return (*segments_)[PlaceOf(slot).segment].owner == kKeptClass ? snapshot::Ring::kKept
                                                                   : snapshot::Ring::kFresh;
  }
  const RecordCounters& counters() const { return counters_; }

 private:
  void WriteSince(Place place, Time since) const;

  Region region_;
  Index* index_;
  Segments* segments_;
  RecordCounters counters_;
};

}  // namespace holdfast::store
