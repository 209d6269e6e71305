// SPDX-License-Identifier: Apache-2.0
#include "cached/manifests.h"

#include <utility>

namespace holdfast::cached {

const planner::Manifest* Manifests::Find(const ManifestDigest& digest) const {
  auto it = entries_.find(digest);
  return it == entries_.end() ? nullptr : &it->second.manifest;
}

Status Manifests::Add(planner::Manifest manifest) {
  if (Find(manifest.digest()) != nullptr) return {};
  uint64_t need = manifest.memory_bytes();
  while (bytes_ + need > max_bytes_) {
    if (!EvictOne()) {
      return Status::NoSpace("a manifest of " + FormatBytes(need) +
                             " does not fit: manifests in use take " + FormatBytes(bytes_) +
                             " of memory.planning = " + FormatBytes(max_bytes_) +
                             "; raise it or wait for a job to end");
    }
  }
  bytes_ += need;
  ManifestDigest digest = manifest.digest();
  entries_.emplace(digest, Entry{std::move(manifest), 0, ++use_counter_});
  return {};
}

void Manifests::Use(const ManifestDigest& digest) {
  auto it = entries_.find(digest);
  HF_CHECK(it != entries_.end());
  ++it->second.uses;
  it->second.last_use = ++use_counter_;
}

void Manifests::Unuse(const ManifestDigest& digest) {
  auto it = entries_.find(digest);
  HF_CHECK(it != entries_.end() && it->second.uses > 0);
  --it->second.uses;
}

bool Manifests::EvictOne() {
  auto oldest = entries_.end();
  for (auto it = entries_.begin(); it != entries_.end(); ++it) {
    if (it->second.uses > 0) continue;
    if (oldest == entries_.end() || it->second.last_use < oldest->second.last_use) oldest = it;
  }
  if (oldest == entries_.end()) return false;
  bytes_ -= oldest->second.manifest.memory_bytes();
  entries_.erase(oldest);
  return true;
}

}  // namespace holdfast::cached
