// SPDX-License-Identifier: Apache-2.0
// Moves down what reclaim would drop: before a segment of memory is taken back, the records in it that
// are worth it are copied to the disk tier.
//
//   1. Choose  segments that reclaim would take next, well before it has to
//   2. Copy    records that nobody holds and that reclaim would not keep
//   3. Give    the segments to reclaim, which takes them first when it needs room, finds the records
//              on the disk and drops them from memory
//
// Until then they can be read as ever: to copy ahead costs no room. When the disk is slower than what
// comes all the same, reclaim takes other segments and what is in those is gone: memory does not wait
// for a disk.
#pragma once

#include "cached/store/disk_tier.h"
#include "cached/store/reclaim.h"

namespace holdfast::store {

class Descent {
 public:
  Descent(const Region& region, Index* index, Segments* segments, Records* records,
          const Reclaim* reclaim, DiskTier* disk)
      : region_(region),
        index_(index),
        segments_(segments),
        records_(records),
        reclaim_(reclaim),
        disk_(disk) {}

  static constexpr uint32_t kAtOnce = 4;  // segments

  // Copies as long as there are fewer than `ahead` segments that are free or copied.
  void Maintain(Time now, uint32_t ahead, uint64_t min_gain);

 private:
  std::vector<DiskWriter::Item> Collect(uint32_t segment, Time now) const;

  Region region_;
  Index* index_;
  Segments* segments_;
  Records* records_;
  const Reclaim* reclaim_;
  DiskTier* disk_;
};

}  // namespace holdfast::store
