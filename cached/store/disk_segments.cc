// SPDX-License-Identifier: Apache-2.0
#include "cached/store/disk_segments.h"

#include <algorithm>

#include "base/status.h"

namespace holdfast::store {
namespace {

// Of all segments, those among which a victim is chosen first.
constexpr uint32_t kOldestPart = 16;
constexpr uint32_t kLeastOldest = 4;

}  // namespace

void DiskSegments::AddFree(uint32_t segment) {
  segments_[segment] = DiskSegment();
  free_.push_back(segment);
}

void DiskSegments::AddSealed(uint32_t segment, const disk::Seal& seal, uint64_t order) {
  DiskSegment& s = segments_[segment];
  s.use = DiskUse::kSealed;
  s.kind = seal.kind;
  s.entries = static_cast<uint32_t>(seal.entries);
  s.sequence = seal.sequence;
  s.order = order;
  s.end = seal.table_offset;
  s.table_hash = seal.table_hash;
  last_sequence_ = std::max(last_sequence_, seal.sequence);
  ring_.emplace(std::pair(s.order, s.sequence), segment);
}

void DiskSegments::AddClosed(uint32_t segment, const disk::Seal& seal, uint64_t end) {
  DiskSegment& s = segments_[segment];
  s.use = DiskUse::kClosed;
  s.sequence = s.order = seal.sequence;
  s.end = shm::AlignUp(end, disk::kBlock);
  last_sequence_ = std::max(last_sequence_, seal.sequence);
}

bool DiskSegments::Fits(uint64_t bytes) const {
  if (open_ == kNone) return false;
  // It may be the first of a batch.
  const uint64_t begin = shm::AlignUp(segments_[open_].end, disk::kBlock);
  const uint64_t end = shm::AlignUp(begin + bytes, disk::kBlock);
  return end + (uint64_t{planned_} + 1) * disk::kEntryBytes <= segment_bytes_;
}

bool DiskSegments::Open() {
  if (open_ != kNone) return true;
  if (free_.empty()) return false;
  open_ = free_.back();
  free_.pop_back();
  DiskSegment& s = segments_[open_];
  s.use = DiskUse::kOpen;
  s.sequence = s.order = ++last_sequence_;
  s.end = disk::kFirstRecord;
  planned_ = 0;
  return true;
}

uint32_t DiskSegments::OpenForPacks() {
  if (free_.size() < 2) return kNone;  // one is the writer's
  const uint32_t segment = free_.back();
  free_.pop_back();
  DiskSegment& s = segments_[segment];
  s.use = DiskUse::kClosed;
  s.kind = disk::SegmentKind::kPacks;
  s.sequence = s.order = ++last_sequence_;
  s.end = disk::kFirstRecord;
  return segment;
}

uint32_t DiskSegments::Close() {
  const uint32_t segment = open_;
  if (segment != kNone) {
    segments_[segment].use = DiskUse::kClosed;
    segments_[segment].end = shm::AlignUp(segments_[segment].end, disk::kBlock);
  }
  open_ = kNone;
  return segment;
}

void DiskSegments::BeginBatch() {
  segments_[open_].end = shm::AlignUp(segments_[open_].end, disk::kBlock);
}

uint64_t DiskSegments::Take(uint64_t bytes) {
  DiskSegment& s = segments_[open_];
  const uint64_t offset = s.end;
  s.end += bytes;
  ++planned_;
  return offset;
}

void DiskSegments::Sealed(uint32_t segment) {
  DiskSegment& s = segments_[segment];
  HF_CHECK(s.use == DiskUse::kClosed && s.writers == 0);
  s.use = DiskUse::kSealed;
  s.table.clear();
  s.table.shrink_to_fit();
  ring_.emplace(std::pair(s.order, s.sequence), segment);
}

void DiskSegments::SetAside(uint32_t segment) {
  DiskSegment& s = segments_[segment];
  HF_CHECK(s.use == DiskUse::kSealed);
  ring_.erase({s.order, s.sequence});
  s.use = DiskUse::kMerging;
}

void DiskSegments::PutBack(uint32_t segment) {
  DiskSegment& s = segments_[segment];
  HF_CHECK(s.use == DiskUse::kMerging);
  s.use = DiskUse::kSealed;
  ring_.emplace(std::pair(s.order, s.sequence), segment);
}

uint32_t DiskSegments::TakeVictim(bool of_packs) {
  const uint32_t oldest = std::max(size() / kOldestPart, kLeastOldest);
  auto best = ring_.end();
  uint32_t seen = 0;
  for (auto it = ring_.begin(); it != ring_.end(); ++it) {
    const DiskSegment& s = segments_[it->second];
    if (of_packs && s.kind != disk::SegmentKind::kPacks) continue;
    if (best == ring_.end() || s.held_bytes < segments_[best->second].held_bytes) best = it;
    const uint64_t held = segments_[best->second].held_bytes;
    if (held == 0 || (++seen >= oldest && held <= segment_bytes_ / 4 * 3)) break;
  }
  if (best == ring_.end()) return kNone;
  const uint32_t segment = best->second;
  if (segments_[segment].held_bytes > segment_bytes_ / 8 * 7) return kNone;
  ring_.erase(best);
  segments_[segment].use = DiskUse::kReclaimed;
  return segment;
}

void DiskSegments::GiveUp(uint32_t victim) {
  DiskSegment& s = segments_[victim];
  HF_CHECK(s.use == DiskUse::kReclaimed);
  s.use = DiskUse::kSealed;
  ring_.emplace(std::pair(s.order, s.sequence), victim);
}

uint32_t DiskSegments::Lend() {
  if (free_.size() < 2) return kNone;  // one is the writer's
  const uint32_t segment = free_.back();
  free_.pop_back();
  segments_[segment].use = DiskUse::kLent;
  ++lent_;
  return segment;
}

void DiskSegments::GiveBack(uint32_t segment) {
  HF_CHECK(segments_[segment].use == DiskUse::kLent);
  --lent_;
  AddFree(segment);
}

}  // namespace holdfast::store
