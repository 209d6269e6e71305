// SPDX-License-Identifier: Apache-2.0
// The manifests that a node knows, by digest, within a cap.
#pragma once

#include <cstdint>
#include <map>

#include "base/status.h"
#include "base/units.h"
#include "planner/manifest.h"

namespace holdfast::cached {

// A manifest in use stays where it is (pointers are stable); unused ones are kept for the next job
// of the same set and leave in the order in which they were last used when room is needed.
class Manifests {
 public:
  explicit Manifests(uint64_t max_bytes) : max_bytes_(max_bytes) {}

  const planner::Manifest* Find(const ManifestDigest& digest) const;
  // kNoSpace, naming the limit, when the manifests in use leave no room.
  Status Add(planner::Manifest manifest);
  void Use(const ManifestDigest& digest);
  void Unuse(const ManifestDigest& digest);

  uint64_t bytes() const { return bytes_; }
  size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    planner::Manifest manifest;
    uint32_t uses = 0;
    uint64_t last_use = 0;
  };
  bool EvictOne();

  uint64_t max_bytes_;
  uint64_t bytes_ = 0;
  uint64_t use_counter_ = 0;
  std::map<ManifestDigest, Entry> entries_;
};

}  // namespace holdfast::cached
