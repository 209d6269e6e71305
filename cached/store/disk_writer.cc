// SPDX-License-Identifier: Apache-2.0
#include "cached/store/disk_writer.h"

#include <array>
#include <cstring>
#include <utility>

#include "base/hash.h"

namespace holdfast::store {
namespace {

constexpr std::array<std::byte, disk::kAlign> kZeros{};

uint64_t BytesOf(const DiskWriter::Item& item) {
  const disk::Entry& e = item.head.entry;
  return disk::RecordBytes(e.size, e.name_bytes, e.etag_bytes);
}

}  // namespace

DiskWriter::Item DiskWriter::ItemOf(const Oid& oid, VersionHash version, std::string_view name,
                                    std::string_view etag, ByteView payload, uint64_t payload_hash,
                                    int64_t loaded_us) {
  return {.head = {.entry = {.oid = oid,
                             .version = version,
                             .size = payload.size(),
                             .loaded_us = loaded_us,
                             .name_bytes = static_cast<uint16_t>(name.size()),
                             .etag_bytes = static_cast<uint16_t>(etag.size())},
                   .payload_hash = payload_hash,
                   .name = std::string(name),
                   .etag = std::string(etag)},
          .payload = payload,
          .whole = {}};
}

// --- 1. Plan -------------------------------------------------------------------------------------

void DiskWriter::Write(std::vector<Item> items, std::function<void()> done, Who who) {
  const uint64_t id = next_id_++;
  Group& group = groups_[id];
  group = {.items = std::move(items), .batches = 0, .done = std::move(done)};
  std::vector<Batch> batches;
  for (const Item& item : group.items) {
    if (off() || !RoomFor(BytesOf(item), who)) break;
    if (batches.empty() || batches.back().segment != segments_->open())
      batches.push_back(Begin(id));
    Batch& batch = batches.back();
    batch.entries.push_back(item.head.entry);
    disk::Entry& entry = batch.entries.back();
    entry.offset = segments_->Take(BytesOf(item));
    if (item.whole.empty()) batch.head_bytes += entry.payload_offset() - entry.offset;
    batch.bytes = entry.end() - batch.offset;
  }
  group.batches = batches.size();
  size_t next = 0;
  for (Batch& batch : batches) {
    batch.heads = Buffer(std::exchange(batch.head_bytes, 0));
    const size_t end = next + batch.entries.size();
    for (size_t first = next; next < end; ++next) {
      batch.parts.reserve(3 * (end - first));
      const disk::Entry planned = batch.entries[next - first];
      Item item = group.items[next];
      item.head.entry = planned;
      Add(batch, item);
    }
    Issue(std::move(batch));
  }
  if (batches.empty()) {
    env_.clock->At(env_.clock->Now(), [this, id] {
      auto finished = groups_.extract(id);
      finished.mapped().done();
    });
  }
}

DiskWriter::Batch DiskWriter::Begin(uint64_t group) {
  const uint32_t segment = segments_->open();
  segments_->BeginBatch();
  DiskSegment& s = (*segments_)[segment];
  ++s.writers;  // it is not sealed before
  Batch batch{.group = group, .segment = segment, .offset = s.end};
  if (s.end == disk::kFirstRecord) {
    batch.mark = Buffer(disk::kBlock);
    disk::Seal mark = SealOf(segment);
    mark.kind = disk::SegmentKind::kOpen;
    disk::EncodeSeal(mark, batch.mark.data());
  }
  return batch;
}

bool DiskWriter::RoomFor(uint64_t bytes, Who who) {
  const uint32_t spare = who == Who::kAnyone && records_->held() > 0 ? 1 : 0;
  if (segments_->free() < spare) return false;
  if (segments_->Fits(bytes)) return true;
  const uint64_t most = segments_->segment_bytes() - disk::kFirstRecord - disk::kBlock;
  if (segments_->free() <= spare || bytes > most) return false;
  CloseOpen();
  return segments_->Open() && segments_->Fits(bytes);
}

void DiskWriter::Add(Batch& batch, const Item& item) {
  if (!item.whole.empty()) {
    batch.parts.push_back(item.whole);
    return;
  }
  const disk::Entry& entry = item.head.entry;
  const uint64_t head_bytes = entry.payload_offset() - entry.offset;
  std::byte* head = batch.heads.data() + batch.head_bytes;
  batch.head_bytes += head_bytes;
  disk::EncodeHead(item.head, head);
  batch.parts.push_back({head, head_bytes});
  if (!item.payload.empty()) batch.parts.push_back(item.payload);
  const uint64_t rest = shm::AlignUp(entry.size, disk::kAlign) - entry.size;
  if (rest > 0) batch.parts.push_back(ByteView(kZeros).first(rest));
}

// --- 2. Write ------------------------------------------------------------------------------------

void DiskWriter::Issue(Batch batch) {
  const uint64_t id = next_id_++;
  std::vector<ByteView> parts = std::exchange(batch.parts, {});
  const uint32_t segment = batch.segment;
  uint64_t offset = batch.offset;
  if (!batch.mark.empty()) {
    parts.insert(parts.begin(), batch.mark.view());
    offset -= disk::kBlock;
  }
  batches_.emplace(id, std::move(batch));
  disk_->Write(segment, offset, std::move(parts),
               [this, id](const Status& status) { Written(id, status); });
}

void DiskWriter::Written(uint64_t id, const Status& status) {
  auto node = batches_.extract(id);
  Batch& batch = node.mapped();
  DiskSegment& segment = (*segments_)[batch.segment];
  --segment.writers;
  if (Failed(status, "writing")) {
    if (segments_->open() == batch.segment) CloseOpen();
  } else {
    for (const disk::Entry& entry : batch.entries) {
      records_->Link(batch.segment, entry);
      segment.table.push_back(entry);
    }
    segment.entries = static_cast<uint32_t>(segment.table.size());
    counters_.written_objects += batch.entries.size();
    counters_.written_bytes += batch.bytes;
  }
  SealIfDone(batch.segment);
  auto group = groups_.find(batch.group);
  if (--group->second.batches > 0) return;
  auto finished = groups_.extract(group);
  finished.mapped().done();
}

bool DiskWriter::Failed(const Status& status, const char* what) {
  if (status.ok()) {
    failures_ = 0;
    return false;
  }
  ++counters_.failed_writes;
  if (++failures_ >= kFailuresUntilOff) {
    failures_ = 0;
    off_until_ = env_.clock->Now() + kOffFor;
    env_.log->Warn(std::string("the disk tier rests for ") + FormatDuration(kOffFor) + ": " + what +
                   " failed several times, last: " + status.message());
  }
  return true;
}

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

void DiskWriter::SealPacks(uint32_t segment, Buffer table, std::function<void(bool)> done) {
  (*segments_)[segment].entries = static_cast<uint32_t>(table.size());
  packs_[segment] = std::move(done);
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
    // Packs and their table have hashes that a seal without them does not have: one sync is enough.
    if (packs_.contains(segment)) return WriteSeal(segment);
    disk_->Sync(segment, [this, segment](const Status& synced) {
      if (Failed(synced, "syncing")) return Finish(segment, false);
      WriteSeal(segment);
    });
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
    const bool failed = Failed(written, "writing a seal");
    if (failed || !packs_.contains(segment)) return Finish(segment, !failed);
    // What packs were merged from is given back after it.
    disk_->Sync(segment, [this, segment](const Status& synced) {
      Finish(segment, !Failed(synced, "syncing a seal"));
    });
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
