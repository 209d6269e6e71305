// SPDX-License-Identifier: Apache-2.0
// Moves down what reclaim would drop: before a segment of memory is taken back, the records in it that
// are worth it are copied to the disk tier, or else offered to peers (outlet.h).
//
//   1. Choose  segments that reclaim would take next, well before it has to
//   2. Copy    records that nobody holds: to the disk what it wants of those that reclaim would not
//              keep; of what it neither gets nor has, to peers what was read since it came
//   3. Give    the segments to reclaim, which takes them first when it needs room, finds the records
//              on the disk and drops them from memory
//
// Until then they can be read as ever: to copy ahead costs no room here. When disk and peers are slower
// than what comes all the same, reclaim takes other segments and what is in those is gone: memory waits
// for nobody.
#pragma once

#include <map>
#include <utility>
#include <vector>

#include "cached/store/disk_tier.h"
#include "cached/store/outlet.h"
#include "cached/store/reclaim.h"

namespace holdfast::store {

class Descent {
 public:
  Descent(const Region& region, Index* index, Segments* segments, Records* records,
          const Reclaim* reclaim)
      : region_(region), index_(index), segments_(segments), records_(records), reclaim_(reclaim) {}

  static constexpr uint32_t kAtOnce = 4;  // segments

  void SetDisk(DiskTier* disk) { disk_ = disk; }
  bool has_disk() const { return disk_ != nullptr; }
  // `drain` brings the index up to what was read.
  void SetOutlet(Outlet outlet, std::function<void()> drain) {
    outlet_ = std::move(outlet);
    drain_ = std::move(drain);
  }

  // Copies as long as there are fewer than `ahead` segments that are free or can be at once.
  void Maintain(Time now, uint32_t ahead, uint64_t min_gain);

 private:
  struct Leaving {
    std::vector<DiskWriter::Item> down{};  // to the disk
    std::vector<LeavingRecord> away{};     // to peers
  };
  struct Offered {
    uint64_t offset;
    uint32_t reads;  // that counted before
  };
  struct Copying {
    uint32_t parts = 0;  // that have not ended
    std::vector<Offered> offered{};
  };

  void Begin(uint32_t victim, Time now, uint64_t room);
  Leaving Collect(uint32_t segment, Time now, uint64_t room, std::vector<Offered>* offered);
  bool GoesAway(uint32_t slot, const shm::RecordHeader* record) const;
  LeavingRecord AwayOf(uint32_t slot, const shm::RecordHeader* record, Time now) const;
  DiskWriter::Item ItemOf(uint32_t slot, const shm::RecordHeader* record, Time now) const;
  void EndAway(uint32_t segment);
  void EndPart(uint32_t segment);

  Region region_;
  Index* index_;
  Segments* segments_;
  Records* records_;
  const Reclaim* reclaim_;
  DiskTier* disk_ = nullptr;
  Outlet outlet_{};
  std::function<void()> drain_{};
  std::map<uint32_t, Copying> copying_;  // by segment
};

}  // namespace holdfast::store
