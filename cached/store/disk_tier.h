// SPDX-License-Identifier: Apache-2.0
// The disk tier of a node: what reclaim would drop from memory goes here, if it is worth the write,
// and is read back into memory when somebody wants it. Records lie in segments (disk_segments.h) that
// are written once from one end to the other, sealed, and taken back whole, the oldest first.
//
// The index is in memory, 10 bytes an object and about 11 with what stays empty; it knows an object by
// 22 bits and a version by 6 (index.h), so that Has may be wrong, and whoever needs to know reads. A
// start reads seals and tables, not records: those are believed one by one, by their own hashes.
//
// Objects of up to 4 KiB take two bytes of it, in packs (tiny_tier.h). Where they are, Has is wrong for
// one of some 24. What has expired is never read; a record is forgotten when it is found so, and the
// index says until then that it is there.
//
// Admission. A disk wears out by what is written to it. While it has never been full everything is
// written; after that only what comes back: of which reclaim of memory has let go before, not long
// ago, as a filter of 16-bit fingerprints remembers it. The last sixteenth of the index is for what is
// promised.
//
// The deciding thread's. Callbacks run on it, never from inside the call that was given them.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/env.h"
#include "base/segment_reader.h"
#include "cached/store/disk_reclaim.h"
#include "cached/store/disk_recovery.h"
#include "cached/store/disk_writer.h"
#include "cached/store/fallback_mover.h"
#include "cached/store/tiny_tier.h"

namespace holdfast::store {

struct DiskTierOptions {
  DiskIdentity identity{};
  uint64_t index_objects = 0;  // the most objects at a time; 0: one per 64 KiB
  TinyOptions tiny{};
  // Where what the disk does not have right is read; may be null; outlives the tier.
  SegmentReader* copies = nullptr;
  bool reclaim_reads_copies = false;  // and not the disk, as far as they are there
  // Who else moves the bytes that reclaim keeps; may be null; outlives the tier.
  SegmentMover* mover = nullptr;
};

struct DiskStats {
  uint64_t bytes = 0;  // of all segments
  uint32_t segments = 0;
  uint32_t free_segments = 0;
  uint32_t lent_segments = 0;
  uint64_t objects = 0;
  uint64_t held_objects = 0;
  uint64_t index_objects = 0;
  uint64_t recovered_objects = 0;
  uint64_t reads = 0;            // records that were read and right
  uint64_t corrupt = 0;          // and those that were not what they should be
  uint64_t refused_objects = 0;  // by admission
  DiskWriter::Counters writes{};
  DiskReclaim::Counters reclaim{};
  FallbackMover::Counters moves{};
  TinyStats tiny{};  // `objects` has them, too
  bool off = false;
  std::string refused{};  // why Recover did not take the disk, which is left alone
};

class DiskTier {
 public:
  // kInvalid, naming the option, for what cannot work: fewer than 8 segments or more than 65,535,
  // segments over 64 MiB, an index that is too large.
  static Status Check(uint64_t segments, uint64_t segment_bytes, const DiskTierOptions& options);
  // What the tier takes of memory, about.
  static uint64_t MemoryBytes(uint64_t segments, uint64_t segment_bytes,
                              const DiskTierOptions& options);

  // `disk` outlives it, and passes Check.
  DiskTier(const Env& env, Disk* disk, const DiskTierOptions& options);

  // Finds what the disk still has; once, before anything else. Until `done` nothing is found and
  // nothing taken. kInvalid: the disk is another node's, cluster's or version's, and not touched.
  void Recover(std::function<void(Status)> done);
  bool recovering() const { return recovering_; }  // or not even begun

  // Is it there? By the index alone: nearly always right. Version 0 is any.
  bool Has(const Oid& oid, VersionHash version) const;
  // The same of many, with prefetch: sets here[i] and, where held, held[i] (may be null) for (oids[i],
  // versions[i]). Tiny ones are not found: each would have to be looked for in every run.
  void FindMany(std::span<const Oid> oids, std::span<const VersionHash> versions, Bitmap* here,
                Bitmap* held = nullptr) const {
    if (ready_) records_.index().FindMany(oids, versions, {}, here, held);
  }

  // Promises. What is held reclaim writes again; it is lost to a damaged disk only. All that is held
  // and all that is lent together stays within PromisableBytes, in HeldBytes and LentBytes.
  uint64_t PromisableBytes() const;
  // Objects of these sizes can be held: not what is packed, or too large.
  uint64_t least_held_bytes() const { return tiny_.most_bytes() == 0 ? 0 : tiny_.most_bytes() + 1; }
  uint64_t most_held_bytes() const;
  // Is there a disk that takes what is written?
  bool writable() const { return ready_ && !writer_.off(); }
  // What one takes, with name and ETag of at most usual length; and at least, so that there are no more
  // promises than the index has places for.
  static constexpr uint64_t kUsualText = DiskRecords::kUsualText;
  static uint64_t HeldBytes(uint64_t size) { return DiskRecords::HeldBytes(size); }
  uint64_t least_promise_bytes() const;
  // The same where the size is known: of what is no tiny object it is right nearly always.
  bool HasOfSize(const Oid& oid, VersionHash version, uint64_t size) const {
    return tiny_.Packs(size) ? Has(oid, version) : HasRecord(oid, version);
  }
  // Larger records are not taken.
  uint64_t most_record_bytes() const;
  // By the index: a record that can be held.
  bool HasRecord(const Oid& oid, VersionHash version) const {
    return ready_ && records_.index().Find(oid, version) != Index::kNone;
  }
  uint64_t LentBytes() const;  // of a segment
  // One promise more or less for an object of `size` bytes; false when it is not there, or has none to
  // take away. `holds` tells how many it has then.
  bool Hold(const Oid& oid, VersionHash version, uint64_t size, uint32_t* holds) {
    return ready_ && records_.Hold(oid, version, size, holds);
  }
  bool Unhold(const Oid& oid, VersionHash version, uint64_t size, uint32_t* holds) {
    return ready_ && records_.Unhold(oid, version, size, holds);
  }
  bool IsHeld(const Oid& oid, VersionHash version) const;
  // What may have been lost while it was held, since the last call; IsHeld tells.
  DiskRecords::Lost TakeLost() { return records_.TakeLost(); }

  // Where it lies most likely, for a reader that reads it there: it was read, for reclaim. Nothing keeps
  // it there. Nothing for tiny objects, which lie in packs.
  std::optional<disk::Place> PlaceOf(const Oid& oid, VersionHash version);

  using Found = DiskFound;
  // kNotFound when it is not there, kTimeout when a disk elsewhere does not answer. Of a record that is
  // known to take `record_bytes` (0: not known) all is read at once unless it is large.
  void Look(const Oid& oid, VersionHash version, uint64_t record_bytes,
            std::function<void(Result<Found>)> done);
  // Its payload; `into` is as long. kNotFound when it was evicted meanwhile, kCorrupt when it is not
  // what its head says; then it is forgotten.
  void Read(const Found& found, ByteSpan into, std::function<void(Status)> done);
  // A part of it, from `first` on, which lies within it; all of it is checked, and no more is copied.
  void ReadRange(const Found& found, uint64_t first, ByteSpan into,
                 std::function<void(Status)> done);

  // Is this worth to be written, now that memory lets go of it?
  bool Wants(const Oid& oid, VersionHash version, uint64_t record_bytes);
  // When what is so old was loaded, as a record says it.
  int64_t Stamp(Duration age) const { return env_.clock->Wall().seconds * 1'000'000 - age.count(); }
  // Free segments beyond those that reclaim keeps free, and one.
  uint64_t SpareBytes() const;
  // What was read and is evicted all the same goes there first.
  void SetOutlet(DiskOutlet outlet) { reclaim_.SetOutlet(std::move(outlet)); }
  // It went there: Wants it the second time that memory lets go of it from now on, not the first.
  void LeftByOutlet(const Oid& oid, VersionHash version);
  // Takes copies; the memory must not change until `done`. What does not fit is left out.
  void Take(std::vector<DiskWriter::Item> items, std::function<void()> done);

  // How many versions of it were there and not held; of a tiny object at most one.
  uint64_t Drop(const Oid& oid, VersionHash version);

  // Visits what lies in a segment, and its age. What is still being written may be missed. The version
  // is 0 where only the object is known. Behind the segments come those that are not written yet.
  using Visit = TinyList::Visit;
  void List(uint32_t segment, Visit visit, std::function<void()> done);
  uint32_t segments() const { return segments_.size(); }
  uint32_t listings() const { return segments_.size() + 1; }

  // Room on this disk for what is no cache (streams): whole segments, out of the free ones. They have
  // no seal: a restart forgets what lay in them. DiskSegments::kNone when there is none to spare just
  // now; reclaim frees others meanwhile.
  uint32_t Lend() { return ready_ ? segments_.Lend() : DiskSegments::kNone; }
  // Nobody reads or writes it any more.
  void GiveBack(uint32_t segment) { segments_.GiveBack(segment); }
  uint64_t segment_bytes() const { return segments_.segment_bytes(); }
  // As Disk has them, from the first block on: block 0 is the seal's place and stays as it is.
  Disk* lent() { return disk_; }

  // Call it every few milliseconds under load.
  void Maintain();
  const EvictionCounts& evictions() const { return evictions_; }
  DiskStats Stats() const;

 private:
  struct Looking {
    Oid oid;
    VersionHash version = 0;
    uint64_t read_bytes = 0;
    std::vector<DiskRecords::Candidate> candidates{};  // that were not tried
    DiskRecords::Candidate at{};
    uint64_t sequence = 0;
    Buffer bytes{};
    bool from_copy = false;
    std::function<void(Result<Found>)> done{};
  };

  // Where it is noted that memory has let go of it, and what is noted.
  std::pair<uint16_t*, uint16_t> Note(const Oid& oid, VersionHash version);
  void Try(uint64_t id);
  void Tried(uint64_t id, const Status& read);
  // A payload, as its record says that it is.
  struct Payload {
    uint32_t segment = 0;
    disk::Entry entry{};
    uint64_t hash = 0;
    ByteSpan into{};
    bool from_copy = false;
    std::function<void(Status)> done{};
  };
  void CheckPayload(Payload payload, const Status& read, uint64_t hash);
  Status Judge(const Looking& looking, const Status& read, disk::Head* head);
  bool Expired(const disk::Head& head) const {
    return HasExpired(head.expires_s, env_.clock->Wall());
  }
  void Listed(uint64_t id);
  void Forget(uint32_t segment, const disk::Entry& entry);
  void TellDamage();
  void DoneReading(uint32_t segment);

  Env env_;
  Disk* disk_;
  SegmentReader* copies_;
  DiskSegments segments_;
  DiskRecords records_;
  FallbackMover mover_;
  DiskWriter writer_;
  EvictionCounts evictions_;
  TinyTier tiny_;
  DiskReclaim reclaim_;
  DiskRecovery recovery_;
  struct Listing {
    uint32_t segment = 0;
    Buffer table{};
    Visit visit{};
    std::function<void()> done{};
  };
  std::map<uint64_t, Looking> looks_;
  std::map<uint64_t, Listing> listings_;
  uint64_t next_look_ = 1;
  std::vector<uint16_t> let_go_;  // fingerprints, by hash
  bool ready_ = false;
  std::string refused_why_;
  bool recovering_ = true;
  bool was_full_ = false;
  uint64_t reads_ = 0;
  uint64_t corrupt_ = 0;
  uint64_t told_corrupt_ = 0;
  Time tell_at_{};
  uint64_t refused_ = 0;
};

}  // namespace holdfast::store
