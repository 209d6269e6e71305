// SPDX-License-Identifier: Apache-2.0
// The ages at which records were evicted from either ring, or went on from the fresh one to the kept
// one, counted since the start: what snapshot/rings.h learns from. An age counts from the load (what is
// kept on because it was read goes on ageing: a log of sightings knows it by its load), or from when
// its segment joined the ring because the promises in it had ended.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "base/units.h"
#include "snapshot/rings.h"

namespace holdfast::store {

class EvictionCounts {
 public:
  EvictionCounts();

  // A record of the segment that is being emptied, in this ring.
  void Evicted(snapshot::Ring ring, Duration age);
  // One that nobody holds goes on from the fresh ring to the kept one, or to the disk.
  void Moved(Duration age);
  // The segment is empty: what was evicted at one age counts as one event of so many objects.
  void SegmentDone();

  // Of two tiers of a node.
  EvictionCounts& operator+=(const EvictionCounts& o);

  // By cell of snapshot::AgeCells, those of the fresh ring first and then of the kept one: how many,
  // and the sum of the squares of those that left together.
  const std::vector<uint64_t>& objects() const { return objects_; }
  const std::vector<uint64_t>& squares() const { return squares_; }
  // By cell: how many moved.
  const std::vector<uint64_t>& moved() const { return moved_; }

 private:
  std::vector<uint64_t> objects_;
  std::vector<uint64_t> squares_;
  std::vector<uint64_t> moved_;
  std::vector<std::pair<uint32_t, uint64_t>> together_;  // of this segment, by cell: a few
};

}  // namespace holdfast::store
