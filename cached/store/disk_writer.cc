// SPDX-License-Identifier: Apache-2.0
#include "cached/store/disk_writer.h"

#include <array>
#include <utility>

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
                                    int64_t loaded_us, uint32_t expires_s) {
  return {.head = {.entry = {.oid = oid,
                             .version = version,
                             .size = payload.size(),
                             .loaded_us = loaded_us,
                             .name_bytes = static_cast<uint16_t>(name.size()),
                             .etag_bytes = static_cast<uint16_t>(etag.size())},
                   .payload_hash = payload_hash,
                   .name = std::string(name),
                   .etag = std::string(etag),
                   .expires_s = expires_s},
          .payload = payload};
}

// --- 1. Plan -------------------------------------------------------------------------------------

void DiskWriter::Write(std::vector<Item> items, std::function<void()> done) {
  const uint64_t id = next_id_++;
  Group& group = groups_[id];
  group.items = std::move(items);
  group.done = [done = std::move(done)](const MoveOutcome&) { done(); };
  std::vector<Batch> batches;
  for (const Item& item : group.items) {
    if (off() || !RoomFor(BytesOf(item), Who::kAnyone)) break;
    Batch& batch = BatchFor(&batches, id);
    batch.entries.push_back(item.head.entry);
    disk::Entry& entry = batch.entries.back();
    entry.offset = segments_->Take(BytesOf(item));
    batch.head_bytes += entry.payload_offset() - entry.offset;
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
  if (batches.empty()) EndEmpty(id);
}

void DiskWriter::Move(uint32_t from, bool from_copy, bool sync,
                      const std::vector<disk::Entry>& records,
                      std::function<void(const MoveOutcome&)> done) {
  const uint64_t id = next_id_++;
  Group& group = groups_[id];
  group.done = std::move(done);
  std::vector<Batch> batches;
  for (const disk::Entry& record : records) {
    const uint64_t bytes = record.end() - record.offset;
    if (off() || !RoomFor(bytes, Who::kReclaim)) break;
    Batch& batch = BatchFor(&batches, id);
    batch.move.records.push_back(record);
    batch.entries.push_back(record);
    batch.entries.back().offset = segments_->Take(bytes);
  }
  group.batches = batches.size();
  for (Batch& batch : batches) {
    batch.move.from = from;
    batch.move.from_copy = from_copy;
    batch.sync = sync;
    IssueMove(std::move(batch));
  }
  if (batches.empty()) EndEmpty(id);
}

DiskWriter::Batch& DiskWriter::BatchFor(std::vector<Batch>* batches, uint64_t group) {
  if (batches->empty() || batches->back().segment != segments_->open())
    batches->push_back(Begin(group));
  return batches->back();
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

void DiskWriter::IssueMove(Batch batch) {
  const uint64_t id = next_id_++;
  batch.move.to = batch.segment;
  batch.move.offset = batch.offset;
  const Batch& kept = batches_.emplace(id, std::move(batch)).first->second;
  if (kept.mark.empty()) return StartMove(id);
  // The mover writes records, and nothing else.
  disk_->Write(kept.segment, 0, {kept.mark.view()}, [this, id](const Status& status) {
    if (status.ok()) return StartMove(id);
    Written(id, status);
  });
}

void DiskWriter::StartMove(uint64_t id) {
  mover_->Move(batches_[id].move, [this, id](const Moved& moved) { MoveEnded(id, moved); });
}

void DiskWriter::MoveEnded(uint64_t id, const Moved& moved) {
  Batch& batch = batches_[id];
  MoveOutcome& outcome = groups_[batch.group].outcome;
  outcome.copy_failed = outcome.copy_failed || moved.copy_failed;
  if (moved.status.code() == Code::kTimeout) {  // no fault of the open segment
    outcome.unanswered = true;
    return Done(id);
  }
  if (!moved.status.ok()) return Written(id, moved.status);
  TakeMoved(id, moved);
  if (!batch.sync) return Written(id, {});
  disk_->Sync(batch.segment, [this, id](const Status& synced) {
    if (synced.code() != Code::kTimeout) return Written(id, synced);
    groups_[batches_[id].group].outcome.unanswered = true;
    Done(id);
  });
}

// Those that are right.
void DiskWriter::TakeMoved(uint64_t id, const Moved& moved) {
  Batch& batch = batches_[id];
  const std::vector<disk::Entry> from = std::exchange(batch.move.records, {});
  const std::vector<disk::Entry> to = std::exchange(batch.entries, {});
  for (size_t i = 0; i < to.size(); ++i) {
    if (moved.right.Get(i)) {
      batch.move.records.push_back(from[i]);
      batch.entries.push_back(to[i]);
    } else {
      groups_[batch.group].outcome.wrong.push_back(from[i]);
    }
  }
}

void DiskWriter::Written(uint64_t id, const Status& status) {
  const Batch& batch = batches_[id];
  DiskSegment& segment = (*segments_)[batch.segment];
  const bool moved = !batch.move.records.empty();
  if (Failed(status, "writing")) {
    if (segments_->open() == batch.segment) CloseOpen();
    return Done(id);
  }
  for (size_t i = 0; i < batch.entries.size(); ++i) {
    // It may have been dropped while it was moved.
    if (moved && records_->SlotOf(batch.move.from, batch.move.records[i]) == Index::kNone) continue;
    const disk::Entry& entry = batch.entries[i];
    records_->Link(batch.segment, entry);
    segment.table.push_back(entry);
    const uint64_t bytes = entry.end() - entry.offset;
    ++counters_.written_objects;
    counters_.written_bytes += bytes;
    if (moved) groups_[batch.group].outcome.moved_bytes += bytes;
  }
  segment.entries = static_cast<uint32_t>(segment.table.size());
  Done(id);
}

void DiskWriter::Done(uint64_t id) {
  auto batch = batches_.extract(id);
  const uint32_t segment = batch.mapped().segment;
  --(*segments_)[segment].writers;
  SealIfDone(segment);
  Ended(batch.mapped().group);
}

void DiskWriter::Ended(uint64_t id) {
  auto group = groups_.find(id);
  if (--group->second.batches > 0) return;
  auto finished = groups_.extract(group);
  finished.mapped().done(finished.mapped().outcome);
}

// Never from inside of the call.
void DiskWriter::EndEmpty(uint64_t id) {
  groups_[id].batches = 1;
  env_.clock->At(env_.clock->Now(), [this, id] { Ended(id); });
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

}  // namespace holdfast::store
