// SPDX-License-Identifier: Apache-2.0
// A chunk of a stream: many records one after the other, or a piece of one large record, with a
// table of their lengths and checksums behind them. docs/formats.md, "Streams", is the page for
// these bytes.
//
//   [record 0][record 1]...  [table: 8 bytes a record]  [trailer: 48 bytes]
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/status.h"

namespace holdfast::stream {

constexpr uint32_t kChunkMagic = 0x43534648;  // "HFSC"
constexpr uint16_t kChunkVersion = 1;
constexpr uint64_t kTableRowBytes = 8;  // length u32, low half of its XXH3-64 u32
constexpr uint64_t kTrailerBytes = 48;
constexpr uint64_t kLeastChunkBytes = 4096;
constexpr uint64_t kMostChunkBytes = 64 * 1024 * 1024;

// Which chunk it is, and what is in it.
struct ChunkTitle {
  uint64_t stream = 0;
  uint64_t writer = 0;
  uint64_t first_record = 0;
  uint32_t number = 0;
  uint16_t piece = 0;
  uint16_t pieces = 1;
};

// Fills a chunk in the caller's memory, `room`.
class ChunkBuilder {
 public:
  ChunkBuilder() = default;
  explicit ChunkBuilder(ByteSpan room) : room_(room) {}

  // The longest record, or piece of one, that has room in an empty chunk of `room` bytes.
  static uint64_t MostRecordBytes(uint64_t room) { return room - kTrailerBytes - kTableRowBytes; }
  bool Fits(uint64_t record_bytes) const {
    return used_ + record_bytes + (table_.size() + 1) * kTableRowBytes + kTrailerBytes <=
           room_.size();
  }
  // Copies it; it fits.
  void Add(ByteView record);
  uint32_t records() const { return static_cast<uint32_t>(table_.size()); }
  uint64_t payload_bytes() const { return used_; }
  bool empty() const { return table_.empty(); }

  struct Sealed {
    uint32_t bytes = 0;
    uint64_t hash = 0;  // XXH3-64 of them, with 1 in the place of 0
  };
  // Writes table and trailer, once. At least one record.
  Sealed Seal(const ChunkTitle& title);

 private:
  struct Row {
    uint32_t length;
    uint32_t check;
  };
  void Hash(uint64_t end);

  ByteSpan room_;
  uint64_t used_ = 0;
  uint64_t hashed_ = 0;  // of it, while it is in the processor's cache
  Hasher64 hasher_;
  std::vector<Row> table_;
};

// Reads a chunk; any bytes will do. The bytes are the caller's and outlive it.
class ChunkView {
 public:
  ChunkView() = default;
  // kCorrupt for what is no chunk, kInvalid for another version of one; lengths are checked here,
  // checksums by Next.
  static Result<ChunkView> Open(ByteView bytes);

  const ChunkTitle& title() const { return title_; }
  uint32_t records() const { return records_; }
  bool AtEnd() const { return next_ == records_; }
  // The whole chunk was compared with its hash: Next need not look again.
  void Trust() { trusted_ = true; }
  // The next record; kCorrupt when its bytes are not those of its checksum, and the one after it
  // can be read all the same.
  Result<ByteView> Next();

 private:
  ByteView bytes_;
  const std::byte* table_ = nullptr;
  ChunkTitle title_;
  uint32_t records_ = 0;
  uint32_t next_ = 0;
  uint64_t offset_ = 0;
  bool trusted_ = false;
};

}  // namespace holdfast::stream
