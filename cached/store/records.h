// SPDX-License-Identifier: Apache-2.0
// What is done to one record: found, linked, held, moved, taken out. The one place where index,
// segments and counters change together.
#pragma once

#include <cstdint>

#include "base/env.h"
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
  // Without `wall` nothing expires.
  Records(const Region& region, Index* index, Segments* segments, WallClock wall)
      : region_(region), index_(index), segments_(segments), wall_(std::move(wall)) {
    LookAtTheClock();
  }
  // What the index and the segments were found with.
  void Adopt(const Reattached& found) {
    counters_.live_objects = found.objects;
    counters_.live_bytes = found.bytes;
    may_expire_ = found.may_expire;
  }

  // The record at `place` is complete; from now on it can be found.
  void Link(uint32_t reserved, Place place, uint16_t holds);
  // Not held.
  void Unlink(uint32_t slot);
  // Copies the record to `to`, where there is room for it, and has readers find it there.
  void Move(uint32_t slot, Place to);
  void SetHolds(uint32_t slot, uint16_t holds);

  // Expiry, by the time of the last look, so that within an event what was there stays. What has expired
  // keeps its slot until reclaim comes to it.
  void LookAtTheClock() { now_ = wall_ ? wall_() : WallTime(); }
  WallTime Wall() const { return now_; }
  bool Expired(uint32_t slot) const {
    return HasExpired(region_.record(PlaceOf(slot))->expires_s, now_);
  }
  bool may_expire() const { return may_expire_; }  // one that was linked may, or might have
  // As Index::Find, of what has not expired.
  uint32_t FindReadable(const Oid& oid, VersionHash version) const;
  // Has what the slot leads to expired? What is held goes on to take what was paid for.
  bool CanReplace(uint32_t slot, Place with) const {
    const bool same = RecordBytesOf(*region_.record(with)) == BytesOf(slot);
    return Expired(slot) && (same || index_->holds(slot) == 0);
  }
  // The record at `place`, of the same object and version, takes the place of the slot's.
  void Replace(uint32_t slot, Place place);

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
  WallClock wall_;
  WallTime now_{};
  bool may_expire_ = false;
  RecordCounters counters_;
};

}  // namespace holdfast::store
