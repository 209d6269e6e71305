// SPDX-License-Identifier: Apache-2.0
// Where the chunks of streams lie on a node's disk: in segments that the disk tier has lent, each of
// one stream, filled from one end to the other and given back together when the stream is over.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "base/status.h"
#include "cached/store/disk_tier.h"
#include "planner/calendar.h"

namespace holdfast::cached {

class StreamDisk {
 public:
  struct Place {
    uint32_t segment = 0;
    uint64_t offset = 0;
    uint32_t bytes = 0;
  };

  // `disk` may be null: then there is room for nothing. Of its segments at most `percent` are taken, and
  // each is reserved in `calendar`.
  StreamDisk(store::DiskTier* disk, planner::Calendar* calendar, uint32_t percent);

  // For a stream that ends at `until`, at the latest. kNoSpace, with what to do about it.
  Result<Place> Take(uint64_t stream, uint32_t bytes, Time now, Time until);
  // `done` runs once, also when the stream has ended meanwhile; what is being written or read keeps
  // its segment until then.
  void Write(const Place& place, ByteView bytes, std::function<void(Status)> done);
  void Read(const Place& place, ByteSpan into, std::function<void(Status, uint64_t hash)> done);
  // What the stream has is free, at once or as soon as nobody reads or writes it.
  void Free(uint64_t stream);

  uint32_t segments() const { return static_cast<uint32_t>(segments_.size()); }
  uint64_t reserved_bytes() const {
    return disk_ == nullptr ? 0 : segments_.size() * disk_->LentBytes();
  }

 private:
  struct Lent {
    uint64_t stream = 0;
    uint64_t end = Disk::kBlock;
    uint32_t busy = 0;   // reads and writes under way
    bool freed = false;  // nobody's, once it is not busy
    Time until;          // reserved
  };
  Result<uint32_t> Lend(uint64_t stream, Time now, Time until);
  void Done(uint32_t segment);

  store::DiskTier* disk_;
  planner::Calendar* calendar_;
  uint32_t most_segments_;
  std::map<uint32_t, Lent> segments_;
  std::map<uint64_t, std::vector<uint32_t>> with_room_;  // of a stream, the last few
};

}  // namespace holdfast::cached
