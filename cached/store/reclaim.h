// SPDX-License-Identifier: Apache-2.0
// Takes segments back, one victim at a time and in slices: held records move into the hold class
// that fits the time they are held until now, records that were read more than once are appended to
// the kept ring, the others are dropped (those that are worth it are on the disk by then: descent.h).
// A guest that stays is a guest no more. The records of a victim that are still to come can be found,
// held and read as ever.
#pragma once

#include <cstdint>
#include <functional>

#include "base/ids.h"
#include "base/units.h"
#include "cached/store/disk_tier.h"
#include "cached/store/evictions.h"
#include "cached/store/ghosts.h"
#include "cached/store/records.h"

namespace holdfast::store {

// Segments that only reclaim may take, so that it can always move what is held.
constexpr uint32_t kMoveReserve = 2;

struct ReclaimCounters {
  uint64_t dropped_objects = 0;
  uint64_t dropped_bytes = 0;
  uint64_t moved_bytes = 0;
  uint64_t descended_objects = 0;  // of the dropped ones, on the disk
  uint64_t dropped_guests = 0;     // of them
  uint64_t kept_guests = 0;        // moved: read again, or held
};

class Reclaim {
 public:
  enum class Outcome {
    kEmptied,  // one segment: it is free as soon as nobody reads it
    kPaused,   // the budget is used up
    kNothing,  // no segment would give `min_gain` bytes
    kNoRoom,   // a held record could not be moved
  };
  struct Wish {
    uint64_t budget_bytes = UINT64_MAX;
    uint64_t min_gain = 0;  // of the victim, were one to be chosen
    // Append records again that were read more than once, as far as Keeps says, and one read less
    // counts each time, so that it ends. One read is what they were loaded for, and tells nothing of a
    // second.
    bool keep_reread = false;
    bool guests_only = false;  // no other victim; only when there is none at hand
    bool unheld = false;       // none but with records that nobody holds, for places in the index
  };

  Reclaim(const Region& region, Index* index, Segments* segments, Records* records)
      : region_(region),
        index_(index),
        segments_(segments),
        records_(records),
        ghosts_(index->capacity(), region.segments() * region.segment_bytes() / 10 * 9) {}

  void SetHoldUntil(std::function<Time(const Oid&, VersionHash)> hold_until) {
    hold_until_ = std::move(hold_until);
  }
  // Goes on with the victim at hand, or chooses one; at most one is emptied.
  Outcome Run(Time now, const Wish& wish);
  // What this tier has already is not evicted when memory drops it: it has moved down.
  void SetBelow(const DiskTier* below) { below_ = below; }
  // At hand; Segments::kNone when there is none.
  uint32_t victim() const { return victim_; }
  // May a victim of which `kept` bytes are kept have so many more kept? Less than all of it, and of
  // large records half: two of them can leave as much of a new segment unused.
  static constexpr bool Keeps(uint64_t kept, uint64_t bytes, uint64_t segment_bytes) {
    return kept + bytes <= (bytes <= segment_bytes / 8 ? segment_bytes / 8 * 7 : segment_bytes / 2);
  }
  // The class of the ring for an object that comes (back).
  uint32_t RingFor(const Oid& oid) const {
    return ghosts_.Has(oid) ? segments_->kept_class() : kFreshClass;
  }
  const ReclaimCounters& counters() const { return counters_; }
  const EvictionCounts& evictions() const { return evictions_; }

 private:
  void PrefetchAhead(uint64_t offset) const;
  bool Settle(uint32_t slot, uint64_t bytes, Time now, bool keep_reread);
  bool MoveHeld(uint32_t slot, uint64_t bytes, Time now);
  bool KeepReread(uint32_t slot, uint64_t bytes, Time now);
  void Drop(uint32_t slot, uint64_t bytes, Time now);

  Region region_;
  Index* index_;
  Segments* segments_;
  Records* records_;
  std::function<Time(const Oid&, VersionHash)> hold_until_;
  const DiskTier* below_ = nullptr;
  ReclaimCounters counters_;
  EvictionCounts evictions_;
  Ghosts ghosts_;
  uint32_t victim_ = Segments::kNone;
  uint64_t cursor_ = 0;      // where the victim's next record begins
  uint64_t kept_bytes_ = 0;  // of the victim, because they were read
};

}  // namespace holdfast::store
