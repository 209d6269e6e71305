// SPDX-License-Identifier: Apache-2.0
// How many segments the records on their way to readers pin, over all connections of a server.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

namespace holdfast::bulk {

// Thread-safe.
class PinBudget {
 public:
  explicit PinBudget(uint32_t max_segments)
      : max_segments_(max_segments), pins_(std::make_unique<std::atomic<uint32_t>[]>(kSegments)) {}

  // False when `segment` would be one more pinned segment than allowed.
  bool TryPin(uint32_t segment) {
    if (pins_[segment].fetch_add(1, std::memory_order_relaxed) > 0) return true;
    if (pinned_.fetch_add(1, std::memory_order_relaxed) < max_segments_) return true;
    Unpin(segment);
    return false;
  }
  void Unpin(uint32_t segment) {
    if (pins_[segment].fetch_sub(1, std::memory_order_relaxed) == 1) {
      pinned_.fetch_sub(1, std::memory_order_relaxed);
    }
  }
  uint32_t pinned_segments() const { return pinned_.load(std::memory_order_relaxed); }

 private:
  static constexpr uint32_t kSegments = 1 << 16;  // as many as an index entry can name
  uint32_t max_segments_;
  std::atomic<uint32_t> pinned_{0};
  std::unique_ptr<std::atomic<uint32_t>[]> pins_;
};

}  // namespace holdfast::bulk
