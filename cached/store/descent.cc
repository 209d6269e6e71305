// SPDX-License-Identifier: Apache-2.0
#include "cached/store/descent.h"

#include <algorithm>
#include <utility>

#include "wire/stream_entry.h"

namespace holdfast::store {

void Descent::Maintain(Time now, uint32_t ahead, uint64_t min_gain) {
  while (segments_->copying() < kAtOnce) {
    const uint32_t to_come = segments_->free() + segments_->waiting() + segments_->copied();
    if (to_come + segments_->copying() >= ahead) return;
    const uint32_t victim = segments_->ChooseToCopy(min_gain, reclaim_->victim());
    if (victim == Segments::kNone) return;
    segments_->BeginCopy(victim);
    disk_->Take(Collect(victim, now), [this, victim] { segments_->EndCopy(victim); });
  }
}

std::vector<DiskWriter::Item> Descent::Collect(uint32_t segment, Time now) const {
  std::vector<DiskWriter::Item> items;
  uint64_t kept = 0;
  const uint64_t end = (*segments_)[segment].end;
  for (uint64_t offset = kFirstRecord; offset < end;) {
    const Place place{segment, offset};
    const shm::RecordHeader* record = region_.record(place);
    const uint64_t bytes = RecordBytesOf(*record);
    offset += bytes;
    const uint32_t slot = index_->FindPlace(record->oid, place);
    if (slot == Index::kNone || index_->holds(slot) != 0) continue;
    // A chunk of a stream that nobody holds is on a disk already, or nobody's any more.
    if (wire::IsChunkName(NameOf(record))) continue;
    if (index_->was_reread(slot) && kept + bytes <= Reclaim::MostKept(region_.segment_bytes())) {
      kept += bytes;  // reclaim appends it again
      continue;
    }
    if (!disk_->Wants(record->oid, record->version, bytes)) continue;
    items.push_back({.head = {.entry = {.oid = record->oid,
                                        .version = record->version,
                                        .size = record->size,
                                        .loaded_us = disk_->Stamp(now - records_->Since(slot)),
                                        .name_bytes = record->name_bytes,
                                        .etag_bytes = record->etag_bytes},
                              .payload_hash = record->payload_hash,
                              .name = std::string(NameOf(record)),
                              .etag = std::string(EtagOf(record))},
                     .payload = {PayloadOf(record), record->size},
                     .whole = {}});
  }
  return items;
}

}  // namespace holdfast::store
