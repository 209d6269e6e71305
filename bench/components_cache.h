// SPDX-License-Identifier: Apache-2.0
// Values in memory, by index: a table of fixed size that gives a second chance to what was used.
#pragma once

#include <cstring>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"

namespace holdfast::bench {

class ValueCache {
 public:
  ValueCache(size_t values, size_t value_bytes)
      : value_bytes_(value_bytes), bytes_(values * value_bytes), slots_(values) {
    places_.reserve(values);
  }
  const std::byte* Find(uint64_t index) {
    auto found = places_.find(index);
    if (found == places_.end()) return nullptr;
    slots_[found->second].used = true;
    return bytes_.data() + found->second * value_bytes_;
  }
  void Insert(uint64_t index, const std::byte* value) {
    if (slots_.empty() || places_.contains(index)) return;
    while (slots_[hand_].used) {
      slots_[hand_].used = false;
      hand_ = (hand_ + 1) % slots_.size();
    }
    Slot& slot = slots_[hand_];
    if (slot.taken) places_.erase(slot.index);
    slot = {.index = index, .taken = true, .used = false};
    places_[index] = hand_;
    std::memcpy(bytes_.data() + hand_ * value_bytes_, value, value_bytes_);
    hand_ = (hand_ + 1) % slots_.size();
  }

 private:
  struct Slot {
    uint64_t index = 0;
    bool taken = false;
    bool used = false;
  };
  size_t value_bytes_;
  Buffer bytes_;
  std::vector<Slot> slots_;
  std::unordered_map<uint64_t, size_t> places_;
  size_t hand_ = 0;
};

}  // namespace holdfast::bench
