// SPDX-License-Identifier: Apache-2.0
#include "cached/store/disk_reclaim.h"

#include <algorithm>
#include <utility>

namespace holdfast::store {

static_assert(DiskReclaim::kKeepAtOnce <= kMostMoveBytes &&
              DiskReclaim::kKeepRecordsAtOnce <= kMostMoveRecords);

// --- 1. Table ------------------------------------------------------------------------------------

void DiskReclaim::Maintain() {
  if (victim_ != DiskSegments::kNone || writer_->off() || env_.clock->Now() < rests_until_) return;
  const bool full = segments_->free() < kLeastFree || records_->Crowded(32);
  // While they are merged the oldest are not in the ring.
  if (!full && (!tiny_->TooMany() || tiny_->merging())) return;
  victim_ = segments_->TakeVictim(!full);
  if (victim_ == DiskSegments::kNone) return;
  const DiskSegment& s = (*segments_)[victim_];
  if (s.kind == disk::SegmentKind::kPacks) return tiny_->Reclaim(victim_, [this] { End(); });
  bytes_ = Buffer(s.entries * disk::kEntryBytes);
  ++(*segments_)[victim_].readers;  // until End: no other reader's end cleans it
  from_copy_ = copies_ != nullptr;
  ReadTable();
}

// A copy whose table is another one is not of this segment as it is now.
void DiskReclaim::ReadTable() {
  auto read = [this](const Status& status, uint64_t hash) {
    const bool right = status.ok() && hash == (*segments_)[victim_].table_hash;
    if (!right && std::exchange(from_copy_, false)) return ReadTable();
    if (status.code() == Code::kTimeout) return GiveUp();
    Settle(right ? bytes_.view() : ByteView());
  };
  const uint64_t end = (*segments_)[victim_].end;
  if (from_copy_) return copies_->Read(victim_, end, bytes_.span(), read);
  disk_->Read(victim_, end, bytes_.span(), read);
}

// --- 2. Settle -----------------------------------------------------------------------------------

void DiskReclaim::Settle(ByteView table) {
  const DiskSegment& s = (*segments_)[victim_];
  Result<std::vector<disk::Entry>> entries = disk::DecodeTable(table, segments_->segment_bytes());
  if (!entries.ok() || entries->size() != s.entries) {
    ++counters_.bad_tables;
    records_->UnlinkSegment(victim_);
    return End();
  }
  // With what is held they fit one other segment.
  const uint64_t held = std::min(s.held_bytes, segments_->segment_bytes());
  uint64_t left =
      std::min(segments_->segment_bytes() - held, segments_->segment_bytes() / kKeptPart);
  uint64_t room =
      outlet_.room ? std::min(outlet_.room(), segments_->segment_bytes() / kGivenPart) : 0;
  for (const disk::Entry& entry : *entries) {
    const uint32_t slot = records_->SlotOf(victim_, entry);
    if (slot == Index::kNone) continue;  // dropped, or written again
    const uint64_t bytes = entry.end() - entry.offset;
    if (records_->index().holds(slot) > 0) {
      kept_.push_back(entry);
    } else if (records_->index().was_read(slot) && bytes <= std::min(left, kKeepAtOnce)) {
      left -= bytes;
      kept_.push_back(entry);
    } else if (records_->index().was_read(slot) && bytes <= room) {
      room -= bytes;
      given_.push_back(entry);
    } else {
      Evict(entry);
    }
  }
  evictions_->SegmentDone();
  Give();
}

// Is it still here, and held?
bool DiskReclaim::KeepsHeld(const disk::Entry& entry) const {
  const uint32_t slot = records_->SlotOf(victim_, entry);
  return slot != Index::kNone && records_->index().holds(slot) > 0;
}

void DiskReclaim::Evict(const disk::Entry& entry) {
  const uint32_t slot = records_->SlotOf(victim_, entry);
  if (slot == Index::kNone) return;
  records_->Unlink(slot, &entry.oid);
  ++counters_.evicted_objects;
  evictions_->Evicted(snapshot::Ring::kKept, entry.Age(env_.clock->Wall().seconds * 1'000'000));
}

// --- 3. Give -------------------------------------------------------------------------------------

void DiskReclaim::Give() {
  if (given_.empty()) return Given({});
  outlet_.take(given_, [this](const Bitmap& taken) { Given(taken); });
}

// What is in memory is not evicted from this node; what was promised meanwhile stays here.
void DiskReclaim::Given(const Bitmap& taken) {
  for (size_t i = 0; i < given_.size(); ++i) {
    const uint32_t slot = records_->SlotOf(victim_, given_[i]);
    if (slot == Index::kNone) continue;
    if (records_->index().holds(slot) > 0) {
      kept_.push_back(given_[i]);
    } else if (taken.Get(i)) {
      records_->Unlink(slot, &given_[i].oid);
    } else {
      Evict(given_[i]);
    }
  }
  given_.clear();
  evictions_->SegmentDone();
  std::stable_partition(kept_.begin(), kept_.end(),
                        [this](const disk::Entry& entry) { return !KeepsHeld(entry); });
  Keep();
}

// --- 4. Keep -------------------------------------------------------------------------------------

// As they lie in the victim: neighbours are read together.
void DiskReclaim::Keep() {
  moving_.clear();
  uint64_t bytes = 0;
  while (!kept_.empty() && moving_.size() < kKeepRecordsAtOnce &&
         (bytes == 0 || bytes + kept_.back().end() - kept_.back().offset <= kKeepAtOnce)) {
    bytes += kept_.back().end() - kept_.back().offset;
    moving_.push_back(kept_.back());
    kept_.pop_back();
  }
  if (moving_.empty()) return End();
  std::reverse(moving_.begin(), moving_.end());
  // What was held long ago is not to be lost with what was written last.
  const bool held = std::any_of(moving_.begin(), moving_.end(),
                                [this](const disk::Entry& entry) { return KeepsHeld(entry); });
  writer_->Move(victim_, from_copy_, held, moving_,
                [this](const DiskWriter::MoveOutcome& outcome) { Kept(outcome); });
}

void DiskReclaim::Kept(const DiskWriter::MoveOutcome& outcome) {
  counters_.kept_bytes += outcome.moved_bytes;
  if (outcome.copy_failed) from_copy_ = false;  // it costs its deadline once
  if (outcome.unanswered) return GiveUp();
  for (const disk::Entry& entry : outcome.wrong) Evict(entry);
  for (const disk::Entry& entry : moving_) {  // those that were not written
    if (KeepsHeld(entry)) return GiveUp();
    Evict(entry);
  }
  evictions_->SegmentDone();
  Keep();
}

// A disk elsewhere that does not answer has not lost what is held, nor one that takes nothing just now.
void DiskReclaim::GiveUp() {
  rests_until_ = env_.clock->Now() + rest_;
  rest_ = std::min(2 * rest_, kMostRest);
  bytes_ = Buffer();
  kept_.clear();
  --(*segments_)[victim_].readers;
  segments_->GiveUp(std::exchange(victim_, DiskSegments::kNone));
}

// --- 5. Clean ------------------------------------------------------------------------------------

void DiskReclaim::End() {
  rest_ = kRest;
  bytes_ = Buffer();
  kept_.clear();
  DiskSegment& s = (*segments_)[victim_];
  if (s.kind != disk::SegmentKind::kPacks) --s.readers;
  writer_->Clean(std::exchange(victim_, DiskSegments::kNone));
}

}  // namespace holdfast::store
