// SPDX-License-Identifier: Apache-2.0
// What is in a simulated journal: records in their order, of which the last were not synced. A crash
// of the machine loses some of those, from the end; never one in the middle.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <vector>

#include "base/bytes.h"
#include "base/random.h"

namespace holdfast::sim {

class JournalImage {
 public:
  struct Record {
    uint64_t sequence = 0;
    std::vector<std::byte> bytes;
  };

  explicit JournalImage(uint64_t capacity) : capacity_(capacity) {}

  uint64_t capacity() const { return capacity_; }
  const std::deque<Record>& records() const { return records_; }
  // Of the record, with what a group adds.
  static uint64_t SpaceOf(uint64_t bytes) { return bytes + 72; }
  uint64_t used() const { return used_; }

  // A process has it from now on; what earlier ones had on its way comes too late.
  uint32_t Open() { return ++life_; }
  uint32_t life() const { return life_; }

  uint64_t NextSequence() { return next_++; }
  void Arrive(uint32_t life, Record record) {
    if (life != life_) return;
    used_ += SpaceOf(record.bytes.size());
    records_.push_back(std::move(record));
  }
  void Sync(uint64_t sequence) { synced_ = std::max(synced_, sequence); }
  void Truncate(uint64_t before) {
    while (!records_.empty() && records_.front().sequence < before) {
      used_ -= SpaceOf(records_.front().bytes.size());
      records_.pop_front();
    }
  }
  // Returns how many records were lost.
  uint64_t Crash(Random* random) {
    uint64_t unsynced = 0;
    for (const Record& record : records_) unsynced += record.sequence > synced_ ? 1 : 0;
    const uint64_t lost = random->Below(unsynced + 1);
    for (uint64_t n = 0; n < lost; ++n) {
      used_ -= SpaceOf(records_.back().bytes.size());
      records_.pop_back();
    }
    return lost;
  }

 private:
  uint64_t capacity_;
  std::deque<Record> records_;
  uint64_t used_ = 0;
  uint64_t next_ = 1;
  uint64_t synced_ = 0;
  uint32_t life_ = 0;
};

}  // namespace holdfast::sim
