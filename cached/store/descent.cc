// SPDX-License-Identifier: Apache-2.0
#include "cached/store/descent.h"

#include <algorithm>
#include <utility>

#include "wire/stream_entry.h"

namespace holdfast::store {

void Descent::Maintain(Time now, uint32_t ahead, uint64_t min_gain) {
  // What has nothing to copy is done at once: no more of that in an event either.
  for (uint32_t begun = 0; begun < kAtOnce && segments_->copying() < kAtOnce; ++begun) {
    if (segments_->ToCome() + segments_->copying() >= ahead) return;
    const uint64_t room = outlet_.room ? outlet_.room() : 0;
    if (disk_ == nullptr && (room == 0 || begun > 0)) return;  // names are copied: one in an event
    const uint32_t victim = segments_->ChooseToCopy(min_gain, reclaim_->victim());
    if (victim == Segments::kNone) return;
    Begin(victim, now, room);
  }
}

void Descent::Begin(uint32_t victim, Time now, uint64_t room) {
  segments_->BeginCopy(victim);
  Copying& copying = copying_[victim];
  Leaving leaving = Collect(victim, now, room, &copying.offered);
  copying.parts = leaving.away.empty() ? 1 : 2;
  if (!leaving.away.empty()) {
    outlet_.take(std::move(leaving.away), [this, victim] { EndAway(victim); });
  }
  if (disk_ != nullptr) {
    disk_->Take(std::move(leaving.down), [this, victim] { EndPart(victim); });
  } else {
    EndPart(victim);
  }
}

Descent::Leaving Descent::Collect(uint32_t segment, Time now, uint64_t room,
                                  std::vector<Offered>* offered) {
  Leaving leaving;
  uint64_t kept = 0;
  const uint64_t end = (*segments_)[segment].end;
  for (uint64_t offset = kFirstRecord; offset < end;) {
    const Place place{segment, offset};
    const shm::RecordHeader* record = region_.record(place);
    const uint64_t bytes = RecordBytesOf(*record);
    offset += bytes;
    const uint32_t slot = index_->FindPlace(record->oid, place);
    if (slot == Index::kNone || index_->holds(slot) != 0 || records_->Expired(slot)) continue;
    // A chunk of a stream that nobody holds is on a disk already, or nobody's any more.
    if (wire::IsChunkName(NameOf(record))) continue;
    // Reclaim appends it again, unless it reclaims for a promise: a peer may have it, too.
    const bool stays =
        index_->was_reread(slot) && Reclaim::Keeps(kept, bytes, region_.segment_bytes());
    kept += stays ? bytes : 0;
    if (!stays && disk_ != nullptr && disk_->Wants(record->oid, record->version, bytes)) {
      leaving.down.push_back(ItemOf(slot, record, now));
      continue;
    }
    const bool full = bytes > room || leaving.away.size() == Outlet::kMostRecords;
    if (full || !GoesAway(slot, record)) continue;
    room -= bytes;
    offered->push_back({place.offset, index_->reads(slot)});
    leaving.away.push_back(AwayOf(slot, record, now));
  }
  return leaving;
}

LeavingRecord Descent::AwayOf(uint32_t slot, const shm::RecordHeader* record, Time now) const {
  return {.oid = record->oid,
          .version = record->version,
          .size = record->size,
          .age = std::max(now - records_->Since(slot), Duration(0)),
          .name = std::string(NameOf(record)),
          .etag = std::string(EtagOf(record))};
}

bool Descent::GoesAway(uint32_t slot, const shm::RecordHeader* record) const {
  return index_->was_read(slot) &&
         (disk_ == nullptr || !disk_->HasOfSize(record->oid, record->version, record->size));
}

DiskWriter::Item Descent::ItemOf(uint32_t slot, const shm::RecordHeader* record, Time now) const {
  return DiskWriter::ItemOf(record->oid, record->version, NameOf(record), EtagOf(record),
                            {PayloadOf(record), record->size}, record->payload_hash,
                            disk_->Stamp(now - records_->Since(slot)), record->expires_s);
}

// To pull a record is to read it, which is nobody's interest in it here.
void Descent::EndAway(uint32_t segment) {
  drain_();
  for (const Offered& offered : copying_[segment].offered) {
    const Place place{segment, offered.offset};
    const uint32_t slot = index_->FindPlace(region_.record(place)->oid, place);
    if (slot != Index::kNone) index_->SetReads(slot, std::min(index_->reads(slot), offered.reads));
  }
  EndPart(segment);
}

void Descent::EndPart(uint32_t segment) {
  if (--copying_[segment].parts > 0) return;
  copying_.erase(segment);
  segments_->EndCopy(segment);
}

}  // namespace holdfast::store
