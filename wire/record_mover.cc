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
  for (size_t i = 0; i < work->move.records.size(); ++i) {
    const disk::Entry& record = work->move.records[i];
    const uint64_t bytes = record.end() - record.offset;
    const bool next =
        !runs.empty() && record.offset == runs.back().offset + runs.back().into.size();
    if (!next) runs.push_back({.offset = record.offset, .into = {}, .first = i});
    Run& run = runs.back();
    run.into = work->bytes.span().subspan(at - run.into.size(), run.into.size() + bytes);
    ++run.records;
    at += bytes;
  }
  return runs;
}

void RecordMover::Read(const std::shared_ptr<Work>& work, const Run& run) {
  if (work->copies == nullptr) return ReadDisk(work, run);
  work->copies->Read(work->move.from, run.offset, run.into,
                     [work, run](const Status& status, uint64_t) {
                       work->copy_failed = work->copy_failed || !status.ok();
                       if (status.ok() && AllRight(*work, run)) return WasRead(work, status);
                       ReadDisk(work, run);
                     });
}

bool RecordMover::AllRight(const Work& work, const Run& run) {
  for (size_t i = run.first; i < run.first + run.records; ++i) {
    const disk::Entry& record = work.move.records[i];
    const ByteView bytes =
        run.into.subspan(record.offset - run.offset, record.end() - record.offset);
    if (!IsRecord(bytes, record, work.disk->segment_bytes())) return false;
  }
  return true;
}

// One that cannot be read does not take its neighbours along.
void RecordMover::ReadDisk(const std::shared_ptr<Work>& work, const Run& run) {
  work->disk->Read(work->move.from, run.offset, run.into,
                   [work, run](const Status& status, uint64_t) {
                     const bool bad = !status.ok() && status.code() != Code::kTimeout;
                     if (bad && run.records > 1) return ReadEach(work, run);
                     if (bad) std::memset(run.into.data(), 0, run.into.size());
                     WasRead(work, status);
                   });
}

void RecordMover::ReadEach(const std::shared_ptr<Work>& work, const Run& run) {
  work->reads += run.records - 1;
  for (size_t i = run.first; i < run.first + run.records; ++i) {
    const disk::Entry& record = work->move.records[i];
    ReadDisk(work,
             {.offset = record.offset,
              .into = run.into.subspan(record.offset - run.offset, record.end() - record.offset),
              .first = i,
              .records = 1});
  }
}

// Zeros, where it could not be read, are no record.
void RecordMover::WasRead(const std::shared_ptr<Work>& work, const Status& status) {
  work->unanswered = work->unanswered || status.code() == Code::kTimeout;
  if (--work->reads > 0) return;
  if (!work->unanswered) return Write(work);
  work->done(
      {.status = Status::Timeout("the segment did not answer"), .copy_failed = work->copy_failed});
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
  work->disk->Write(
      move.to, move.offset, {work->bytes.view()},
      [work, right = std::move(right)](const Status& status) mutable {
        work->done({.status = status, .right = std::move(right), .copy_failed = work->copy_failed});
      });
}

}  // namespace holdfast
