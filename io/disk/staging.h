// SPDX-License-Identifier: Apache-2.0
// Where many threads put records for one thread to write. Two groups have memory at a time: the
// open one, which takes records, and the sealed one, which is being written. To take room in the
// open group is one compare-and-swap on a word that holds the next position and the number of the
// group modulo 4; the copy of the record happens outside of any lock, and the writer waits for it.
// Groups lie in memory exactly as in the file.
//
// Each group has a word to sleep on, so that the end of a group wakes those who wait for it and
// nobody else, all with one call.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "io/disk/futex.h"
#include "io/disk/log_format.h"

namespace holdfast::disk {

class Staging {
 public:
  // The first group goes to `position`; room is taken up to `limit`, the end of the ring's free
  // part, in positions.
  Staging(uint64_t position, uint64_t limit);

  // Any thread.
  enum class Taken {
    kYes,
    kGroupIsFull,  // until the writer takes the group
    kRingIsFull,   // until SetLimit
  };
  // The record is both parts; `*sequence` is its number.
  Taken Take(ByteView record, ByteView more, uint64_t* sequence);
  void SetLimit(uint64_t limit) { limit_.store(limit, std::memory_order_release); }
  // What sleepers on the group of `sequence` look at; only for a group that has not ended.
  FutexWord* EndOfGroupOf(uint64_t sequence);
  FutexWord* Opened() { return &opened_; }
  // Ends WaitForWork, now or the next time.
  void WakeWriter();

  // The writer's thread.
  struct Sealed {
    uint64_t position;
    uint32_t bytes;    // with the header, without the padding
    ByteSpan memory;   // padded to whole blocks; its header is still to be written
    FutexWord* ended;  // to be advanced when the group is durable
  };
  // Returns when there is a record to write or `other()` is true.
  template <typename Condition>
  void WaitForWork(const Condition& other) {
    while (IsEmpty() && !other()) {
      idle_.store(1, std::memory_order_seq_cst);
      if (IsEmpty() && !other()) FutexWait(&idle_, 1);
      idle_.store(0, std::memory_order_seq_cst);
    }
  }
  bool IsEmpty() const;
  // Closes the open group, which is not empty, opens the next one, and waits until all records of
  // the closed one are copied. The memory is the group's until Seal is called again.
  Sealed Seal();
  // Wakes everybody who sleeps here, for good: the log has failed.
  void WakeAll();

 private:
  struct alignas(64) Group {
    std::atomic<uint64_t> position{0};
    std::atomic<uint64_t> filled{0};  // bytes of records that are copied
    FutexWord ended{0};
  };
  static constexpr uint64_t kGroupMask = 3;

  void Fill(uint64_t number, uint64_t offset, ByteView record, ByteView more);
  ByteSpan MemoryOf(uint64_t number) { return memory_[number & 1].span(); }

  alignas(64) std::atomic<uint64_t> tail_;  // next position | number of the open group modulo 4
  alignas(64) std::atomic<uint64_t> limit_;
  FutexWord opened_{0};
  alignas(64) FutexWord idle_{0};
  std::array<Group, 4> groups_;
  std::array<Buffer, 2> memory_;
};

}  // namespace holdfast::disk
