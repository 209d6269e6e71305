// SPDX-License-Identifier: Apache-2.0
// What an operator asks of a disk tier: to drop objects, and to list them.
#include <utility>

#include "cached/store/disk_tier.h"

namespace holdfast::store {

uint64_t DiskTier::Drop(const Oid& oid, VersionHash version) {
  if (!ready_) return 0;
  uint64_t dropped = tiny_.Drop(oid, version) ? 1 : 0;
  for (const uint32_t slot : records_.SlotsOf(oid, version)) {
    if (records_.index().holds(slot) > 0) continue;
    records_.Unlink(slot);
    ++dropped;
  }
  return dropped;
}

void DiskTier::List(uint32_t segment, Visit visit, std::function<void()> done) {
  if (segment >= segments_.size()) return tiny_.ListYoung(std::move(visit), std::move(done));
  DiskSegment& s = segments_[segment];
  if (s.kind == disk::SegmentKind::kPacks) {
    return tiny_.list().Segment(segment, std::move(visit), std::move(done));
  }
  const uint64_t id = next_look_++;
  Listing& listing = listings_[id];
  listing = {.segment = segment, .table = {}, .visit = std::move(visit), .done = std::move(done)};
  if (s.use != DiskUse::kSealed) {  // its table is still in memory, if it has one
    listing.table = Buffer(s.table.size() * disk::kEntryBytes);
    for (size_t i = 0; i < s.table.size(); ++i) {
      disk::EncodeEntry(s.table[i], listing.table.data() + i * disk::kEntryBytes);
    }
    env_.clock->At(env_.clock->Now(), [this, id] { Listed(id); });
    return;
  }
  listing.table = Buffer(s.entries * disk::kEntryBytes);
  ++s.readers;
  disk_->Read(segment, s.end, listing.table.span(),
              [this, id, segment, right = s.table_hash](const Status& read, uint64_t hash) {
                if (!read.ok() || hash != right) listings_[id].table = Buffer();
                DoneReading(segment);
                Listed(id);
              });
}

void DiskTier::Listed(uint64_t id) {
  auto finished = listings_.extract(id);
  const Listing& listing = finished.mapped();
  Result<std::vector<disk::Entry>> entries =
      disk::DecodeTable(listing.table.view(), segments_.segment_bytes());
  if (entries.ok()) {
    const int64_t now_us = Stamp({});
    for (const disk::Entry& entry : *entries) {
      if (records_.SlotOf(listing.segment, entry) == Index::kNone) continue;
      listing.visit(entry.oid, entry.version, entry.Age(now_us));
    }
  }
  listing.done();
}

}  // namespace holdfast::store
