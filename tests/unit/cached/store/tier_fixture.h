// SPDX-License-Identifier: Apache-2.0
// A tier over ordinary memory, records that verify themselves, and readers beside it.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include "base/hash.h"
#include "cached/store/memory_tier.h"
#include "wire/local_reader.h"

namespace holdfast::store {

class AlignedMemory {
 public:
  explicit AlignedMemory(size_t size)
      : data_(static_cast<std::byte*>(::operator new (size, std::align_val_t{4096}))), size_(size) {
    std::memset(data_, 0, size);
  }
  ~AlignedMemory() { ::operator delete (data_, std::align_val_t{4096}); }
  AlignedMemory(const AlignedMemory&) = delete;
  ByteSpan span() const { return {data_, size_}; }

 private:
  std::byte* data_;
  size_t size_;
};

inline Oid OidOf(uint64_t number) { return {Mix64(number), Mix64(number + (uint64_t{1} << 60))}; }

// The only right byte of version `version` of object `number` at `offset`.
inline std::byte ByteOf(uint64_t number, VersionHash version, uint64_t offset) {
  return static_cast<std::byte>(Mix64(number * 31 + version * 7 + offset / 8) >> (offset % 8 * 8));
}
inline void Fill(uint64_t number, VersionHash version, ByteSpan payload) {
  for (uint64_t i = 0; i < payload.size(); ++i) payload[i] = ByteOf(number, version, i);
}
inline bool IsRight(uint64_t number, VersionHash version, ByteView payload) {
  for (uint64_t i = 0; i < payload.size(); ++i) {
    if (payload[i] != ByteOf(number, version, i)) return false;
  }
  return true;
}

inline MemoryTierOptions SmallOptions(uint32_t segments, uint64_t segment_bytes,
                                      uint64_t index_objects) {
  return {.memory_bytes = 2 * kMiB * (1 + index_objects / 100'000) + segments * segment_bytes,
          .segment_bytes = segment_bytes,
          .index_objects = index_objects,
          .node = 3,
          .incarnation = 77};
}

// A client: a session that is attached, and a reader over it.
class Client {
 public:
  Client(uint32_t number, ByteSpan region, uint32_t segments, Sessions* sessions,
         const std::atomic<uint32_t>* forks = nullptr)
      : number_(number), sessions_(sessions), memory_(shm::SessionBytes(segments)) {
    FormatSession(memory_.span(), number, segments, 77, 1);
    sessions_->Attach(number_, memory_.span());
    Result<std::unique_ptr<LocalReader>> opened = LocalReader::Open(region, memory_.span(), forks);
    HF_CHECK(opened.ok());
    reader_ = std::move(*opened);
  }
  ~Client() { sessions_->Detach(number_); }
  LocalReader* operator->() { return reader_.get(); }
  LocalReader& reader() { return *reader_; }
  ByteSpan session() const { return memory_.span(); }

 private:
  uint32_t number_;
  Sessions* sessions_;
  AlignedMemory memory_;
  std::unique_ptr<LocalReader> reader_;
};

// A region, its sessions and a tier over it.
struct Node {
  explicit Node(const MemoryTierOptions& o)
      : options(o),
        plan(*PlanRegion(o)),
        memory(plan.region_bytes),
        sessions(plan.segments),
        tier(std::make_unique<MemoryTier>(memory.span(), plan, options, &sessions)) {}

  // Allocates, fills and commits. Its name is "mem:<number>", its ETag "v<version>".
  Status Put(uint64_t number, VersionHash version, uint64_t size, Time now = {},
             std::optional<Time> hold_until = std::nullopt, uint32_t expires_s = 0) {
    const std::string name = "mem:" + std::to_string(number);
    const std::string etag = "v" + std::to_string(version);
    Result<MemoryTier::Slot> slot = tier->Allocate(
        {.oid = OidOf(number), .version = version, .size = size, .name = name, .etag = etag}, now,
        hold_until);
    if (!slot.ok()) return slot.status();
    Fill(number, version, slot->payload);
    tier->Commit(slot->id, Hash64(slot->payload), hold_until ? 1 : 0, expires_s);
    return {};
  }
  bool Has(uint64_t number, VersionHash version = 0) const {
    return tier->Find(OidOf(number), version).has_value();
  }

  MemoryTierOptions options;
  shm::RegionPlan plan;
  AlignedMemory memory;
  Sessions sessions;
  std::unique_ptr<MemoryTier> tier;
};

}  // namespace holdfast::store
