// SPDX-License-Identifier: Apache-2.0
// What a memory tier is made of: for its own sources.
#pragma once

#include <algorithm>
#include <map>
#include <optional>

#include "cached/store/descent.h"
#include "cached/store/grants.h"
#include "cached/store/index.h"
#include "cached/store/memory_tier.h"
#include "cached/store/reclaim.h"
#include "cached/store/records.h"
#include "cached/store/region.h"
#include "cached/store/segments.h"

namespace holdfast::store {

struct MemoryTier::Core {
  struct Allocated {
    uint32_t slot;  // of the index, reserved
    Place place;
  };

  Core(ByteSpan memory, const shm::RegionPlan& plan, const MemoryTierOptions& options, Sessions* s)
      : region(memory, plan),
        found(Open(memory, options)),
        sessions(s),
        index(region, Index::Start::kAsFound),
        segments(region, s, HoldClasses(plan.segments), found),
        records(region, &index, &segments, options.wall),
        reclaim(region, &index, &segments, &records),
        descent(region, &index, &segments, &records, &reclaim),
        low_water(std::max(kMoveReserve + 1, plan.segments / 64)),
        max_object_bytes(MaxObjectBytes(options, plan.segment_bytes)) {
    records.Adopt(found);
    found.segments.clear();
    RebalanceGrants(region, *sessions);
  }

  static uint32_t HoldClasses(uint32_t segments);
  static uint64_t MaxObjectBytes(const MemoryTierOptions& options, uint64_t segment_bytes);
  // Makes the region this daemon's, and says what is in it.
  Reattached Open(ByteSpan memory, const MemoryTierOptions& options) const;

  std::optional<uint32_t> ReserveEntry(const Oid& oid, Time now);
  Result<Place> PlaceFor(uint32_t owner, uint64_t bytes, Time now);
  Status CheckFits(const RecordSpec& spec) const;
  // A record that was given room, and is to be written.
  Slot Begin(uint32_t entry, Place place, const RecordSpec& spec, Time now);
  Status NoSpace(uint64_t bytes) const;
  void SetHolds(uint32_t slot, uint32_t holds, Held* after);
  void WriteHeader(Place place, const RecordSpec& spec, Time now) const;
  void DrainMarks();
  Reclaim::Outcome RunReclaim(Time now, const Reclaim::Wish& wish);
  // While fewer segments are free, or to come, this node looks for room.
  uint32_t quarter() const { return region.segments() / 4; }
  // While there are fewer, records are copied down. What peers have is here twice until it is dropped,
  // so it goes there later.
  uint32_t ahead() const {
    const uint32_t to_peers = std::max(low_water + Descent::kAtOnce, region.segments() / 8);
    return descent.has_disk() ? quarter() : to_peers;
  }
  // Free segments that guests leave alone.
  uint32_t NotForGuests(uint64_t promised_bytes) const;
  // May the oldest guests make room for others?
  bool GuestsMayGo() const { return segments.guests() > 2; }
  std::optional<Place> PlaceForGuest(uint64_t bytes, Time now, uint32_t not_for_guests);

  Region region;
  Reattached found;
  Sessions* sessions;
  Index index;
  Segments segments;
  Records records;
  Reclaim reclaim;
  Descent descent;
  uint32_t low_water;
  uint64_t max_object_bytes;
  std::map<uint64_t, Allocated> allocated;
  uint64_t next_id = 1;
  uint64_t marks = 0;
  uint64_t taken_guests = 0;
  uint64_t read_guests = 0;
};

}  // namespace holdfast::store
