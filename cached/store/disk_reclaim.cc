// SPDX-License-Identifier: Apache-2.0
#include "cached/store/disk_reclaim.h"

#include <algorithm>
#include <utility>

#include "base/hash.h"

namespace holdfast::store {

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

// What could not be read of the copy is read on the disk; what is wrong in either is left out.
void DiskReclaim::ReadVictim(uint64_t offset, ByteSpan into, Done done) {
  if (!from_copy_) return disk_->Read(victim_, offset, into, std::move(done));
  copies_->Read(victim_, offset, into,
                [this, offset, into, done = std::move(done)](const Status& status, uint64_t hash) {
                  if (status.ok()) return done(status, hash);
                  from_copy_ = false;  // it costs its deadline once
                  disk_->Read(victim_, offset, into, done);
                });
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
  for (const disk::Entry& entry : *entries) {
    const uint32_t slot = records_->SlotOf(victim_, entry);
    if (slot == Index::kNone) continue;  // dropped, or written again
    const uint64_t bytes = entry.end() - entry.offset;
    if (records_->index().holds(slot) > 0) {
      kept_.push_back(entry);
    } else if (records_->index().was_read(slot) && bytes <= std::min(left, kKeepAtOnce)) {
      left -= bytes;
      kept_.push_back(entry);
    } else {
      Evict(entry);
    }
  }
  evictions_->SegmentDone();
  std::stable_partition(kept_.begin(), kept_.end(),
                        [this](const disk::Entry& entry) { return !KeepsHeld(entry); });
  Keep();
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
  evictions_->Evicted(entry.Age(env_.clock->Wall().seconds * 1'000'000));
}

// --- 3. Keep -------------------------------------------------------------------------------------

void DiskReclaim::Keep() {
  reading_.clear();
  uint64_t bytes = 0;
  while (!kept_.empty() &&
         (bytes == 0 || bytes + kept_.back().end() - kept_.back().offset <= kKeepAtOnce)) {
    bytes += kept_.back().end() - kept_.back().offset;
    reading_.push_back(kept_.back());
    kept_.pop_back();
  }
  if (reading_.empty()) return End();
  bytes_ = Buffer(bytes);
  reads_ = reading_.size();
  uint64_t at = 0;
  for (const disk::Entry& entry : reading_) {
    const uint64_t record = entry.end() - entry.offset;
    ReadVictim(entry.offset, bytes_.span().subspan(at, record),
               [this](const Status& status, uint64_t) { KeepRead(status); });
    at += record;
  }
}

// What could not be read does not have its checksums.
void DiskReclaim::KeepRead(const Status& status) {
  unanswered_ = unanswered_ || status.code() == Code::kTimeout;
  if (--reads_ > 0) return;
  if (std::exchange(unanswered_, false)) return GiveUp();
  std::vector<DiskWriter::Item> items;
  uint64_t at = 0;
  for (const disk::Entry& entry : reading_) {
    const ByteView whole = bytes_.view().subspan(at, entry.end() - entry.offset);
    at += whole.size();
    Result<disk::Head> head = disk::DecodeHead(whole, entry.offset, segments_->segment_bytes());
    const uint64_t head_bytes = entry.payload_offset() - entry.offset;
    const bool right = head.ok() && head->entry.oid == entry.oid &&
                       head->entry.version == entry.version && head->entry.size == entry.size &&
                       Hash64(whole.subspan(head_bytes, entry.size)) == head->payload_hash;
    if (!right) {
      Evict(entry);
      continue;
    }
    moved_held_ = moved_held_ || KeepsHeld(entry);
    counters_.kept_bytes += whole.size();
    items.push_back({.head = *std::move(head), .payload = {}, .whole = whole});
  }
  const auto written = [this] {
    for (const disk::Entry& entry : reading_) {  // those that were not written
      if (KeepsHeld(entry)) return GiveUp();
      Evict(entry);
    }
    evictions_->SegmentDone();
    Keep();
  };
  writer_->Write(std::move(items), written, DiskWriter::Who::kReclaim);
}

// A disk elsewhere that does not answer has not lost what is held, nor one that takes nothing just now.
void DiskReclaim::GiveUp() {
  rests_until_ = env_.clock->Now() + kRest;
  bytes_ = Buffer();
  kept_.clear();
  --(*segments_)[victim_].readers;
  segments_->GiveUp(std::exchange(victim_, DiskSegments::kNone));
}

// --- 4. Clean ------------------------------------------------------------------------------------

// What was held long ago is not to be lost with what was written last.
void DiskReclaim::End() {
  if (std::exchange(moved_held_, false) && segments_->open() != DiskSegments::kNone)
    return disk_->Sync(segments_->open(), [this](const Status&) { End(); });
  bytes_ = Buffer();
  kept_.clear();
  DiskSegment& s = (*segments_)[victim_];
  if (s.kind != disk::SegmentKind::kPacks) --s.readers;
  writer_->Clean(std::exchange(victim_, DiskSegments::kNone));
}

}  // namespace holdfast::store
