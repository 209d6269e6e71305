// SPDX-License-Identifier: Apache-2.0
// A node's bids for one chunk of a call: pure.
#pragma once

#include <cstdint>

#include "base/bitmap.h"
#include "planner/manifest.h"

namespace holdfast::planner {

struct BidInput {
  const Manifest* manifest;
  uint32_t first = 0;  // the chunk [first, first + count); a multiple of 64
  uint32_t count = 0;
  const Bitmap* asked;  // over the manifest: what the call is about
  const Bitmap* offer;  // over the manifest: what this node may offer to load
  const Bitmap* home;   // over the manifest, subset of offer: offers that reserve
  Bitmap here;          // over the chunk: in the store or being loaded
  Bitmap
      held;  // over the chunk, subset of here: promised to somebody already, so a keep takes no room
  Bitmap disk{};  // over the chunk: on this node's disk, which it may offer unasked. Empty: nothing
  Bitmap disk_held{};  // over the chunk, subset of disk: promised there already
  uint64_t max_object_bytes = 0;
  uint64_t room_bytes =
      0;  // that may be reserved for this chunk: the calendar's room, the job's cap
  // What an object takes in the tier with the longest name of its list; null: its size.
  uint64_t (*record_bytes)(uint64_t object_bytes, uint32_t name_bytes) = nullptr;
  uint32_t name_bytes = 0;
  uint64_t least_record_bytes = 0;  // what it takes at least
  // What memory has no room for may be promised on the disk: objects of these sizes, and the room for
  // them, in what `disk_record_bytes` says of a size.
  uint64_t disk_least_bytes = 0;
  uint64_t disk_most_bytes = 0;
  uint64_t disk_room_bytes = 0;
  uint64_t (*disk_record_bytes)(uint64_t object_bytes) = nullptr;  // null: nothing is
  uint64_t disk_least_record_bytes = 0;
};

struct BidOutcome {
  Bitmap keep;  // disjoint, over the chunk
  Bitmap load;
  Bitmap spare;
  Bitmap near;                       // of load and spare: on the disk, or to be promised there
  uint64_t reserved_bytes = 0;       // for `keep` without `held`, and for `load`
  uint64_t disk_reserved_bytes = 0;  // for the loads for which memory has no room
};

// keep: asked and here, while there is room to promise it. load: asked, not here, home, not too large,
// while there is room in memory or on the disk; or here, with room on the disk alone. What is held on the
// disk already is a load that takes no room, unless it is held in memory.
// spare: asked, not here, offered or on the disk, without home or without room for it, not too large.
// Keeps are served before loads. So one node reserves for an object, wherever disks have it.
BidOutcome BidForChunk(const BidInput& input);

}  // namespace holdfast::planner
