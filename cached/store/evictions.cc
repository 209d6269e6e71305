// SPDX-License-Identifier: Apache-2.0
#include "cached/store/evictions.h"

#include <algorithm>

namespace holdfast::store {

using snapshot::AgeCells;
using snapshot::kRings;

EvictionCounts::EvictionCounts()
    : objects_(kRings * AgeCells::kCells),
      squares_(kRings * AgeCells::kCells),
      moved_(AgeCells::kCells) {}

void EvictionCounts::Moved(Duration age) { ++moved_[AgeCells::CellOf(age)]; }

void EvictionCounts::Evicted(snapshot::Ring ring, Duration age) {
  const uint32_t cell = AgeCells::CellOf(age) + static_cast<uint32_t>(ring) * AgeCells::kCells;
  ++objects_[cell];
  // Neighbours in a segment are of about the same age.
  auto it = std::find_if(together_.rbegin(), together_.rend(),
                         [cell](const auto& t) { return t.first == cell; });
  if (it == together_.rend()) {
    together_.emplace_back(cell, 1);
  } else {
    ++it->second;
  }
}

void EvictionCounts::SegmentDone() {
  for (const auto& [cell, count] : together_) squares_[cell] += count * count;
  together_.clear();
}

EvictionCounts& EvictionCounts::operator+=(const EvictionCounts& o) {
  for (size_t i = 0; i < objects_.size(); ++i) {
    objects_[i] += o.objects_[i];
    squares_[i] += o.squares_[i];
  }
  for (size_t i = 0; i < moved_.size(); ++i) moved_[i] += o.moved_[i];
  return *this;
}

}  // namespace holdfast::store
