// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/far_world.h"

#include <algorithm>
#include <cstring>

#include "base/hash.h"
#include "base/uri.h"

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
  return it == by_oid_.end() ? nullptr : &objects_[it->second];
}

FarInfo FarWorld::InfoAt(const FarObject& object, Time now) const {
  if (now >= object.changes_at) return object.later;
  return {.size = object.size, .etag = object.etag};
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

bool FarWorld::Right(std::string_view uri, VersionHash version, ByteView bytes) {
  std::vector<std::byte> right(bytes.size());
  Fill(uri, version, 0, right);
  return bytes.empty() || std::memcmp(right.data(), bytes.data(), bytes.size()) == 0;
}

}  // namespace holdfast::sim
