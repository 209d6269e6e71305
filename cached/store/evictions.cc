// SPDX-License-Identifier: Apache-2.0
#include "cached/store/evictions.h"

#include <algorithm>

namespace holdfast::store {

using snapshot::AgeCells;

EvictionCounts::EvictionCounts() : objects_(AgeCells::kCells), squares_(AgeCells::kCells) {}

void EvictionCounts::Evicted(Duration age) {
  const uint32_t cell = AgeCells::CellOf(age);
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
  return *this;
}

}  // namespace holdfast::store
