// SPDX-License-Identifier: Apache-2.0
#include "wire/stream_chunk.h"

#include <string>

#include "base/hash.h"

namespace holdfast::stream {
namespace {

constexpr uint64_t kHashBytes = 32 * 1024;  // at a time: as much as the nearest cache has

uint32_t CheckOf(ByteView record) { return static_cast<uint32_t>(Hash64(record)); }

}  // namespace

void ChunkBuilder::Add(ByteView record) {
  HF_CHECK(Fits(record.size()));
  if (!record.empty()) std::memcpy(room_.data() + used_, record.data(), record.size());
  used_ += record.size();
  table_.push_back({static_cast<uint32_t>(record.size()), CheckOf(record)});
  if (used_ - hashed_ >= kHashBytes) Hash(used_);
}

void ChunkBuilder::Hash(uint64_t end) {
  hasher_.Update(room_.subspan(hashed_, end - hashed_));
  hashed_ = end;
}

ChunkBuilder::Sealed ChunkBuilder::Seal(const ChunkTitle& title) {
  HF_CHECK(!table_.empty());
  std::byte* at = room_.data() + used_;
  std::memcpy(at, table_.data(), table_.size() * kTableRowBytes);
  at += table_.size() * kTableRowBytes;
  StoreAs(at, kChunkMagic);
  StoreAs(at + 4, kChunkVersion);
  StoreAs(at + 6, uint16_t{0});
  StoreAs(at + 8, title.stream);
  StoreAs(at + 16, title.writer);
  StoreAs(at + 24, title.first_record);
  StoreAs(at + 32, title.number);
  StoreAs(at + 36, records());
  StoreAs(at + 40, title.piece);
  StoreAs(at + 42, title.pieces);
  StoreAs(at + 44, uint32_t{0});
  const auto bytes = static_cast<uint32_t>(at + kTrailerBytes - room_.data());
  Hash(bytes);
  const uint64_t hash = hasher_.Digest();
  return {bytes, hash == 0 ? 1 : hash};
}

Result<ChunkView> ChunkView::Open(ByteView bytes) {
  if (bytes.size() < kTrailerBytes) return Status::Corrupt("too short for a chunk of a stream");
  const std::byte* trailer = bytes.data() + bytes.size() - kTrailerBytes;
  if (LoadAs<uint32_t>(trailer) != kChunkMagic) return Status::Corrupt("no chunk of a stream");
  const auto version = LoadAs<uint16_t>(trailer + 4);
  if (version != kChunkVersion) {
    return Status::Invalid("a chunk of format " + std::to_string(version) + "; this is format " +
                           std::to_string(kChunkVersion));
  }
  ChunkView view;
  view.bytes_ = bytes;
  view.title_ = {.stream = LoadAs<uint64_t>(trailer + 8),
                 .writer = LoadAs<uint64_t>(trailer + 16),
                 .first_record = LoadAs<uint64_t>(trailer + 24),
                 .number = LoadAs<uint32_t>(trailer + 32),
                 .piece = LoadAs<uint16_t>(trailer + 40),
                 .pieces = LoadAs<uint16_t>(trailer + 42)};
  view.records_ = LoadAs<uint32_t>(trailer + 36);
  const uint64_t table_bytes = view.records_ * kTableRowBytes;
  if (table_bytes + kTrailerBytes > bytes.size()) {
    return Status::Corrupt("a chunk whose table is longer than itself");
  }
  view.table_ = trailer - table_bytes;
  uint64_t sum = 0;
  for (uint32_t i = 0; i < view.records_; ++i) {
    sum += LoadAs<uint32_t>(view.table_ + i * kTableRowBytes);
  }
  if (sum + table_bytes + kTrailerBytes != bytes.size()) {
    return Status::Corrupt("a chunk whose records are not as long as it");
  }
  return view;
}

Result<ByteView> ChunkView::Next() {
  HF_CHECK(!AtEnd());
  const std::byte* row = table_ + next_++ * kTableRowBytes;
  const ByteView record = bytes_.subspan(offset_, LoadAs<uint32_t>(row));
  offset_ += record.size();
  if (!trusted_ && CheckOf(record) != LoadAs<uint32_t>(row + 4)) {
    return Status::Corrupt("a record does not have its checksum");
  }
  return record;
}

}  // namespace holdfast::stream
