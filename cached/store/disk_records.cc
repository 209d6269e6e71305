// SPDX-License-Identifier: Apache-2.0
#include "cached/store/disk_records.h"

#include <algorithm>

#include "base/status.h"

namespace holdfast::store {

// As full as the index of memory gets, 92 %.
uint64_t DiskRecords::BucketsFor(uint64_t index_objects) {
  return std::max<uint64_t>(index_objects * 100 / 92 / shm::kBucketEntries + 1, 2);
}

uint64_t DiskRecords::MemoryBytes(uint64_t index_objects) {
  return BucketsFor(index_objects) * (sizeof(shm::Bucket) + shm::kBucketEntries * sizeof(uint16_t));
}

DiskRecords::DiskRecords(DiskSegments* segments, uint64_t index_objects)
    : segments_(segments), buckets_(BucketsFor(index_objects)), index_(std::span(buckets_)) {}

template <typename Visit>
void DiskRecords::ForEachOf(const Oid& oid, VersionHash version, const Visit& visit) const {
  index_.ForEachVersion(oid, [&](uint32_t slot) {
    const shm::Entry e = index_.entry(slot);
    const uint64_t wanted = Index::DiskOffset(Index::OffsetOnDisk(e), version);
    if (version == 0 || shm::OffsetOf(e) == wanted) visit(slot, e);
  });
}

std::vector<uint32_t> DiskRecords::SlotsOf(const Oid& oid, VersionHash version) const {
  std::vector<uint32_t> slots;
  ForEachOf(oid, version, [&](uint32_t slot, shm::Entry) { slots.push_back(slot); });
  return slots;
}

std::vector<DiskRecords::Candidate> DiskRecords::Find(const Oid& oid, VersionHash version) const {
  std::vector<Candidate> candidates;
  ForEachOf(oid, version, [&](uint32_t, shm::Entry e) {
    candidates.push_back({shm::SegmentOf(e), Index::OffsetOnDisk(e)});
  });
  return candidates;
}

uint32_t DiskRecords::SlotOf(uint32_t segment, const disk::Entry& entry) const {
  return index_.FindPlace(entry.oid, {segment, Index::DiskOffset(entry.offset, entry.version)});
}

bool DiskRecords::Link(uint32_t segment, const disk::Entry& entry) {
  const shm::Entry to = shm::MakeEntry(shm::TagFor(entry.oid), segment,
                                       Index::DiskOffset(entry.offset, entry.version));
  if (const uint32_t slot = index_.Find(entry.oid, entry.version); slot != Index::kNone) {
    DiskSegment& other = (*segments_)[shm::SegmentOf(index_.entry(slot))];
    if (other.sequence >= (*segments_)[segment].sequence) return false;
    --other.live;
    if (index_.holds(slot) > 0) {
      const uint64_t bytes = HeldBytes(entry.size);
      other.held_bytes -= std::min(bytes, other.held_bytes);
      (*segments_)[segment].held_bytes += bytes;
    }
    index_.Relink(slot, to);
    index_.SetReads(slot, 0);  // it has to be read again to stay once more
  } else {
    const std::optional<uint32_t> reserved = index_.Reserve(entry.oid);
    if (!reserved) return false;
    index_.Link(*reserved, to);
    ++live_;
  }
  ++(*segments_)[segment].live;
  return true;
}

bool DiskRecords::Hold(const Oid& oid, VersionHash version, uint64_t size, uint32_t* holds) {
  const uint32_t slot = index_.Find(oid, version);
  if (slot == Index::kNone || index_.holds(slot) >= Index::kMaxHolds) return false;
  *holds = index_.holds(slot) + 1u;
  index_.SetHolds(slot, static_cast<uint16_t>(*holds));
  if (*holds > 1) return true;
  ++held_;
  (*segments_)[shm::SegmentOf(index_.entry(slot))].held_bytes += HeldBytes(size);
  return true;
}

bool DiskRecords::Unhold(const Oid& oid, VersionHash version, uint64_t size, uint32_t* holds) {
  const uint32_t slot = index_.Find(oid, version);
  if (slot == Index::kNone || index_.holds(slot) == 0) return false;
  *holds = index_.holds(slot) - 1u;
  index_.SetHolds(slot, static_cast<uint16_t>(*holds));
  if (*holds > 0) return true;
  --held_;
  DiskSegment& segment = (*segments_)[shm::SegmentOf(index_.entry(slot))];
  segment.held_bytes -= std::min(HeldBytes(size), segment.held_bytes);
  return true;
}

// Its segment counts it as held as long as there is something in it.
void DiskRecords::Unlink(uint32_t slot, const Oid* oid) {
  if (index_.holds(slot) > 0) {
    --held_;
    lost_.many = lost_.many || oid == nullptr || lost_.oids.size() == kMostLost;
    if (!lost_.many) lost_.oids.push_back(*oid);
  }
  DiskSegment& segment = (*segments_)[shm::SegmentOf(index_.entry(slot))];
  if (--segment.live == 0) segment.held_bytes = 0;
  --live_;
  index_.Unlink(slot);
}

void DiskRecords::UnlinkSegment(uint32_t segment) {
  for (uint32_t slot = 0; slot < index_.slot_count(); ++slot) {
    const shm::Entry e = index_.entry(slot);
    if (e != 0 && shm::SegmentOf(e) == segment) Unlink(slot);
  }
}

}  // namespace holdfast::store
