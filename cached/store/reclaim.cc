// SPDX-License-Identifier: Apache-2.0
#include "cached/store/reclaim.h"

#include <algorithm>

#include "base/status.h"

namespace holdfast::store {
namespace {

// Records whose buckets are fetched before the first of them is looked up.
constexpr uint32_t kAhead = 16;

}  // namespace

Reclaim::Outcome Reclaim::Run(Time now, const Wish& wish) {
  if (victim_ == Segments::kNone) {
    victim_ = segments_->ChooseVictim(wish.min_gain, wish.guests_only, wish.unheld);
    if (victim_ == Segments::kNone) return Outcome::kNothing;
    cursor_ = kFirstRecord;
    kept_bytes_ = 0;
  }
  uint64_t spent = 0;
  const uint64_t end = (*segments_)[victim_].end;
  for (uint32_t n = 0; cursor_ < end; ++n) {
    if (spent >= wish.budget_bytes) return Outcome::kPaused;
    if (n % kAhead == 0) PrefetchAhead(cursor_);
    const Place place{victim_, cursor_};
    const shm::RecordHeader* record = region_.record(place);
    const uint64_t bytes = RecordBytesOf(*record);
    // What was aborted, dropped or replaced has no entry any more.
    const uint32_t slot = index_->FindPlace(record->oid, place);
    if (slot != Index::kNone && !Settle(slot, bytes, now, wish.keep_reread))
      return Outcome::kNoRoom;
    cursor_ += bytes;
    spent += bytes;
  }
  evictions_.SegmentDone();
  segments_->Emptied(victim_);
  victim_ = Segments::kNone;
  return Outcome::kEmptied;
}

void Reclaim::PrefetchAhead(uint64_t offset) const {
  const uint64_t end = (*segments_)[victim_].end;
  for (uint32_t n = 0; n < kAhead && offset < end; ++n) {
    const shm::RecordHeader* record = region_.record(Place{victim_, offset});
    index_->PrefetchBuckets(record->oid);
    offset += RecordBytesOf(*record);
  }
}

// False when the record has to stay and there is no room for it elsewhere.
bool Reclaim::Settle(uint32_t slot, uint64_t bytes, Time now, bool keep_reread) {
  const bool guest = (*segments_)[records_->PlaceOf(slot).segment].owner == kGuestClass;
  const bool held = index_->holds(slot) != 0;
  if (held && !MoveHeld(slot, bytes, now)) return false;
  const bool wanted = keep_reread && index_->was_reread(slot) && !records_->Expired(slot);
  if (held || (wanted && KeepReread(slot, bytes, now))) {
    counters_.kept_guests += guest ? 1 : 0;
    return true;
  }
  counters_.dropped_guests += guest ? 1 : 0;
  Drop(slot, bytes, now);
  return true;
}

// To snapshots the disk is part of what is kept.
void Reclaim::Drop(uint32_t slot, uint64_t bytes, Time now) {
  const shm::RecordHeader* record = region_.record(records_->PlaceOf(slot));
  const Duration age = now - records_->Since(slot);
  const snapshot::Ring ring = records_->RingOf(slot);
  if (below_ == nullptr || !below_->Has(record->oid, record->version)) {
    evictions_.Evicted(ring, age);
  } else {
    ++counters_.descended_objects;
    if (ring == snapshot::Ring::kFresh) evictions_.Moved(age);
  }
  ghosts_.Dropped(record->oid, bytes);
  records_->Unlink(slot);
  ++counters_.dropped_objects;
  counters_.dropped_bytes += bytes;
}

bool Reclaim::MoveHeld(uint32_t slot, uint64_t bytes, Time now) {
  const shm::RecordHeader* record = region_.record(records_->PlaceOf(slot));
  const Duration remaining =
      hold_until_ ? std::max(hold_until_(record->oid, record->version) - now, Duration(0))
                  : Duration(0);
  const uint32_t owner = HoldClassFor(remaining, segments_->hold_classes());
  // Near the end of the free segments the class matters less than to fill what is open.
  std::optional<Place> to = segments_->Append(owner, bytes, kMoveReserve);
  if (!to) to = segments_->AppendToAnyHold(bytes);
  if (!to) to = segments_->Append(owner, bytes, 0);
  if (!to) return false;
  records_->Move(slot, *to);
  segments_->WriterDone(to->segment);
  counters_.moved_bytes += bytes;
  return true;
}

bool Reclaim::KeepReread(uint32_t slot, uint64_t bytes, Time now) {
  if (!Keeps(kept_bytes_, bytes, region_.segment_bytes())) return false;
  // The victim itself comes back for the segment that this may take from the reserve.
  const std::optional<Place> to =
      segments_->Append(segments_->kept_class(), bytes, kMoveReserve - 1);
  if (!to) return false;
  const Duration age = now - records_->Since(slot);
  const snapshot::Ring from = records_->RingOf(slot);
  records_->Move(slot, *to);
  if (records_->RingOf(slot) != from) evictions_.Moved(age);
  segments_->WriterDone(to->segment);
  index_->SetReads(slot, index_->reads(slot) - 1);  // in the end it has to be read again to stay
  kept_bytes_ += bytes;
  counters_.moved_bytes += bytes;
  return true;
}

}  // namespace holdfast::store
