// SPDX-License-Identifier: Apache-2.0
// The memory tier of a node: records in segments, found through the index, kept while they are
// held, reclaimed when not.
//
// The tier lives in a span of memory (the region of wire/shm_layout.h) that clients read without
// telling anybody. All methods are the deciding thread's; only the payload of an allocated slot may
// be written by another thread until Commit.
//
// The life of a segment: free → open (records are appended; one open segment per class) → sealed →
// [ring] → emptied (its entries are cleared, its generation odd) → waits until nobody pins it →
// free. Classes: two rings, for what nobody has a promise for, first in first out; and the hold
// classes, for records held until about the same time (class k: the remaining time is below 1 min ·
// 2^k; at most 16). A hold segment in which nothing is held any more joins the fresh ring. And guests,
// records that other nodes' memory let go of: reclaim takes their segments before all others.
//
// Reclaim is S3-FIFO by segments (decision note 0022). What is loaded comes to the fresh ring, a tenth
// of both, or to the kept one if it was dropped not long ago. Reclaim takes, among the oldest sealed
// segments of the ring that has more than its share (a sixteenth of all, 2 to 16), the one with the
// fewest held bytes: held records move into their hold class, records that were read more than once are
// appended to the kept ring (up to seven eighths of a segment per victim, and one read less counts for
// the next time, so that it ends), the others are dropped. When no such segment would give a quarter of
// itself, the one with the fewest held bytes of all is taken, of hold classes too: promises that ended
// early leave room that only moving the others together gives back.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/env.h"
#include "base/ids.h"
#include "base/status.h"
#include "base/units.h"
#include "cached/store/disk_tier.h"
#include "cached/store/evictions.h"
#include "cached/store/outlet.h"
#include "cached/store/sessions.h"
#include "wire/shm_layout.h"

namespace holdfast::store {

struct MemoryTierOptions {
  uint64_t memory_bytes = 0;  // the whole region: segments, index and header
  uint64_t segment_bytes =
      0;  // 0: memory / 256, between 256 KiB and 256 MiB, a multiple of 4 KiB (2 MiB when large)
  uint64_t index_objects = 0;  // 0: one per 4 KiB of memory
  uint64_t max_object_bytes =
      0;  // what may be promised; 0: about a quarter of a segment. See PromisableBytes
  NodeId node = 0;
  Incarnation incarnation = 0;
  // What had expired by it at the last LookAtTheClock is not there; without one nothing expires.
  WallClock wall{};
};

// kInvalid with the option's name for what cannot work.
Result<shm::RegionPlan> PlanRegion(const MemoryTierOptions& options);

// What a record is made of; views live as long as the caller says.
struct RecordView {
  Oid oid;
  VersionHash version = 0;
  std::string_view name;
  std::string_view etag;
  ByteView payload;
  uint64_t payload_hash = 0;
  uint32_t expires_s = 0;  // since 1970; 0: never
};

struct RecordSpec {
  Oid oid;
  VersionHash version = 0;
  uint64_t size = 0;
  std::string_view name;  // canonical URI
  std::string_view etag;
  Duration age{};  // since it was loaded, elsewhere
};

struct TierStats {
  uint64_t object_bytes = 0;  // capacity for records: segments × segment_bytes
  uint64_t live_bytes = 0;    // RecordBytes of what can be found
  uint64_t live_objects = 0;
  uint64_t held_bytes = 0;  // of which held
  uint64_t held_objects = 0;
  uint32_t segments = 0;
  uint64_t index_objects = 0;  // the most objects at a time
  uint32_t free_segments = 0;
  uint32_t waiting_segments = 0;  // emptied, pinned by readers
  uint64_t dropped_objects = 0;   // by reclaim, since start
  uint64_t dropped_bytes = 0;
  uint64_t descended_objects = 0;  // of the dropped ones, on the disk
  uint64_t moved_bytes = 0;        // by reclaim: held and re-appended
  uint64_t found_objects = 0;      // of an earlier daemon
  uint64_t marks = 0;
  uint32_t guest_segments = 0;
  uint64_t taken_guests = 0;    // since the start
  uint64_t read_guests = 0;     // reads of guests
  uint64_t kept_guests = 0;     // that became ordinary records: read again, or held
  uint64_t dropped_guests = 0;  // their room was needed
};

class MemoryTier {
 public:
  // An allocated record that is not yet visible.
  struct Slot {
    uint64_t id = 0;
    ByteSpan payload;
  };

  // Formats `region` (of PlanRegion's size, from the caller, outlives the tier). The sessions of
  // clients that live must be attached to `sessions` before: what they pin is not written to. When
  // the region already carries this layout (a daemon restarted over it), its records are found again
  // (reattach.h), as records that nobody holds; views of clients that still live stay valid.
  MemoryTier(ByteSpan region, const shm::RegionPlan& plan, const MemoryTierOptions& options,
             Sessions* sessions);
  ~MemoryTier();
  MemoryTier(const MemoryTier&) = delete;

  // version 0 finds any version. The view is valid until the next non-const call. What has expired is
  // not found here, nor by FindMany and Hold; it takes its room until reclaim comes to it.
  std::optional<RecordView> Find(const Oid& oid, VersionHash version) const;
  // Sets here[i] and, where held, held[i] for (oids[i], versions[i]), the memory of many asked for
  // at once. No versions: any. `held` may be null.
  void FindMany(std::span<const Oid> oids, std::span<const VersionHash> versions, Bitmap* here,
                Bitmap* held) const;

  // Room for a record. `hold_until` chooses the class; nullopt is a ring. Reclaims by itself when
  // it must. kNoSpace when nothing can be reclaimed now (everything is held or pinned; the text
  // says which), kInvalid when the record does not fit a segment.
  Result<Slot> Allocate(const RecordSpec& spec, Time now, std::optional<Time> hold_until);
  // The payload is written and has this XXH3-64: the record can be found from now on, until it
  // expires (seconds since 1970; 0: never). A record of the same OID and version that is already there
  // stays, and the new one is dropped, unless the old one has expired: then the new one takes its place. `holds` is
  // how many promises hold it (they add to those of one that is already there).
  void Commit(uint64_t slot, uint64_t payload_hash, uint32_t holds, uint32_t expires_s = 0);
  void Abort(uint64_t slot);

  // One promise more or less for a record (version 0: of any version); false when it is not there,
  // when it has Index::kMaxHolds (16,382) already, or none to take away. The first and the last one move its bytes
  // between held and not held. `after` tells how it stands then.
  struct Held {
    uint64_t bytes = 0;  // RecordBytes
    uint32_t holds = 0;
  };
  bool Hold(const Oid& oid, VersionHash version, Held* after = nullptr);
  bool Unhold(const Oid& oid, VersionHash version, Held* after = nullptr);
  // Where to move a held record that lies in the ring: until when is it held? Asked during reclaim.
  void SetHoldUntil(std::function<Time(const Oid&, VersionHash)> hold_until);

  // What would be dropped goes to `disk` first, if it is worth it (descent.h). It outlives the tier.
  void SetBelow(DiskTier* disk);
  // What the disk neither has nor takes of that goes there, if it was read. `outlet` may be used until
  // another one, or an empty one, is set.
  void SetOutlet(Outlet outlet);

  // Room for guests: free now, beyond the low-water mark and `promised_bytes`, those that are promised
  // and not here yet; and a segment that the oldest guests can make room in. 0 when this node looks for
  // room itself.
  uint64_t GuestRoom(uint64_t promised_bytes) const;
  // As Allocate, for a guest, within that room: reclaims nothing but older guests. Committed, it is
  // found like any record.
  Result<Slot> AllocateGuest(const RecordSpec& spec, Time now, uint64_t promised_bytes);

  // For who begins with something; Maintain does, too, every few milliseconds. Between two of these
  // nothing expires.
  void LookAtTheClock();
  // Has anything come here that expires?
  bool MayExpire() const;
  // As if a reader had marked it.
  void MarkRead(const Oid& oid, VersionHash version);
  // Takes a record out; false when it is not there or held.
  bool Drop(const Oid& oid, VersionHash version);
  // Visit every live record, those of one segment, and every version of an object. The visitor must
  // not change the tier.
  using Visit = std::function<void(const RecordView&, bool held)>;
  void ForEach(const Visit& visit) const;
  void ForEachIn(uint32_t segment, const Visit& visit) const;
  void ForEachVersion(const Oid& oid, const Visit& visit) const;

  // Visits what the slots [first, last) of the index lead to, some 20 ns each. A record that reclaim
  // moves keeps its slot; one that makes room for another may be visited twice or not at all by a walk
  // in several parts.
  struct Listed {
    Oid oid;
    Time since{};  // when it was loaded, or when its promises ended
    bool held = false;
    snapshot::Ring ring{};
  };
  uint32_t slots() const;
  void ListSlots(uint32_t first, uint32_t last,
                 const std::function<void(const Listed& record)>& visit) const;
  // The ages at which reclaim dropped and kept records.
  const EvictionCounts& evictions() const;

  // Drains read marks, rebalances the sessions' view grants (all together at most a quarter of the
  // segments), frees segments whose readers have left, and reclaims up to `budget_bytes` towards
  // the low-water mark of free segments. Call it every few milliseconds under load.
  void Maintain(Time now, uint64_t budget_bytes);

  // The most that promises may take: object_bytes less the open segments, the free low-water mark,
  // the views' quarter and the bytes at the ends of segments that a record of max_object_bytes can
  // leave unused. A promise takes RecordBytes; Allocate with `hold_until` finds room for it as long
  // as all held and allocated ones stay within this, none is larger than max_object_bytes, readers
  // pin at most a quarter of the segments, and the records under way (allocated, not committed) lie
  // in no more segments than there are classes.
  uint64_t PromisableBytes() const;
  uint64_t max_object_bytes() const;
  uint64_t segment_bytes() const;
  TierStats Stats() const;

 private:
  struct Core;
  std::unique_ptr<Core> core_;
};

}  // namespace holdfast::store
