// SPDX-License-Identifier: Apache-2.0
#include "io/disk/staging.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>

namespace holdfast::disk {

Staging::Staging(uint64_t position, uint64_t limit)
    : tail_(position + kGroupHeaderBytes),
      limit_(limit),
      memory_{BlockBuffer(kMaxGroupBytes), BlockBuffer(kMaxGroupBytes)} {
  groups_[0].position = position;
}

Staging::Taken Staging::Take(ByteView record, ByteView more, uint64_t* sequence) {
  const uint64_t span = RecordSpan(record.size() + more.size());
  uint64_t tail = tail_.load(std::memory_order_seq_cst);
  while (true) {
    const uint64_t number = tail & kGroupMask;
    const uint64_t at = tail & ~kGroupMask;
    const uint64_t start = groups_[number].position.load(std::memory_order_acquire);
    const uint64_t now = tail_.load(std::memory_order_seq_cst);
    if (now != tail) {  // `start` may be that of a later group of the same number
      tail = now;
      continue;
    }
    if (at + span - start > kMaxGroupBytes) return Taken::kGroupIsFull;
    if (RoundUpToBlock(at + span) > limit_.load(std::memory_order_acquire)) {
      return Taken::kRingIsFull;
    }
    if (!tail_.compare_exchange_weak(tail, tail + span, std::memory_order_seq_cst)) continue;
    Fill(number, at - start, record, more);
    WakeWriter();
    *sequence = at;
    return Taken::kYes;
  }
}

void Staging::Fill(uint64_t number, uint64_t offset, ByteView record, ByteView more) {
  const uint64_t bytes = record.size() + more.size();
  const uint64_t span = RecordSpan(bytes);
  std::byte* to = MemoryOf(number).data() + offset;
  StoreAs<uint64_t>(to + span - 8, 0);  // the padding
  StoreAs<uint64_t>(to, bytes);
  std::byte* data = std::copy(record.begin(), record.end(), to + kRecordHeaderBytes);
  std::copy(more.begin(), more.end(), data);
  groups_[number].filled.fetch_add(span, std::memory_order_release);
}

FutexWord* Staging::EndOfGroupOf(uint64_t sequence) {
  const uint64_t number = tail_.load(std::memory_order_seq_cst) & kGroupMask;
  const bool open = sequence >= groups_[number].position.load(std::memory_order_acquire);
  return &groups_[open ? number : (number - 1) & kGroupMask].ended;
}

void Staging::WakeWriter() {
  if (idle_.load(std::memory_order_seq_cst) != 0 && idle_.exchange(0) != 0) FutexWake(&idle_);
}

bool Staging::IsEmpty() const {
  const uint64_t tail = tail_.load(std::memory_order_seq_cst);
  const uint64_t start = groups_[tail & kGroupMask].position.load(std::memory_order_relaxed);
  return (tail & ~kGroupMask) == start + kGroupHeaderBytes;
}

Staging::Sealed Staging::Seal() {
  uint64_t tail = tail_.load(std::memory_order_seq_cst);
  const uint64_t number = tail & kGroupMask;
  const uint64_t next = (number + 1) & kGroupMask;
  Group& group = groups_[number];
  const uint64_t position = group.position.load(std::memory_order_relaxed);
  groups_[next].filled.store(0, std::memory_order_relaxed);
  uint64_t after = 0;
  do {
    after = RoundUpToBlock(tail & ~kGroupMask);
    groups_[next].position.store(after, std::memory_order_release);
  } while (!tail_.compare_exchange_weak(tail, (after + kGroupHeaderBytes) | next,
                                        std::memory_order_seq_cst));
  FutexAdvance(&opened_);
  const uint64_t bytes = (tail & ~kGroupMask) - position;
  // A thread that has room but no processor. One that this thread's priority keeps from running
  // needs more than a yield.
  for (int looks = 0; group.filled.load(std::memory_order_acquire) != bytes - kGroupHeaderBytes;
       ++looks) {
    if (looks < 100) {
      ::sched_yield();
    } else {
      ::usleep(50);
    }
  }
  ByteSpan memory = MemoryOf(number).first(after - position);
  std::fill(memory.begin() + static_cast<ptrdiff_t>(bytes), memory.end(), std::byte{0});
  return {position, static_cast<uint32_t>(bytes), memory, &group.ended};
}

void Staging::WakeAll() {
  FutexAdvance(&opened_);
  for (Group& group : groups_) FutexAdvance(&group.ended);
}

}  // namespace holdfast::disk
