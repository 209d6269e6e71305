// SPDX-License-Identifier: Apache-2.0
#include "packs/pack_format.h"

#include <optional>

#include "base/hash.h"
#include "base/uri.h"
#include "packs/compressed.h"

namespace holdfast::packs {
namespace {

constexpr uint64_t kMagic = 0x31304b4341504648;  // "HFPACK01"
constexpr uint32_t kVersion = 1;
constexpr uint64_t kMaxTableBytes = 64ull << 20;
constexpr size_t kMaxName = 4096;
constexpr size_t kMaxEtag = 256;

// Offsets in the footer.
constexpr size_t kVersionAt = 8;
constexpr size_t kObjectsAt = 12;
constexpr size_t kPayloadsAt = 16;
constexpr size_t kTableAt = 24;
constexpr size_t kRawTableAt = 32;
constexpr size_t kTableHashAt = 40;
constexpr size_t kFooterHashAt = 56;

// Offsets in a row of the table.
constexpr size_t kLoAt = 8;
constexpr size_t kSizeAt = 16;
constexpr size_t kHashAt = 24;
constexpr size_t kNameBytesAt = 32;
constexpr size_t kEtagBytesAt = 34;
constexpr size_t kRowBytes = 40;

struct Footer {
  uint32_t objects;
  uint64_t payload_bytes, table_bytes, raw_table_bytes, table_hash;
};

Result<Footer> ReadFooter(ByteView pack) {
  if (pack.size() < kFooterBytes) return Status::Corrupt("it is too short for a pack");
  const std::byte* p = pack.data() + pack.size() - kFooterBytes;
  const bool whole = LoadAs<uint64_t>(p) == kMagic &&
                     LoadAs<uint64_t>(p + kFooterHashAt) == Hash64({p, kFooterHashAt});
  if (!whole)
    return Status::Corrupt("it does not end like a pack: it is cut off or something else");
  if (const auto version = LoadAs<uint32_t>(p + kVersionAt); version != kVersion) {
    return Status::Invalid("it is a pack of version " + std::to_string(version) +
                           ", this program reads version " + std::to_string(kVersion));
  }
  Footer footer{.objects = LoadAs<uint32_t>(p + kObjectsAt),
                .payload_bytes = LoadAs<uint64_t>(p + kPayloadsAt),
                .table_bytes = LoadAs<uint64_t>(p + kTableAt),
                .raw_table_bytes = LoadAs<uint64_t>(p + kRawTableAt),
                .table_hash = LoadAs<uint64_t>(p + kTableHashAt)};
  const uint64_t body = pack.size() - kFooterBytes;
  const bool fits = footer.table_bytes <= body && footer.payload_bytes == body - footer.table_bytes;
  if (!fits || footer.raw_table_bytes > kMaxTableBytes) {
    return Status::Corrupt("its parts are not as long as its footer says");
  }
  return footer;
}

// Takes the first row off `table`; nothing for what is none.
std::optional<PackedObject> TakeRow(ByteView* table) {
  if (table->size() < kRowBytes) return std::nullopt;
  const std::byte* p = table->data();
  const size_t name_bytes = LoadAs<uint16_t>(p + kNameBytesAt);
  const size_t etag_bytes = LoadAs<uint16_t>(p + kEtagBytesAt);
  const bool sound = name_bytes <= kMaxName && etag_bytes <= kMaxEtag &&
                     table->size() >= kRowBytes + name_bytes + etag_bytes;
  if (!sound) return std::nullopt;
  PackedObject object{
      .name = std::string(AsText(table->subspan(kRowBytes, name_bytes))),
      .etag = std::string(AsText(table->subspan(kRowBytes + name_bytes, etag_bytes))),
      .size = LoadAs<uint64_t>(p + kSizeAt),
      .hash = LoadAs<uint64_t>(p + kHashAt)};
  if (OidOf(object.name) != Oid{LoadAs<uint64_t>(p), LoadAs<uint64_t>(p + kLoAt)})
    return std::nullopt;
  *table = table->subspan(kRowBytes + name_bytes + etag_bytes);
  return object;
}

Result<std::vector<PackedObject>> ReadTable(ByteView packed, const Footer& footer) {
  if (Hash64(packed) != footer.table_hash) return Status::Corrupt("its table is damaged");
  const Result<Buffer> raw = Decompress(packed, footer.raw_table_bytes);
  if (!raw.ok()) return raw.status().Annotate("its table");
  ByteView table = raw->view();
  std::vector<PackedObject> objects;
  while (objects.size() < footer.objects) {
    std::optional<PackedObject> object = TakeRow(&table);
    if (!object) return Status::Corrupt("its table is not one of a pack");
    objects.push_back(std::move(*object));
  }
  if (!table.empty()) return Status::Corrupt("its table has more than its objects");
  return objects;
}

}  // namespace

Buffer EncodeTail(const std::vector<PackedObject>& objects) {
  std::vector<std::byte> table;
  uint64_t payload_bytes = 0;
  for (const PackedObject& object : objects) {
    HF_CHECK(object.name.size() <= kMaxName && object.etag.size() <= kMaxEtag);
    payload_bytes += object.size;
    const Oid oid = OidOf(object.name);
    std::byte row[kRowBytes] = {};
    StoreAs(row, oid.hi);
    StoreAs(row + kLoAt, oid.lo);
    StoreAs(row + kSizeAt, object.size);
    StoreAs(row + kHashAt, object.hash);
    StoreAs(row + kNameBytesAt, static_cast<uint16_t>(object.name.size()));
    StoreAs(row + kEtagBytesAt, static_cast<uint16_t>(object.etag.size()));
    table.insert(table.end(), row, row + kRowBytes);
    for (std::string_view text : {std::string_view(object.name), std::string_view(object.etag)}) {
      table.insert(table.end(), AsBytes(text).begin(), AsBytes(text).end());
    }
  }
  HF_CHECK(table.size() <= kMaxTableBytes && payload_bytes <= kMaxPackBytes);
  const Buffer packed = Compress(table);
  Buffer tail(packed.size() + kFooterBytes);
  std::memcpy(tail.data(), packed.data(), packed.size());
  std::byte* p = tail.data() + packed.size();
  std::memset(p, 0, kFooterBytes);
  StoreAs(p, kMagic);
  StoreAs(p + kVersionAt, kVersion);
  StoreAs(p + kObjectsAt, static_cast<uint32_t>(objects.size()));
  StoreAs(p + kPayloadsAt, payload_bytes);
  StoreAs(p + kTableAt, uint64_t{packed.size()});
  StoreAs(p + kRawTableAt, uint64_t{table.size()});
  StoreAs(p + kTableHashAt, Hash64(packed.view()));
  StoreAs(p + kFooterHashAt, Hash64({p, kFooterHashAt}));
  return tail;
}

Result<std::vector<PackedObject>> ReadPack(ByteView pack) {
  const Result<Footer> footer = ReadFooter(pack);
  if (!footer.ok()) return footer.status();
  Result<std::vector<PackedObject>> objects =
      ReadTable(pack.subspan(footer->payload_bytes, footer->table_bytes), *footer);
  if (!objects.ok()) return objects;
  ByteView left = pack.first(footer->payload_bytes);
  for (const PackedObject& object : *objects) {
    if (object.size > left.size() || Hash64(left.first(object.size)) != object.hash) {
      return Status::Corrupt("the bytes of " + object.name + " in it are damaged");
    }
    left = left.subspan(object.size);
  }
  if (!left.empty()) return Status::Corrupt("it has bytes that belong to no object");
  return objects;
}

Oid PackName(const std::vector<PackedObject>& objects) {
  std::vector<uint64_t> numbers;
  numbers.reserve(objects.size() * 3);
  for (const PackedObject& object : objects) {
    const Oid oid = OidOf(object.name);
    numbers.insert(numbers.end(), {oid.hi, oid.lo, HashVersion(object.etag, object.size)});
  }
  return Hash128(std::as_bytes(std::span(numbers)));
}

std::string PackFileName(const Oid& name) { return ToHex(name) + ".pack"; }

}  // namespace holdfast::packs
