// SPDX-License-Identifier: Apache-2.0
#include "wire/segment_move.h"

namespace holdfast {

uint64_t SegmentMove::bytes() const {
  uint64_t bytes = 0;
  for (const disk::Entry& record : records) bytes += record.end() - record.offset;
  return bytes;
}

Buffer EncodeMove(const SegmentMove& move) {
  HF_CHECK(!move.from_copy && move.records.size() <= kMostMoveRecords);
  Buffer body(kMoveHeadBytes + move.records.size() * disk::kEntryBytes);
  StoreAs(body.data(), move.from);
  StoreAs(body.data() + 4, static_cast<uint32_t>(move.records.size()));
  std::byte* at = body.data() + kMoveHeadBytes;
  for (const disk::Entry& record : move.records) {
    disk::EncodeEntry(record, at);
    at += disk::kEntryBytes;
  }
  return body;
}

Result<SegmentMove> DecodeMove(ByteView body, uint32_t to, uint64_t offset,
                               uint64_t segment_bytes) {
  if (body.size() < kMoveHeadBytes) return Status::Corrupt("a move that is cut off");
  SegmentMove move{.from = LoadAs<uint32_t>(body.data()), .to = to, .offset = offset};
  const auto records = LoadAs<uint32_t>(body.data() + 4);
  if (records == 0 || records > kMostMoveRecords ||
      body.size() != kMoveHeadBytes + records * disk::kEntryBytes) {
    return Status::Corrupt("a move without its records, or with too many");
  }
  Result<std::vector<disk::Entry>> table =
      disk::DecodeTable(body.subspan(kMoveHeadBytes), segment_bytes);
  if (!table.ok()) return table.status();
  move.records = *std::move(table);
  // Each lies in its segment; all of them have to lie in theirs.
  uint64_t bytes = 0;
  for (const disk::Entry& record : move.records) bytes += record.end() - record.offset;
  if (bytes > kMostMoveBytes || offset % disk::kBlock != 0 || offset > segment_bytes ||
      bytes > segment_bytes - offset) {
    return Status::Corrupt("a move to where there is no room");
  }
  return move;
}

}  // namespace holdfast
