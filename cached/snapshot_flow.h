// SPDX-License-Identifier: Apache-2.0
// One virtual snapshot of this node, from the question to the listing:
//
//   1. Step     a part of the index of memory an event: heartbeats and reads go on
//   2. Disk     one segment's table after the other
//   3. Reply    what was found, and the ages at which objects were evicted since the snapshot before
//
// What is loaded or evicted meanwhile may be missed or listed: the listing is out of date anyway by
// the time it is used.
#pragma once

#include <deque>
#include <functional>
#include <utility>
#include <vector>

#include "base/bitmap.h"
#include "cached/context.h"
#include "cached/store/evictions.h"

namespace holdfast::cached {

// The counts of evictions as they were at the last snapshots, by their numbers in the log.
class EvictionHistory {
 public:
  static constexpr size_t kSnapshots = 8;

  void Remember(uint64_t sequence, const store::EvictionCounts& counts);
  const store::EvictionCounts* Find(uint64_t sequence) const;

 private:
  std::deque<std::pair<uint64_t, store::EvictionCounts>> past_;  // oldest first
};

class SnapshotFlow {
 public:
  static constexpr uint32_t kSlotsPerStep = 65'536;

  SnapshotFlow(const Context* context, EvictionHistory* history, PeerId peer,
               const wire::SnapshotQuery& query);

  // What the listing of the tiers as they are now will take.
  static uint64_t BytesFor(const Context& context);

  // Goes on. What it is to do after that: to be called again, to wait until `wake` is called, or
  // nothing, since the reply has been sent.
  enum class Next : uint8_t { kAgain, kWait, kDone };
  Next Step(std::function<void()> wake);
  uint64_t memory_bytes() const { return capacity_ * kBytesPerObject; }

 private:
  static constexpr uint64_t kBytesPerObject = 2 * (8 + 4) + 1;

  void Add(const Oid& oid, Duration age, bool held, snapshot::Ring ring);
  void ListDisk(std::function<void()> wake);
  void Reply();

  const Context* context_;
  EvictionHistory* history_;
  PeerId peer_;
  wire::SnapshotQuery query_;
  uint64_t capacity_;
  uint32_t next_ = 0;          // slot of the index
  uint32_t next_segment_ = 0;  // of the disk
  std::vector<uint64_t> prints_;
  std::vector<uint32_t> ages_;
  std::vector<uint64_t> held_;  // bitmaps
  std::vector<uint64_t> kept_;
};

}  // namespace holdfast::cached
