// SPDX-License-Identifier: Apache-2.0
// What is done to one record of a disk: found, linked, taken out. The one place where index, segments
// and counters of the disk tier change together.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "cached/store/disk_segments.h"
#include "cached/store/index.h"
#include "wire/disk_segment.h"

namespace holdfast::store {

class DiskRecords {
 public:
  // Of an object that may be there: the record itself will say.
  struct Candidate {
    uint32_t segment = 0;
    uint64_t offset = 0;
  };

  DiskRecords(DiskSegments* segments, uint64_t index_objects);
  static uint64_t MemoryBytes(uint64_t index_objects);

  Index& index() { return index_; }
  const Index& index() const { return index_; }

  // What may be of this object; version 0 is any.
  std::vector<uint32_t> SlotsOf(const Oid& oid, VersionHash version) const;
  std::vector<Candidate> Find(const Oid& oid, VersionHash version) const;
  // The slot that leads to this very record; Index::kNone when none does.
  uint32_t SlotOf(uint32_t segment, const disk::Entry& entry) const;

  // The record is on the disk; it takes the place of an older one of the object and version. False
  // when there is a younger one, or no room in the index.
  bool Link(uint32_t segment, const disk::Entry& entry);
  // `oid` is whose it is, if the caller knows.
  void Unlink(uint32_t slot, const Oid* oid = nullptr);
  // Takes out all that leads to a segment: for one whose table cannot be read.
  void UnlinkSegment(uint32_t segment);

  // One promise more or less for a record of an object of `size` bytes; false when it is not there, has
  // Index::kMaxHolds already, or none to take away. `holds` tells how many it has then.
  bool Hold(const Oid& oid, VersionHash version, uint64_t size, uint32_t* holds);
  bool Unhold(const Oid& oid, VersionHash version, uint64_t size, uint32_t* holds);
  // Are fewer than one of `part` places of the index left? They are for what is promised.
  bool Crowded(uint64_t part) const {
    return index_.used() >= index_.capacity() - index_.capacity() / part;
  }
  uint64_t held() const { return held_; }  // records
  // What a held one counts as: with name and ETag of usual length.
  static constexpr uint64_t kUsualText = 512;
  static uint64_t HeldBytes(uint64_t size) { return disk::RecordBytes(size, kUsualText, 0); }
  // What was lost while it was held; `many`: more than are named.
  struct Lost {
    std::vector<Oid> oids{};
    bool many = false;
    bool any() const { return many || !oids.empty(); }
  };
  Lost TakeLost() { return std::exchange(lost_, {}); }

  uint64_t live() const { return live_; }

 private:
  static constexpr size_t kMostLost = 1'000;
  static uint64_t BucketsFor(uint64_t index_objects);
  // Calls visit(slot, entry) for what may be of it.
  template <typename Visit>
  void ForEachOf(const Oid& oid, VersionHash version, const Visit& visit) const;

  DiskSegments* segments_;
  std::vector<shm::Bucket> buckets_;
  Index index_;
  uint64_t live_ = 0;
  uint64_t held_ = 0;  // records
  Lost lost_;
};

}  // namespace holdfast::store
