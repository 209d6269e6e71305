// SPDX-License-Identifier: Apache-2.0
// A data set of small objects at an origin that answers after a while, and the same in packs.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/env.h"
#include "packs/pack_plan.h"
#include "tests/origin/origin.h"

namespace holdfast::bench {

class PackWorld {
 public:
  // `count` objects of `size` bytes in packs of `pack_bytes`, by hash.
  PackWorld(size_t count, uint64_t size, uint64_t pack_bytes, Duration delay);

  const std::vector<FarEntry>& objects() const { return objects_; }
  uint64_t hash(size_t n) const { return hashes_[n]; }  // of the n-th
  const std::string& prefix() const { return prefix_; }
  size_t packs() const { return plan_.packs.size(); }
  uint64_t requests() const { return origin_->Counters().requests; }

 private:
  void MakePacks();
  std::optional<origin::CannedResponse> Answer(const origin::Request& request) const;

  std::map<std::string, std::string> stored_;  // by path; not changed once the origin runs
  std::vector<FarEntry> objects_;
  std::vector<uint64_t> hashes_;
  packs::Plan plan_;
  std::string prefix_;
  std::unique_ptr<origin::Origin> origin_;
};

}  // namespace holdfast::bench
