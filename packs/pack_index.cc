// SPDX-License-Identifier: Apache-2.0
#include "packs/pack_index.h"

#include <algorithm>

#include "base/hash.h"
#include "base/units.h"
#include "packs/compressed.h"
#include "packs/pack_format.h"

namespace holdfast::packs {
namespace {

constexpr uint64_t kMagic = 0x31584449'4b504648;  // "HFPKIDX1"
constexpr uint32_t kVersion = 1;
constexpr uint32_t kMaxPacks = 1'000'000;
constexpr uint64_t kMaxObjects = 64'000'000;
constexpr size_t kMaxEtag = 256;

// Offsets in the header.
constexpr size_t kVersionAt = 8;
constexpr size_t kPacksAt = 12;
constexpr size_t kObjectsAt = 16;
constexpr size_t kBodyAt = 24;
constexpr size_t kRawBodyAt = 32;
constexpr size_t kBodyHashAt = 40;
constexpr size_t kHeaderHashAt = 56;
constexpr size_t kHeaderBytes = 64;

constexpr size_t kPackBytes = 24;
constexpr size_t kObjectBytes = 16 + 4 + 4 + 4 + 8 + 4;

template <typename T>
void Append(std::vector<std::byte>* to, T value) {
  const size_t at = to->size();
  to->resize(at + sizeof(T));
  StoreAs(to->data() + at, value);
}

std::vector<std::byte> BodyOf(const std::vector<PackIndex::Pack>& packs,
                              const std::vector<PackIndex::Row>& rows) {
  std::vector<std::byte> body;
  body.reserve(packs.size() * kPackBytes + rows.size() * (kObjectBytes + 36));
  for (const PackIndex::Pack& pack : packs) {
    for (uint64_t n : {pack.name.hi, pack.name.lo, pack.payload_bytes}) Append(&body, n);
  }
  for (const auto& row : rows) {
    Append(&body, row.oid.hi);
    Append(&body, row.oid.lo);
  }
  for (const auto& row : rows) Append(&body, row.pack);
  for (const auto& row : rows) Append(&body, row.offset);
  for (const auto& row : rows) Append(&body, row.size);
  for (const auto& row : rows) Append(&body, row.hash);
  uint32_t end = 0;
  for (const auto& row : rows) Append(&body, end += static_cast<uint32_t>(row.etag.size()));
  for (const auto& row : rows) {
    body.insert(body.end(), AsBytes(row.etag).begin(), AsBytes(row.etag).end());
  }
  return body;
}

}  // namespace

Buffer PackIndex::Encode(const std::vector<Pack>& packs, std::vector<Row> rows) {
  std::stable_sort(rows.begin(), rows.end(),
                   [](const Row& a, const Row& b) { return a.oid < b.oid; });
  const auto same = [](const Row& a, const Row& b) { return a.oid == b.oid; };
  rows.erase(std::unique(rows.begin(), rows.end(), same), rows.end());
  HF_CHECK(packs.size() <= kMaxPacks && rows.size() <= kMaxObjects);
  const std::vector<std::byte> raw = BodyOf(packs, rows);
  const Buffer packed = Compress(raw);
  Buffer bytes(kHeaderBytes + packed.size());
  std::byte* p = bytes.data();
  std::memset(p, 0, kHeaderBytes);
  StoreAs(p, kMagic);
  StoreAs(p + kVersionAt, kVersion);
  StoreAs(p + kPacksAt, static_cast<uint32_t>(packs.size()));
  StoreAs(p + kObjectsAt, uint64_t{rows.size()});
  StoreAs(p + kBodyAt, uint64_t{packed.size()});
  StoreAs(p + kRawBodyAt, uint64_t{raw.size()});
  StoreAs(p + kBodyHashAt, Hash64(packed.view()));
  StoreAs(p + kHeaderHashAt, Hash64({p, kHeaderHashAt}));
  std::memcpy(p + kHeaderBytes, packed.data(), packed.size());
  return bytes;
}

Result<PackIndex> PackIndex::Decode(ByteView bytes, uint64_t max_bytes) {
  if (bytes.size() < kHeaderBytes) return Status::Corrupt("it is too short for an index of packs");
  const std::byte* p = bytes.data();
  if (LoadAs<uint64_t>(p) != kMagic) return Status::Corrupt("it is no index of packs");
  if (LoadAs<uint64_t>(p + kHeaderHashAt) != Hash64({p, kHeaderHashAt})) {
    return Status::Corrupt("its header is damaged");
  }
  if (const auto version = LoadAs<uint32_t>(p + kVersionAt); version != kVersion) {
    return Status::Invalid("it is an index of version " + std::to_string(version) +
                           ", this program reads version " + std::to_string(kVersion));
  }
  const uint64_t packs = LoadAs<uint32_t>(p + kPacksAt);
  const auto objects = LoadAs<uint64_t>(p + kObjectsAt);
  const auto raw_bytes = LoadAs<uint64_t>(p + kRawBodyAt);
  const ByteView packed = bytes.subspan(kHeaderBytes);
  if (LoadAs<uint64_t>(p + kBodyAt) != packed.size()) {
    return Status::Corrupt("it is not as long as its header says: it is cut off");
  }
  if (Hash64(packed) != LoadAs<uint64_t>(p + kBodyHashAt)) {
    return Status::Corrupt("its body is damaged");
  }
  const bool sound = packs <= kMaxPacks && objects <= kMaxObjects &&
                     raw_bytes >= packs * kPackBytes + objects * kObjectBytes;
  if (!sound) return Status::Corrupt("its header contradicts itself");
  if (raw_bytes > max_bytes) {
    return Status::NoSpace("it takes " + FormatBytes(raw_bytes) + " of memory, " +
                           FormatBytes(max_bytes) + " may be used");
  }
  Result<Buffer> raw = Decompress(packed, raw_bytes);
  if (!raw.ok()) return raw.status();
  PackIndex index;
  index.body_ = *std::move(raw);
  index.objects_ = objects;
  ByteView left = index.body_.view();
  const auto take = [&left](uint64_t n) {
    const ByteView part = left.first(n);
    left = left.subspan(n);
    return part;
  };
  for (uint64_t i = 0; i < packs; ++i) {
    const ColumnView<uint64_t> row(take(kPackBytes));
    index.packs_.push_back({.name = {row[0], row[1]}, .payload_bytes = row[2]});
  }
  index.oids_ = ColumnView<uint64_t>(take(objects * 16));
  index.pack_of_ = ColumnView<uint32_t>(take(objects * 4));
  index.offsets_ = ColumnView<uint32_t>(take(objects * 4));
  index.sizes_ = ColumnView<uint32_t>(take(objects * 4));
  index.hashes_ = ColumnView<uint64_t>(take(objects * 8));
  index.etag_ends_ = ColumnView<uint32_t>(take(objects * 4));
  index.etags_ = AsText(left);
  HF_RETURN_IF_ERROR(index.Check());
  return index;
}

Status PackIndex::Check() const {
  for (const Pack& pack : packs_) {
    if (pack.payload_bytes > kMaxPackBytes)
      return Status::Corrupt("it has a pack that is too long");
  }
  uint32_t begin = 0;
  for (size_t i = 0; i < objects_; ++i) {
    const bool rises =
        i == 0 || Oid{oids_[2 * i - 2], oids_[2 * i - 1]} < Oid{oids_[2 * i], oids_[2 * i + 1]};
    const uint32_t end = etag_ends_[i];
    const bool etag = end >= begin && end - begin <= kMaxEtag && end <= etags_.size();
    const bool place = pack_of_[i] < packs_.size() &&
                       uint64_t{offsets_[i]} + sizes_[i] <= packs_[pack_of_[i]].payload_bytes;
    if (!rises || !etag || !place) {
      return Status::Corrupt("its object " + std::to_string(i) + " cannot be right");
    }
    begin = end;
  }
  if (begin != etags_.size()) return Status::Corrupt("it has bytes that belong to no object");
  return {};
}

PackIndex::Entry PackIndex::EntryOf(size_t n) const {
  const uint32_t begin = n == 0 ? 0 : etag_ends_[n - 1];
  return {.pack = pack_of_[n],
          .offset = offsets_[n],
          .size = sizes_[n],
          .hash = hashes_[n],
          .etag = etags_.substr(begin, etag_ends_[n] - begin)};
}

std::optional<PackIndex::Entry> PackIndex::Find(const Oid& oid) const {
  size_t first = 0;
  for (size_t left = objects_; left > 0;) {
    const size_t half = left / 2;
    const size_t middle = first + half;
    const bool below = Oid{oids_[2 * middle], oids_[2 * middle + 1]} < oid;
    first = below ? middle + 1 : first;
    left = below ? left - half - 1 : half;
  }
  if (first == objects_ || Oid{oids_[2 * first], oids_[2 * first + 1]} != oid) return std::nullopt;
  return EntryOf(first);
}

uint64_t PackIndex::memory_bytes() const { return body_.size() + packs_.size() * sizeof(Pack); }

}  // namespace holdfast::packs
