// SPDX-License-Identifier: Apache-2.0
#include "cached/store/records.h"

#include <algorithm>
#include <cstring>

#include "base/status.h"

namespace holdfast::store {

void Records::Link(uint32_t reserved, Place place, uint16_t holds) {
  const shm::RecordHeader* record = region_.record(place);
  may_expire_ = may_expire_ || record->expires_s != 0;
  const uint64_t bytes = RecordBytesOf(*record);
  index_->Link(reserved, shm::MakeEntry(shm::TagFor(record->oid), place.segment, place.offset));
  segments_->AddLive(place.segment, bytes);
  counters_.live_bytes += bytes;
  ++counters_.live_objects;
  SetHolds(reserved, holds);
}

void Records::Unlink(uint32_t slot) {
  HF_CHECK(index_->holds(slot) == 0);
  const Place place = PlaceOf(slot);
  const uint64_t bytes = RecordBytesOf(*region_.record(place));
  index_->Unlink(slot);
  segments_->RemoveLive(place.segment, bytes);
  counters_.live_bytes -= bytes;
  --counters_.live_objects;
}

void Records::Move(uint32_t slot, Place to) {
  const Place from = PlaceOf(slot);
  const shm::RecordHeader* record = region_.record(from);
  const uint64_t bytes = RecordBytesOf(*record);
  std::memcpy(region_.at(to), region_.at(from), bytes);
  if (index_->holds(slot) == 0) WriteSince(to, Since(slot));
  index_->Relink(slot, shm::MakeEntry(shm::TagFor(record->oid), to.segment, to.offset));
  segments_->AddLive(to.segment, bytes);
  segments_->RemoveLive(from.segment, bytes);
  if (index_->holds(slot) != 0) {
    segments_->AddHeld(to.segment, bytes);
    segments_->RemoveHeld(from.segment, bytes);
  }
}

// An age that began when promises ended goes on in another segment.
void Records::WriteSince(Place place, Time since) const {
  shm::RecordHeader* record = region_.record(place);
  if (record->written_us == since.us) return;
  record->written_us = since.us;
  record->header_hash = HeaderHash(record);
}

uint32_t Records::FindReadable(const Oid& oid, VersionHash version) const {
  const uint32_t slot = index_->Find(oid, version);
  if (slot == Index::kNone || !Expired(slot)) return slot;
  if (version != 0) return Index::kNone;
  uint32_t other = Index::kNone;
  index_->ForEachVersion(oid, [&](uint32_t s) {
    if (!Expired(s)) other = s;
  });
  return other;
}

void Records::Replace(uint32_t slot, Place place) {
  const Place from = PlaceOf(slot);
  const shm::RecordHeader* record = region_.record(place);
  const uint64_t before = RecordBytesOf(*region_.record(from)), after = RecordBytesOf(*record);
  index_->Relink(slot, shm::MakeEntry(shm::TagFor(record->oid), place.segment, place.offset));
  segments_->AddLive(place.segment, after);
  segments_->RemoveLive(from.segment, before);
  counters_.live_bytes += after - before;
  if (index_->holds(slot) == 0) return;
  segments_->AddHeld(place.segment, after);
  segments_->RemoveHeld(from.segment, before);
  counters_.held_bytes += after - before;
}

uint64_t Records::BytesOf(uint32_t slot) const {
  return RecordBytesOf(*region_.record(PlaceOf(slot)));
}

Time Records::Since(uint32_t slot) const {
  const Place place = PlaceOf(slot);
  return std::max(Time{region_.record(place)->written_us}, (*segments_)[place.segment].joined);
}

void Records::SetHolds(uint32_t slot, uint16_t holds) {
  const bool was_held = index_->holds(slot) != 0;
  index_->SetHolds(slot, holds);
  if (was_held == (holds != 0)) return;
  const Place place = PlaceOf(slot);
  const uint64_t bytes = RecordBytesOf(*region_.record(place));
  if (was_held) {
    segments_->RemoveHeld(place.segment, bytes);
    counters_.held_bytes -= bytes;
    --counters_.held_objects;
  } else {
    segments_->AddHeld(place.segment, bytes);
    counters_.held_bytes += bytes;
    ++counters_.held_objects;
  }
}

}  // namespace holdfast::store
