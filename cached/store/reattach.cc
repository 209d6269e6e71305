// SPDX-License-Identifier: Apache-2.0
#include "cached/store/reattach.h"

#include <algorithm>

#include "base/hash.h"
#include "cached/store/segments.h"

namespace holdfast::store {
namespace {

struct Found {
  uint64_t offset;
  uint32_t slot;
};

std::atomic<shm::Entry>& EntryAt(const Region& region, uint32_t slot) {
  return region.buckets()[slot / shm::kBucketEntries].entries[slot % shm::kBucketEntries];
}

// Does a record begin there that ends before `to`?
bool IsRecord(const Region& region, Place place, uint64_t to) {
  const uint64_t room = to - place.offset;
  const shm::RecordHeader* record = region.record(place);
  return room >= sizeof(*record) && record->magic == shm::kRecordMagic && record->size <= room &&
         RecordBytesOf(*record) <= room && HeaderHash(record) == record->header_hash;
}

// Does the record of this entry's object lie there, whole?
bool IsRight(const Region& region, uint32_t slot, shm::Entry entry, Place place) {
  if (!IsRecord(region, place, region.segment_bytes())) return false;
  const shm::RecordHeader* record = region.record(place);
  const uint32_t tag = shm::TagFor(record->oid), buckets = region.plan().buckets;
  const uint32_t first = shm::FirstBucket(record->oid, buckets);
  const uint32_t bucket = slot / shm::kBucketEntries;
  if (tag != shm::TagOf(entry) ||
      (bucket != first && bucket != shm::OtherBucket(first, tag, buckets))) {
    return false;
  }
  return Hash64({PayloadOf(record), record->size}) == record->payload_hash;
}

// Nobody finds what lies in [from, to), but it can be walked. Records stay as they are, for views of
// those that were dropped may live; the first thing that is none becomes one, up to the end.
void Fill(const Region& region, uint32_t segment, uint64_t from, uint64_t to) {
  for (; from < to; from += RecordBytesOf(*region.record(Place{segment, from}))) {
    if (IsRecord(region, {segment, from}, to)) continue;
    *region.record(Place{segment, from}) = {
        .magic = shm::kRecordMagic,
        .name_bytes = 0,
        .etag_bytes = 0,
        .oid = {},
        .version = 0,
        .size = static_cast<uint32_t>(to - from - shm::kRecordAlign),
        .expires_s = 0,
        .payload_hash = 0,
        .written_us = 0,
        .header_hash = 0};
  }
}

// Keeps what is right of what is said to lie in the segment, in the order of their places.
void AdoptSegment(const Region& region, uint32_t segment, std::vector<Found>& found,
                  Reattached* all) {
  std::sort(found.begin(), found.end(),
            [](const Found& a, const Found& b) { return a.offset < b.offset; });
  Reattached::Segment& s = all->segments[segment];
  s.kept =
      (region.states()[segment].generation.load(std::memory_order_relaxed) & kKeptSegment) != 0;
  uint64_t end = kFirstRecord;
  for (const Found& one : found) {
    std::atomic<shm::Entry>& entry = EntryAt(region, one.slot);
    const shm::Entry e = entry.load(std::memory_order_relaxed);
    // One that was just being displaced is there twice.
    if (one.offset < end || !IsRight(region, one.slot, e, {segment, one.offset})) {
      entry.store(0, std::memory_order_release);
      ++all->lost;
      continue;
    }
    const shm::RecordHeader* record = region.record(e);
    const uint64_t bytes = RecordBytesOf(*record);
    Fill(region, segment, end, one.offset);
    end = s.end = one.offset + bytes;
    s.live_bytes += bytes;
    s.youngest_us = std::max(s.youngest_us, record->written_us);
    ++all->objects;
    all->may_expire = all->may_expire || record->expires_s != 0;
    all->bytes += bytes;
  }
}

}  // namespace

Reattached Reattach(const Region& region) {
  Reattached all{.segments = std::vector<Reattached::Segment>(region.segments())};
  std::vector<std::vector<Found>> found(region.segments());
  const uint32_t slots = region.plan().buckets * shm::kBucketEntries;
  for (uint32_t slot = 0; slot < slots; ++slot) {
    const shm::Entry e = EntryAt(region, slot).load(std::memory_order_relaxed);
    if (e == 0) continue;
    if (shm::SegmentOf(e) < region.segments() && shm::OffsetOf(e) < region.segment_bytes()) {
      found[shm::SegmentOf(e)].push_back({shm::OffsetOf(e), slot});
    } else {
      EntryAt(region, slot).store(0, std::memory_order_release);
      ++all.lost;
    }
  }
  for (uint32_t segment = 0; segment < region.segments(); ++segment) {
    AdoptSegment(region, segment, found[segment], &all);
  }
  return all;
}

}  // namespace holdfast::store
