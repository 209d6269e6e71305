// SPDX-License-Identifier: Apache-2.0
#include "wire/record_mover.h"

#include <cstring>
#include <utility>

#include "base/hash.h"

namespace holdfast {

bool IsRecord(ByteView bytes, const disk::Entry& says, uint64_t segment_bytes) {
  Result<disk::Head> head = disk::DecodeHead(bytes, says.offset, segment_bytes);
  if (!head.ok()) return false;
  const disk::Entry& entry = head->entry;
  const uint64_t payload = entry.payload_offset() - entry.offset;
  return entry.oid == says.oid && entry.version == says.version && entry.size == says.size &&
         entry.end() == says.end() && bytes.size() >= payload + entry.size &&
         Hash64(bytes.subspan(payload, entry.size)) == head->payload_hash;
}

void RecordMover::Move(SegmentMove move, std::function<void(Moved)> done) {
  auto work = std::make_shared<Work>();
  work->disk = disk_;
  work->copies = move.from_copy ? copies_ : nullptr;
  work->move = std::move(move);
  work->done = std::move(done);
  work->bytes = Buffer(work->move.bytes());
  const std::vector<Run> runs = RunsOf(work.get());
  work->reads = runs.size();
  for (const Run& run : runs) Read(work, run);
}

std::vector<RecordMover::Run> RecordMover::RunsOf(Work* work) {
  std::vector<Run> runs;
  uint64_t at = 0;
  for (const disk::Entry& record : work->move.records) {
    const uint64_t bytes = record.end() - record.offset;
    const bool next =
        !runs.empty() && record.offset == runs.back().offset + runs.back().into.size();
    const uint64_t before = next ? runs.back().into.size() : 0;
    if (!next) runs.push_back({.offset = record.offset});
    runs.back().into = work->bytes.span().subspan(at - before, before + bytes);
    at += bytes;
  }
  return runs;
}

void RecordMover::Read(const std::shared_ptr<Work>& work, const Run& run) {
  const auto from_disk = [work, run] {
    work->disk->Read(work->move.from, run.offset, run.into,
                     [work](const Status& status, uint64_t) { WasRead(work, status); });
  };
  if (work->copies == nullptr) return from_disk();
  work->copies->Read(work->move.from, run.offset, run.into,
                     [work, from_disk](const Status& status, uint64_t) {
                       if (status.ok()) return WasRead(work, status);
                       work->copy_failed = true;
                       from_disk();
                     });
}

// What could not be read does not have its checksums.
void RecordMover::WasRead(const std::shared_ptr<Work>& work, const Status& status) {
  work->unanswered = work->unanswered || status.code() == Code::kTimeout;
  if (--work->reads > 0) return;
  if (!work->unanswered) return Write(work);
  work->done({.status = Status::Timeout("the segment did not answer"),
              .copy_failed = work->copy_failed});
}

void RecordMover::Write(const std::shared_ptr<Work>& work) {
  const SegmentMove& move = work->move;
  Bitmap right(move.records.size());
  uint64_t at = 0;
  for (size_t i = 0; i < move.records.size(); ++i) {
    const ByteSpan record =
        work->bytes.span().subspan(at, move.records[i].end() - move.records[i].offset);
    at += record.size();
    if (IsRecord(record, move.records[i], work->disk->segment_bytes())) {
      right.Set(i);
    } else {
      std::memset(record.data(), 0, record.size());
    }
  }
  work->disk->Write(move.to, move.offset, {work->bytes.view()},
                    [work, right = std::move(right)](const Status& status) mutable {
                      work->done({.status = status,
                                  .right = std::move(right),
                                  .copy_failed = work->copy_failed});
                    });
}

}  // namespace holdfast
