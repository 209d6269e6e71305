// SPDX-License-Identifier: Apache-2.0
// The index: from an OID to its record, 8 bytes of shared memory per slot and 2 bytes of our own.
//
// An entry lies in one of the two buckets of its OID. A full pair of buckets is relieved by
// displacement: the shortest chain of entries that can each move to their other bucket, found
// breadth first. Readers of the shared memory see an entry in its new slot before it leaves the old
// one. A slot is reserved before a record is written, so that linking the record cannot fail, and
// no entry is ever lost.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/bitmap.h"
#include "base/ids.h"
#include "cached/store/region.h"
#include "wire/shm_layout.h"

namespace holdfast::store {

// Of records in mapped memory, OID and version are checked in the record itself. Those of a disk are
// not at hand: there the entry's tag has to do, with six bits of the version in the upper part of its
// offset (DiskOffset), and whoever reads the record checks it. That is wrong for one of 20 million
// look-ups of a version, and for one of 260,000 of any version.
//
// The deciding thread's. Slots are numbers (bucket · 8 + place) that stay valid until the next
// Reserve.
class Index {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;
  static constexpr uint16_t kMaxHolds = 0x3ffe;
  static constexpr uint32_t kMaxReads = 3;

  // Empties the buckets of the region, or counts what is in them.
  enum class Start : uint8_t { kEmpty, kAsFound };
  explicit Index(const Region& region, Start start = Start::kEmpty);
  // Of a disk. The buckets are the caller's.
  explicit Index(std::span<shm::Bucket> buckets);
  // What an entry of a disk has as its offset: below it 26 bits for the segment's bytes, above them
  // 6 of the version.
  static constexpr uint64_t DiskOffset(uint64_t offset, VersionHash version) {
    return (version >> 58) << 26 | offset;
  }
  static constexpr uint64_t OffsetOnDisk(shm::Entry e) { return shm::OffsetOf(e) & 0x3ffffff; }

  // The slot of a record of this object; version 0 finds any. kNone when there is none.
  uint32_t Find(const Oid& oid, VersionHash version) const;
  // The slot of the entry that leads to exactly this place; kNone when there is none. `oid` may be
  // garbage.
  uint32_t FindPlace(const Oid& oid, Place place) const;
  // Calls visit(slot) for every version of the object.
  template <typename Visit>
  void ForEachVersion(const Oid& oid, const Visit& visit) const {
    const uint32_t first = shm::FirstBucket(oid, buckets_count_);
    const uint32_t other = shm::OtherBucket(first, shm::TagFor(oid), buckets_count_);
    auto visit_bucket = [&](uint32_t bucket) {
      for (uint32_t i = 0; i < shm::kBucketEntries; ++i) {
        const uint32_t slot = bucket * shm::kBucketEntries + i;
        if (Matches(entry(slot), oid, 0)) visit(slot);
      }
    };
    visit_bucket(first);
    if (other != first) visit_bucket(other);
  }
  // Sets here[i] and, where held, held[i]; see MemoryTier::FindMany.
  void FindMany(std::span<const Oid> oids, std::span<const VersionHash> versions, WallTime now,
                Bitmap* here, Bitmap* held) const;
  void PrefetchBuckets(const Oid& oid) const;

  // A slot for a record to come, which moves nowhere until it is linked or released. Nothing when
  // the index is full.
  std::optional<uint32_t> Reserve(const Oid& oid);
  void ReleaseReserved(uint32_t slot);
  void Link(uint32_t reserved, shm::Entry entry);
  // The record has moved: readers find it at one place or the other.
  void Relink(uint32_t slot, shm::Entry entry);
  void Unlink(uint32_t slot);

  shm::Entry entry(uint32_t slot) const { return slots()[slot].load(std::memory_order_relaxed); }
  uint16_t holds(uint32_t slot) const { return side_[slot] & kHoldMask; }
  void SetHolds(uint32_t slot, uint16_t holds) {
    side_[slot] = static_cast<uint16_t>((side_[slot] & ~kHoldMask) | holds);
  }
  // Reads are counted up to three. What was loaded for a reader is read once in any case.
  uint32_t reads(uint32_t slot) const { return side_[slot] >> kHoldBits; }
  bool was_read(uint32_t slot) const { return reads(slot) > 0; }
  bool was_reread(uint32_t slot) const { return reads(slot) > 1; }
  void AddRead(uint32_t slot) { SetReads(slot, std::min(reads(slot) + 1, kMaxReads)); }
  void SetReads(uint32_t slot, uint32_t reads) {
    side_[slot] = static_cast<uint16_t>((side_[slot] & kHoldMask) | reads << kHoldBits);
  }

  uint32_t slot_count() const { return buckets_count_ * shm::kBucketEntries; }
  // Linked and reserved slots, and how many there can be.
  uint64_t used() const { return used_; }
  uint64_t capacity() const { return capacity_; }

 private:
  static constexpr int kHoldBits = 14;
  static constexpr uint16_t kHoldMask = 0x3fff;
  static constexpr uint16_t kReservedMark = kHoldMask;  // as a hold count, beside an empty entry

  // Some of the objects of a FindMany, at the same step.
  struct Group {
    static constexpr size_t kMost = 8;
    std::span<const Oid> oids;
    std::array<uint32_t, kMost> first;  // buckets
    std::array<uint32_t, kMost> second;
    std::array<uint32_t, kMost> slots;  // of the first entry with the tag
    uint32_t some = 0;                  // bit i: oids[i] has one
  };
  void AskForBuckets(Group* group) const;
  void AskForRecords(Group* group, bool holds) const;
  // Bit i: oids[i] is here, in slots[i].
  uint32_t Check(Group* group, std::span<const VersionHash> versions, WallTime now) const;

  std::atomic<shm::Entry>* slots() const { return buckets_->entries; }
  uint32_t OtherOf(uint32_t bucket, shm::Entry e) const {
    return shm::OtherBucket(bucket, shm::TagOf(e), buckets_count_);
  }
  bool Empty(uint32_t slot) const { return entry(slot) == 0 && side_[slot] == 0; }
  uint32_t EmptyIn(uint32_t bucket) const;
  bool Matches(shm::Entry e, const Oid& oid, VersionHash version) const {
    if (e == 0) return false;
    if (!region_) {
      if (shm::TagOf(e) != shm::TagFor(oid)) return false;
      return version == 0 || shm::OffsetOf(e) == DiskOffset(OffsetOnDisk(e), version);
    }
    const shm::RecordHeader* record = region_->record(e);
    return record->oid == oid && (version == 0 || record->version == version);
  }
  uint32_t FindIn(uint32_t bucket, uint32_t tag, const Oid& oid, VersionHash version) const;
  uint32_t Displace(uint32_t first, uint32_t second);
  void Move(uint32_t from, uint32_t to);

  void SetCapacity();
  void Clear();

  std::optional<Region> region_;  // of mapped memory
  shm::Bucket* buckets_;
  uint32_t buckets_count_;
  uint64_t used_ = 0;
  uint64_t capacity_ = 0;
  std::vector<uint16_t> side_;
};

}  // namespace holdfast::store
