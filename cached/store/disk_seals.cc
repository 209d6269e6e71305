// SPDX-License-Identifier: Apache-2.0
// The end of a segment, and of its next life the beginning: what DiskWriter does that is not about records.
#include <algorithm>
#include <cstring>
#include <utility>

#include "base/hash.h"
#include "cached/store/disk_writer.h"

namespace holdfast::store {

// --- 3. Seal -------------------------------------------------------------------------------------

void DiskWriter::CloseOpen() {
  const uint32_t segment = segments_->Close();
  if (segment != DiskSegments::kNone) SealIfDone(segment);
}

void DiskWriter::SealIfDone(uint32_t segment) {
  DiskSegment& s = (*segments_)[segment];
  if (s.use != DiskUse::kClosed || s.writers > 0 || blocks_.contains(segment)) return;
  Buffer table(s.table.size() * disk::kEntryBytes);
  for (size_t i = 0; i < s.table.size(); ++i) {
    disk::EncodeEntry(s.table[i], table.data() + i * disk::kEntryBytes);
  }
  WriteTable(segment, std::move(table));
}

void DiskWriter::WriteTable(uint32_t segment, Buffer bytes) {
  DiskSegment& s = (*segments_)[segment];
  Buffer& table = blocks_[segment] = std::move(bytes);
  s.table_hash = Hash64(table.view());
  std::vector<ByteView> parts;
  if (!table.empty()) parts.push_back(table.view());
  disk_->Write(segment, s.end, std::move(parts), [this, segment](const Status& written) {
    if (Failed(written, "writing a table")) return Finish(segment, false);
    disk_->Sync(segment, [this, segment](const Status& synced) {
      if (Failed(synced, "syncing")) return Finish(segment, false);
      WriteSeal(segment);
    });
  });
}

// Packs and their table have hashes that a seal without them does not have, and nobody was promised
// them: no sync, which would hold up reads, as a table of some MiB would that is written at once.
void DiskWriter::SealPacks(uint32_t segment, Buffer table, Duration pace,
                           std::function<void(bool)> done) {
  DiskSegment& s = (*segments_)[segment];
  s.entries = static_cast<uint32_t>(table.size());
  s.table_hash = Hash64(table.view());
  packs_[segment] = std::move(done);
  blocks_[segment] = std::move(table);
  WriteSlices(segment, 0, pace);
}

void DiskWriter::WriteSlices(uint32_t segment, uint64_t at, Duration pace) {
  const ByteView table = blocks_[segment].view();
  const ByteView slice = table.subspan(at, std::min(kTableSlice, table.size() - at));
  const uint64_t offset = (*segments_)[segment].end + at, next = at + slice.size();
  disk_->Write(segment, offset, {slice}, [this, segment, next, pace](const Status& written) {
    if (Failed(written, "writing a table")) return Finish(segment, false);
    if (next == blocks_[segment].size()) return WriteSeal(segment);
    env_.clock->At(env_.clock->Now() + pace,
                   [this, segment, next, pace] { WriteSlices(segment, next, pace); });
  });
}

disk::Seal DiskWriter::SealOf(uint32_t segment) const {
  const DiskSegment& s = (*segments_)[segment];
  return {.kind = s.kind,
          .node = identity_.node,
          .cluster = disk::ClusterHash(identity_.cluster),
          .sequence = s.sequence,
          .segment_bytes = segments_->segment_bytes(),
          .table_offset = s.end,
          .entries = s.entries,
          .table_hash = s.table_hash};
}

void DiskWriter::WriteSeal(uint32_t segment) {
  Buffer& block = blocks_[segment] = Buffer(disk::kBlock);
  disk::EncodeSeal(SealOf(segment), block.data());
  disk_->Write(segment, 0, {block.view()}, [this, segment](const Status& written) {
    Finish(segment, !Failed(written, "writing a seal"));
  });
}

// Records without a seal are no worse as long as this process lives, until reclaim wants their table.
void DiskWriter::Finish(uint32_t segment, bool sealed) {
  blocks_.erase(segment);
  auto packs = packs_.extract(segment);
  if (packs.empty() && !sealed && (*segments_)[segment].held_bytes > 0) return SealLater(segment);
  if (packs.empty() || sealed) segments_->Sealed(segment);
  if (!packs.empty()) packs.mapped()(sealed);
}

void DiskWriter::SealLater(uint32_t segment) {
  env_.clock->At(env_.clock->Now() + kOffFor, [this, segment] { SealIfDone(segment); });
}

// --- 4. Clean ------------------------------------------------------------------------------------

void DiskWriter::Clean(uint32_t segment) {
  DiskSegment& s = (*segments_)[segment];
  if (s.use != DiskUse::kReclaimed || s.readers > 0 || s.live > 0) return;
  s.use = DiskUse::kCleaned;
  Buffer& block = blocks_[segment] = Buffer(disk::kBlock);
  std::memset(block.data(), 0, block.size());
  disk_->Write(segment, 0, {block.view()}, [this, segment](const Status& written) {
    if (Failed(written, "cleaning")) return CleanLater(segment);
    if ((*segments_)[segment].kind == disk::SegmentKind::kPacks) return Cleaned(segment);
    disk_->Sync(segment, [this, segment](const Status& synced) {
      if (Failed(synced, "cleaning")) return CleanLater(segment);
      Cleaned(segment);
    });
  });
}

void DiskWriter::Cleaned(uint32_t segment) {
  blocks_.erase(segment);
  segments_->AddFree(segment);
}

// An old seal over new records would have them taken for the old ones.
void DiskWriter::CleanLater(uint32_t segment) {
  blocks_.erase(segment);
  (*segments_)[segment].use = DiskUse::kReclaimed;
  env_.clock->At(env_.clock->Now() + kOffFor, [this, segment] { Clean(segment); });
}

}  // namespace holdfast::store
