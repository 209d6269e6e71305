// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/far_world.h"

#include <algorithm>
#include <cstring>

#include "base/hash.h"
#include "base/range_name.h"
#include "base/uri.h"
#include "jobclient/chunks.h"
#include "tests/sim/sim_clock.h"

namespace holdfast::sim {

uint32_t FarWorld::Add(std::string uri, uint64_t size, std::string etag) {
  auto index = static_cast<uint32_t>(objects_.size());
  FarObject object;
  object.oid = OidOf(uri);
  object.size = size;
  object.version = HashVersion(etag, size);
  object.etag = std::move(etag);
  object.uri = std::move(uri);
  HF_CHECK(by_uri_.emplace(object.uri, index).second);
  by_oid_.emplace(object.oid, index);
  objects_.push_back(std::move(object));
  return index;
}

const FarObject* FarWorld::Find(std::string_view uri) const {
  auto it = by_uri_.find(std::string(uri));
  return it == by_uri_.end() ? nullptr : &objects_[it->second];
}

const FarObject* FarWorld::Find(const Oid& oid) const {
  auto it = by_oid_.find(oid);
  if (it != by_oid_.end()) return &objects_[it->second];
  auto range = ranges_.find(oid);
  return range == ranges_.end() ? nullptr : &range->second;
}

void FarWorld::Cut(uint64_t chunk) {
  for (const FarObject& object : objects_) {
    for (const FarInfo& info : {FarInfo{object.size, object.etag}, object.later}) {
      const auto cut = jobclient::Cut::Of(object.uri, info.size, info.etag, chunk);
      for (size_t n = 0; cut && n < cut->count(); ++n) {
        const ByteRange at = cut->At(n);
        AddRange(object, cut->NameOf(n), at.offset, at.length, cut->etag());
      }
    }
  }
}

void FarWorld::AddRange(const FarObject& whole, std::string uri, uint64_t offset, uint64_t size,
                        std::string etag) {
  FarObject range;
  range.oid = OidOf(uri);
  range.size = size;
  range.version = HashVersion(etag, size);
  range.etag = std::move(etag);
  range.uri = std::move(uri);
  range.missing = whole.missing;
  range.denied = whole.denied;
  range.changes_at = whole.changes_at;
  range.ends_at = whole.ends_at;
  if (whole.changes_at != Time::Max())
    range.later = {.size = size, .etag = EtagOfRange(whole.later.etag, whole.later.size)};
  range.whole = &whole;
  range.offset = offset;
  const auto [it, added] = ranges_.emplace(range.oid, std::move(range));
  if (added) ranges_at_[{&whole, offset}].push_back(&it->second);
}

std::vector<const FarObject*> FarWorld::RangesAt(const FarObject& whole, uint64_t offset) const {
  auto it = ranges_at_.find({&whole, offset});
  return it == ranges_at_.end() ? std::vector<const FarObject*>{} : it->second;
}

FarInfo FarWorld::InfoAt(const FarObject& object, Time now) const {
  FarInfo info{.size = object.size, .etag = object.etag};
  if (now >= object.changes_at) info = object.later;
  if (object.ends_at != Time::Max())
    info.expires_s = static_cast<uint32_t>(SimClock::WallAt(object.ends_at).seconds);
  return info;
}

void FarWorld::Fill(std::string_view uri, VersionHash version, uint64_t offset, ByteSpan into) {
  uint64_t key = Hash64(AsBytes(uri)) ^ Mix64(version);
  for (size_t at = 0; at < into.size();) {
    uint64_t position = offset + at;
    uint64_t word = Mix64(key + position / 8);
    size_t skip = position % 8;
    size_t n = std::min<size_t>(8 - skip, into.size() - at);
    std::memcpy(into.data() + at, reinterpret_cast<const std::byte*>(&word) + skip, n);
    at += n;
  }
}

bool FarWorld::Right(std::string_view uri, VersionHash version, ByteView bytes, uint64_t offset) {
  std::vector<std::byte> right(bytes.size());
  Fill(uri, version, offset, right);
  return bytes.empty() || std::memcmp(right.data(), bytes.data(), bytes.size()) == 0;
}

bool FarWorld::Right(const FarObject& object, VersionHash version, ByteView bytes) {
  if (object.whole == nullptr) return Right(object.uri, version, bytes);
  const FarObject& whole = *object.whole;
  for (const FarInfo& info : {FarInfo{whole.size, whole.etag}, whole.later}) {
    if (HashVersion(EtagOfRange(info.etag, info.size), object.size) != version) continue;
    return Right(whole.uri, HashVersion(info.etag, info.size), bytes, object.offset);
  }
  return false;
}

}  // namespace holdfast::sim
