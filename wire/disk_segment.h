// SPDX-License-Identifier: Apache-2.0
// The bytes of a segment on disk: docs/formats.md, "Segments on disk", is the page for them. What is
// read from a disk is hostile until a function of this file has accepted it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/status.h"
#include "base/units.h"
#include "wire/shm_layout.h"

namespace holdfast::disk {

constexpr uint64_t kSealMagic = 0x3147455344464c48;      // "HLFDSEG1"
constexpr uint64_t kPackSealMagic = 0x31534b5044464c48;  // "HLFDPKS1"
constexpr uint64_t kOpenMagic = 0x314e504f44464c48;      // "HLFDOPN1"
constexpr uint32_t kFormatVersion = 1;
constexpr uint32_t kRecordMagic = 0x52444648;  // "HFDR"
constexpr uint64_t kBlock = 4096;              // of batches and table; the seal is the first one
constexpr uint64_t kAlign = 64;                // of records and payloads
constexpr uint64_t kMaxText = 4096 + 256;      // name and ETag together
constexpr uint64_t kMostHead = shm::kRecordAlign + kMaxText;  // what precedes a payload
constexpr uint64_t kEntryBytes = 48;

// Of a record, with its place in the segment.
struct Entry {
  Oid oid;
  VersionHash version = 0;
  uint64_t size = 0;      // of the payload
  int64_t loaded_us = 0;  // since 1970
  uint64_t offset = 0;    // a multiple of 64
  uint16_t name_bytes = 0;
  uint16_t etag_bytes = 0;

  uint64_t payload_offset() const {
    return offset + shm::AlignUp(shm::kRecordAlign + name_bytes + etag_bytes, kAlign);
  }
  // At this time of the same clock, which may have been set back, while a disk may say anything.
  Duration Age(int64_t now_us) const {
    return Duration(loaded_us > 0 && loaded_us < now_us ? now_us - loaded_us : 0);
  }
  uint64_t end() const { return payload_offset() + shm::AlignUp(size, kAlign); }
};

// What stands before the payload.
struct Head {
  Entry entry;
  uint64_t payload_hash = 0;
  std::string name;
  std::string etag;
  uint32_t expires_s = 0;  // since 1970; 0: never
};

// Where a record begins, as one process tells it to another that reads the same segments.
struct Place {
  uint32_t segment = 0;
  uint64_t offset = 0;
  friend bool operator==(const Place&, const Place&) = default;
};

constexpr uint64_t kFirstRecord = kBlock;
constexpr uint64_t kMaxSegmentBytes = uint64_t{64} << 20;

// Bytes that a record takes; the texts have at most kMaxText together.
constexpr uint64_t RecordBytes(uint64_t size, uint64_t name_bytes, uint64_t etag_bytes) {
  return shm::AlignUp(shm::kRecordAlign + name_bytes + etag_bytes, kAlign) +
         shm::AlignUp(size, kAlign);
}
// Writes what precedes the payload: entry.payload_offset() - entry.offset bytes.
void EncodeHead(const Head& head, std::byte* into);
// `bytes` begin at the record; as many as there are, at least 64 and at most up to the segment's end.
// kCorrupt for what is no head, or one whose record would reach beyond `limit`. `offset` is the
// record's place.
Result<Head> DecodeHead(ByteView bytes, uint64_t offset, uint64_t limit);

// Is this the object in this version (0: any)? kNotFound when it is another, kCorrupt when what it says
// of itself does not agree: the OID is its name's, the version that of its ETag and size. The payload is
// for the caller to check.
Status CheckHead(const Head& head, const Oid& oid, VersionHash version);

// What a segment has: records, packs of tiny objects (wire/tiny_segment.h), or records and no table yet.
enum class SegmentKind : uint8_t { kRecords, kPacks, kOpen };

struct Seal {
  SegmentKind kind = SegmentKind::kRecords;
  uint32_t node = 0;
  uint64_t cluster = 0;  // ClusterHash
  uint64_t sequence = 0;
  uint64_t segment_bytes = 0;
  uint64_t table_offset = 0;
  uint64_t entries = 0;  // of packs: bytes of the table
  uint64_t table_hash = 0;

  uint64_t table_bytes() const {
    return kind == SegmentKind::kPacks ? entries : entries * kEntryBytes;
  }
};

uint64_t ClusterHash(std::string_view cluster);
// Fills a block.
void EncodeSeal(const Seal& seal, std::byte* into);
// kNotFound for a block that is no seal (a segment that was never sealed), kInvalid for one of
// another version, kCorrupt for one that was damaged or whose table cannot lie where it says.
Result<Seal> DecodeSeal(ByteView block, uint64_t segment_bytes);

void EncodeEntry(const Entry& entry, std::byte* into);
// The entries of a table whose hash was checked; kCorrupt when one lies outside of [0, limit).
Result<std::vector<Entry>> DecodeTable(ByteView bytes, uint64_t limit);

}  // namespace holdfast::disk
