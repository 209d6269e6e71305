// SPDX-License-Identifier: Apache-2.0
// What the processes of a torture tell each other, in memory that all of them were forked with.
#pragma once

#include <atomic>
#include <cstdint>

namespace holdfast::torture {

struct alignas(64) ReaderCounters {
  std::atomic<uint64_t> lookups{0};
  std::atomic<uint64_t> hits{0};
  std::atomic<uint64_t> views{
      0};  // that were given; each was checked when taken and again when released
  std::atomic<uint64_t> over_grant{0};
  std::atomic<uint64_t> wrong{
      0};  // anything but the bytes of one record, and anything else that must not be
  std::atomic<uint64_t> attached{0};
  std::atomic<uint64_t> forked{0};
};

struct alignas(64) NodeCounters {
  std::atomic<uint64_t> starts{0};
  std::atomic<uint64_t> readopted{0};  // sessions that lived through a restart
  std::atomic<uint64_t> loaded{0};
  std::atomic<uint64_t> no_space{0};
  std::atomic<uint64_t> dropped{0};  // by reclaim
  std::atomic<uint64_t> waited{0};   // times that a segment was seen to wait for its readers
  // As of now, and how often they were looked at: to wait for an end.
  std::atomic<uint64_t> ticks{0};
  std::atomic<uint32_t> sessions{0};
  std::atomic<uint32_t> waiting_segments{0};
  std::atomic<uint32_t> pinned_segments{0};
};

enum class Phase : uint32_t {
  kRun = 0,
  kLetGo = 1,  // readers release all views, and stay attached
  kEnd = 2,    // readers detach and end
};

constexpr uint32_t kMaxReaders = 16;

struct Shared {
  std::atomic<Phase> phase{Phase::kRun};
  std::atomic<bool> node_ends{false};
  NodeCounters node;
  ReaderCounters readers[kMaxReaders];
};

}  // namespace holdfast::torture
