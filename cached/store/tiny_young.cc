// SPDX-License-Identifier: Apache-2.0
#include "cached/store/tiny_young.h"

#include <algorithm>
#include <bit>

#include "base/status.h"

namespace holdfast::store {
namespace {

constexpr uint64_t kBlockBytes = 256 * kKiB;
constexpr uint64_t kUnit = 8;
constexpr uint64_t kBytesPerBucket = 2048;

}  // namespace

// Behind it name, ETag and payload.
struct TinyYoung::Head {
  Oid oid;
  VersionHash version;
  uint64_t payload_hash;
  uint32_t loaded_s;
  uint32_t expires_s;
  uint32_t next;  // of its bucket
  uint16_t name_bytes;
  uint16_t etag_bytes;
  uint16_t size;
  bool dropped;
  bool read;

  uint64_t bytes() const { return sizeof(Head) + name_bytes + etag_bytes + size; }
};

TinyYoung::TinyYoung(uint64_t most_bytes)
    : most_bytes_(most_bytes),
      shift_(64 - static_cast<uint32_t>(std::bit_width(most_bytes / kBytesPerBucket + 1))),
      buckets_(uint64_t{1} << (64 - shift_)) {}

TinyYoung::Head* TinyYoung::At(uint32_t place) const {
  const uint64_t offset = place * kUnit;
  std::byte* block = const_cast<std::byte*>(blocks_[offset / kBlockBytes].data());
  return reinterpret_cast<Head*>(block + offset % kBlockBytes);
}

std::byte* TinyYoung::Room(uint64_t bytes, uint32_t* place) {
  static_assert(sizeof(Head) + disk::kMaxText + disk::kTinyBytes < kBlockBytes);
  if (used_ == 0) used_ = kUnit;  // place 0 is none
  if (used_ % kBlockBytes + bytes > kBlockBytes) used_ = shm::AlignUp(used_, kBlockBytes);
  if (used_ / kBlockBytes == blocks_.size()) blocks_.emplace_back(kBlockBytes);
  *place = static_cast<uint32_t>(used_ / kUnit);
  std::byte* const at = blocks_[used_ / kBlockBytes].data() + used_ % kBlockBytes;
  used_ += shm::AlignUp(bytes, kUnit);
  return at;
}

void TinyYoung::Clear() {
  std::fill(buckets_.begin(), buckets_.end(), 0);
  used_ = bytes_ = objects_ = 0;
}

disk::Tiny TinyYoung::TinyOf(const Head& head) {
  const char* text = reinterpret_cast<const char*>(&head + 1);
  const uint64_t texts = uint64_t{head.name_bytes} + head.etag_bytes;
  return {.oid = head.oid,
          .version = head.version,
          .payload_hash = head.payload_hash,
          .loaded_s = head.loaded_s,
          .expires_s = head.expires_s,
          .name = {text, head.name_bytes},
          .etag = {text + head.name_bytes, head.etag_bytes},
          .payload = {reinterpret_cast<const std::byte*>(text) + texts, head.size}};
}

bool TinyYoung::Add(const disk::Tiny& tiny) {
  if (!Fits(tiny.bytes())) return false;
  Drop(tiny.oid, 0);
  uint32_t& bucket = buckets_[BucketOf(tiny.oid)];
  const Head head{.oid = tiny.oid,
                  .version = tiny.version,
                  .payload_hash = tiny.payload_hash,
                  .loaded_s = tiny.loaded_s,
                  .expires_s = tiny.expires_s,
                  .next = bucket,
                  .name_bytes = static_cast<uint16_t>(tiny.name.size()),
                  .etag_bytes = static_cast<uint16_t>(tiny.etag.size()),
                  .size = static_cast<uint16_t>(tiny.payload.size()),
                  .dropped = false,
                  .read = false};
  std::byte* at = Room(head.bytes(), &bucket);
  std::memcpy(at, &head, sizeof(head));
  at += sizeof(head);
  for (const ByteView part : {AsBytes(tiny.name), AsBytes(tiny.etag), tiny.payload}) {
    if (!part.empty()) std::memcpy(at, part.data(), part.size());
    at += part.size();
  }
  bytes_ += tiny.bytes() + kShare;
  ++objects_;
  return true;
}

bool TinyYoung::Find(const Oid& oid, VersionHash version, disk::Tiny* found) const {
  for (uint32_t place = buckets_[BucketOf(oid)]; place != 0;) {
    const Head& head = *At(place);
    if (head.oid == oid && !head.dropped && (version == 0 || head.version == version)) {
      if (found != nullptr) *found = TinyOf(head);
      return true;
    }
    place = head.next;
  }
  return false;
}

void TinyYoung::SetRead(const Oid& oid) {
  for (uint32_t place = buckets_[BucketOf(oid)]; place != 0; place = At(place)->next) {
    if (At(place)->oid == oid) At(place)->read = true;
  }
}

// Its room is used until the run is written: bytes() says what came.
uint32_t TinyYoung::Drop(const Oid& oid, VersionHash version) {
  uint32_t dropped = 0;
  for (uint32_t place = buckets_[BucketOf(oid)]; place != 0;) {
    Head& head = *At(place);
    if (head.oid == oid && !head.dropped && (version == 0 || head.version == version)) {
      head.dropped = true;
      --objects_;
      ++dropped;
    }
    place = head.next;
  }
  return dropped;
}

std::vector<TinyObject> TinyYoung::Slice(uint32_t first, uint32_t end, uint32_t run_packs) const {
  std::vector<TinyObject> slice;
  // The first OID of pack p is about p/n of them all; the buckets at both ends are looked through.
  auto bucket_of = [&](uint32_t pack) {
    const auto part = static_cast<uint64_t>(
        (static_cast<unsigned __int128>(pack) << 64) / run_packs - (pack == run_packs ? 1 : 0));
    return part >> shift_;
  };
  for (uint64_t bucket = bucket_of(first); bucket <= bucket_of(end); ++bucket) {
    for (uint32_t place = buckets_[bucket]; place != 0;) {
      const Head& head = *At(place);
      const uint32_t pack = disk::PackOf(head.oid, run_packs);
      if (!head.dropped && pack >= first && pack < end) slice.push_back({TinyOf(head), head.read});
      place = head.next;
    }
  }
  std::sort(slice.begin(), slice.end(),
            [](const TinyObject& a, const TinyObject& b) { return a.tiny.oid < b.tiny.oid; });
  return slice;
}

}  // namespace holdfast::store
