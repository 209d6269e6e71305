// SPDX-License-Identifier: Apache-2.0
// What is on a simulated disk, and what a crash makes of it: each block that was written since the
// last sync of its segment is there, or as it was before, or torn.
#pragma once

#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/env.h"
#include "base/random.h"

namespace holdfast::sim {

class DiskImage {
 public:
  static constexpr uint64_t kBlock = Disk::kBlock;
  static constexpr uint64_t kSector = 512;  // what is written whole or not at all

  DiskImage(uint32_t segments, uint64_t segment_bytes)
      : segment_bytes_(segment_bytes), bytes_(segments * segment_bytes) {}

  uint32_t segments() const { return static_cast<uint32_t>(bytes_.size() / segment_bytes_); }
  uint64_t segment_bytes() const { return segment_bytes_; }

  void Read(uint32_t segment, uint64_t offset, ByteSpan into) const {
    HF_CHECK(segment < segments() && offset + into.size() <= segment_bytes_);
    if (!into.empty()) std::memcpy(into.data(), At(segment, offset), into.size());
  }
  void Write(uint32_t segment, uint64_t offset, const std::vector<ByteView>& parts) {
    std::vector<std::byte> all;
    for (const ByteView& part : parts) all.insert(all.end(), part.begin(), part.end());
    all.resize((all.size() + kBlock - 1) / kBlock * kBlock);
    HF_CHECK(segment < segments() && offset % kBlock == 0 && offset + all.size() <= segment_bytes_);
    for (uint64_t at = 0; at < all.size(); at += kBlock) {
      auto& before = unsynced_[{segment, offset + at}];
      const std::byte* block = At(segment, offset + at);
      if (before.empty()) before.assign(block, block + kBlock);
    }
    if (!all.empty()) std::memcpy(At(segment, offset), all.data(), all.size());
  }
  void Sync(uint32_t segment) {
    unsynced_.erase(unsynced_.lower_bound({segment, 0}), unsynced_.lower_bound({segment + 1, 0}));
  }

  // Blocks that were lost or torn.
  uint64_t Crash(Random* random) {
    uint64_t changed = 0;
    for (const auto& [place, before] : unsynced_) {
      for (uint64_t sector = 0; sector < kBlock; sector += kSector) {
        if (random->Chance(0.5)) continue;
        std::memcpy(At(place.first, place.second + sector), before.data() + sector, kSector);
      }
      ++changed;
    }
    unsynced_.clear();
    return changed;
  }
  void FlipBit(Random* random) {
    bytes_[random->Below(bytes_.size())] ^= std::byte{1} << static_cast<int>(random->Below(8));
  }

 private:
  std::byte* At(uint32_t segment, uint64_t offset) {
    return bytes_.data() + segment * segment_bytes_ + offset;
  }
  const std::byte* At(uint32_t segment, uint64_t offset) const {
    return const_cast<DiskImage*>(this)->At(segment, offset);
  }

  uint64_t segment_bytes_;
  std::vector<std::byte> bytes_;
  std::map<std::pair<uint32_t, uint64_t>, std::vector<std::byte>> unsynced_;  // as they were before
};

}  // namespace holdfast::sim
