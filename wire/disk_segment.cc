// SPDX-License-Identifier: Apache-2.0
#include "wire/disk_segment.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/hash.h"
#include "base/uri.h"

namespace holdfast::disk {
namespace {

constexpr size_t kSealBytes = 72;  // the last 8 are the hash of those before
constexpr std::array kMagics{kSealMagic, kPackSealMagic, kOpenMagic};  // by SegmentKind

// Its hash covers the texts, too.
uint64_t HeaderHash(shm::RecordHeader header, ByteView texts) {
  header.header_hash = Hash64(texts);
  return Hash64({reinterpret_cast<const std::byte*>(&header), sizeof(header)});
}

}  // namespace

void EncodeHead(const Head& head, std::byte* into) {
  const Entry& e = head.entry;
  shm::RecordHeader header{.magic = kRecordMagic,
                           .name_bytes = e.name_bytes,
                           .etag_bytes = e.etag_bytes,
                           .oid = e.oid,
                           .version = e.version,
                           .size = static_cast<uint32_t>(e.size),
                           .expires_s = head.expires_s,
                           .payload_hash = head.payload_hash,
                           .written_us = e.loaded_us,
                           .header_hash = 0};
  std::byte* text = into + sizeof(header);
  std::memset(into, 0, e.payload_offset() - e.offset);
  std::memcpy(text, head.name.data(), e.name_bytes);
  std::memcpy(text + e.name_bytes, head.etag.data(), e.etag_bytes);
  header.header_hash = HeaderHash(header, {text, size_t{e.name_bytes} + e.etag_bytes});
  std::memcpy(into, &header, sizeof(header));
}

Result<Head> DecodeHead(ByteView bytes, uint64_t offset, uint64_t limit) {
  shm::RecordHeader header;
  if (bytes.size() < sizeof(header)) return Status::Corrupt("a record that is cut off");
  std::memcpy(&header, bytes.data(), sizeof(header));
  Head head{.entry = {.oid = header.oid,
                      .version = header.version,
                      .size = header.size,
                      .loaded_us = header.written_us,
                      .offset = offset,
                      .name_bytes = header.name_bytes,
                      .etag_bytes = header.etag_bytes},
            .payload_hash = header.payload_hash,
            .name = {},
            .etag = {},
            .expires_s = header.expires_s};
  const uint64_t texts = uint64_t{header.name_bytes} + header.etag_bytes;
  if (header.magic != kRecordMagic || texts > kMaxText || sizeof(header) + texts > bytes.size()) {
    return Status::Corrupt("no record begins here");
  }
  if (HeaderHash(header, bytes.subspan(sizeof(header), texts)) != header.header_hash) {
    return Status::Corrupt("a record's header does not have its checksum");
  }
  if (header.size > limit || head.entry.end() > limit) {
    return Status::Corrupt("a record that reaches beyond its segment");
  }
  const std::string_view text = AsText(bytes.subspan(sizeof(header), texts));
  head.name = text.substr(0, header.name_bytes);
  head.etag = text.substr(header.name_bytes);
  return head;
}

Status CheckHead(const Head& head, const Oid& oid, VersionHash version) {
  const Entry& entry = head.entry;
  if (entry.oid != oid || (version != 0 && entry.version != version)) {
    return Status::NotFound("another record lies there");
  }
  if (OidOf(head.name) != oid || HashVersion(head.etag, entry.size) != entry.version) {
    return Status::Corrupt("a record whose name or ETag is not its own");
  }
  return {};
}

uint64_t ClusterHash(std::string_view cluster) { return Hash64(AsBytes(cluster)); }

void EncodeSeal(const Seal& seal, std::byte* into) {
  std::memset(into, 0, kBlock);
  StoreAs(into, kMagics[static_cast<size_t>(seal.kind)]);
  StoreAs(into + 8, kFormatVersion);
  StoreAs(into + 12, seal.node);
  StoreAs(into + 16, seal.cluster);
  StoreAs(into + 24, seal.sequence);
  StoreAs(into + 32, seal.segment_bytes);
  StoreAs(into + 40, seal.table_offset);
  StoreAs(into + 48, seal.entries);
  StoreAs(into + 56, seal.table_hash);
  StoreAs(into + 64, Hash64({into, kSealBytes - 8}));
}

Result<Seal> DecodeSeal(ByteView block, uint64_t segment_bytes) {
  const std::byte* p = block.data();
  const uint64_t magic = block.size() < kSealBytes ? 0 : LoadAs<uint64_t>(p);
  const auto known = std::ranges::find(kMagics, magic);
  if (known == kMagics.end()) return Status::NotFound("not sealed");
  if (LoadAs<uint64_t>(p + 64) != Hash64(block.first(kSealBytes - 8))) {
    return Status::Corrupt("the seal does not have its checksum");
  }
  if (const auto version = LoadAs<uint32_t>(p + 8); version != kFormatVersion) {
    return Status::Invalid("its format is version " + std::to_string(version) +
                           ", this program knows " + std::to_string(kFormatVersion));
  }
  Seal seal{.kind = static_cast<SegmentKind>(known - kMagics.begin()),
            .node = LoadAs<uint32_t>(p + 12),
            .cluster = LoadAs<uint64_t>(p + 16),
            .sequence = LoadAs<uint64_t>(p + 24),
            .segment_bytes = LoadAs<uint64_t>(p + 32),
            .table_offset = LoadAs<uint64_t>(p + 40),
            .entries = LoadAs<uint64_t>(p + 48),
            .table_hash = LoadAs<uint64_t>(p + 56)};
  if (seal.segment_bytes != segment_bytes || seal.sequence == 0 ||
      seal.table_offset > segment_bytes || seal.table_offset < kFirstRecord ||
      seal.entries > segment_bytes || seal.table_bytes() > segment_bytes - seal.table_offset) {
    return Status::Corrupt("the seal names a table that does not fit");
  }
  return seal;
}

void EncodeEntry(const Entry& entry, std::byte* into) {
  StoreAs(into, entry.oid.hi);
  StoreAs(into + 8, entry.oid.lo);
  StoreAs(into + 16, entry.version);
  StoreAs(into + 24, entry.size);
  StoreAs(into + 32, entry.loaded_us);
  StoreAs(into + 40, static_cast<uint32_t>(entry.offset / kAlign));
  StoreAs(into + 44, entry.name_bytes);
  StoreAs(into + 46, entry.etag_bytes);
}

Result<std::vector<Entry>> DecodeTable(ByteView bytes, uint64_t limit) {
  std::vector<Entry> entries(bytes.size() / kEntryBytes);
  for (size_t i = 0; i < entries.size(); ++i) {
    const std::byte* p = bytes.data() + i * kEntryBytes;
    Entry& e = entries[i];
    e = {.oid = {LoadAs<uint64_t>(p), LoadAs<uint64_t>(p + 8)},
         .version = LoadAs<uint64_t>(p + 16),
         .size = LoadAs<uint64_t>(p + 24),
         .loaded_us = LoadAs<int64_t>(p + 32),
         .offset = LoadAs<uint32_t>(p + 40) * kAlign,
         .name_bytes = LoadAs<uint16_t>(p + 44),
         .etag_bytes = LoadAs<uint16_t>(p + 46)};
    if (e.offset < kFirstRecord || e.size > limit || e.end() > limit ||
        uint64_t{e.name_bytes} + e.etag_bytes > kMaxText) {
      return Status::Corrupt("the table names a record outside of its segment");
    }
  }
  return entries;
}

}  // namespace holdfast::disk
