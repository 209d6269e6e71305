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

std::vector<DiskRecords::Candidate> DiskRecords::Find(const Oid& oid, VersionHash version) const {
  std::vector<Candidate> candidates;
  index_.ForEachVersion(oid, [&](uint32_t slot) {
    const shm::Entry e = index_.entry(slot);
    const Candidate found{shm::SegmentOf(e), Index::OffsetOnDisk(e)};
    const bool fits = version == 0 || shm::OffsetOf(e) == Index::DiskOffset(found.offset, version);
    if (fits) candidates.push_back(found);
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
    index_.Relink(slot, to);
    index_.ForgetReads(slot);  // it has to be read again to stay once more
  } else {
    const std::optional<uint32_t> reserved = index_.Reserve(entry.oid);
    if (!reserved) return false;
    index_.Link(*reserved, to);
    ++live_;
  }
  ++(*segments_)[segment].live;
  return true;
}

void DiskRecords::Unlink(uint32_t slot) {
  --(*segments_)[shm::SegmentOf(index_.entry(slot))].live;
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
