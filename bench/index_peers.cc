// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <bit>
#include <unordered_map>

#include "base/status.h"
#include "bench/index_table.h"

namespace holdfast::bench {
namespace {

struct OidHash {
  size_t operator()(const Oid& oid) const { return oid.lo; }
};

// Counts what the map asks for, without what malloc adds.
template <typename T>
struct CountingAllocator {
  using value_type = T;
  explicit CountingAllocator(uint64_t* count) : bytes(count) {}
  template <typename U>
  CountingAllocator(const CountingAllocator<U>& other) : bytes(other.bytes) {}
  T* allocate(size_t n) {
    *bytes += n * sizeof(T);
    return std::allocator<T>().allocate(n);
  }
  void deallocate(T* p, size_t n) {
    *bytes -= n * sizeof(T);
    std::allocator<T>().deallocate(p, n);
  }
  template <typename U>
  bool operator==(const CountingAllocator<U>& other) const {
    return bytes == other.bytes;
  }
  uint64_t* bytes;
};

class UnorderedMap final : public Table {
 public:
  explicit UnorderedMap(const RecordMemory& records)
      : records_(records), map_(0, OidHash(), std::equal_to<>(), Allocator(&bytes_)) {}
  const char* name() const override { return "std::unordered_map"; }
  bool Insert(const Oid& oid, uint32_t place) override {
    map_[oid] = records_.at(place);
    return true;
  }
  uint64_t CountMany(std::span<const Oid> oids) const override {
    uint64_t found = 0;
    for (const Oid& oid : oids) {
      const auto it = map_.find(oid);
      found += it != map_.end() && it->second->oid == oid;
    }
    return found;
  }
  uint64_t memory_bytes() const override { return bytes_; }

 private:
  using Allocator = CountingAllocator<std::pair<const Oid, const shm::RecordHeader*>>;
  const RecordMemory& records_;
  uint64_t bytes_ = 0;
  std::unordered_map<Oid, const shm::RecordHeader*, OidHash, std::equal_to<>, Allocator> map_;
};

class OpenAddressing final : public Table {
 public:
  OpenAddressing(const RecordMemory& records, uint32_t objects)
      : records_(records), slots_(std::bit_ceil(objects + objects / 2)), mask_(slots_.size() - 1) {}
  const char* name() const override { return "open addressing"; }
  bool Insert(const Oid& oid, uint32_t place) override {
    size_t at = oid.lo & mask_;
    while (slots_[at].record != nullptr) at = (at + 1) & mask_;
    slots_[at] = {oid.hi, records_.at(place)};
    return true;
  }
  uint64_t CountMany(std::span<const Oid> oids) const override {
    constexpr size_t kGroup = 32;
    std::array<const shm::RecordHeader*, kGroup> records;
    uint64_t found = 0;
    for (; !oids.empty(); oids = oids.subspan(std::min(kGroup, oids.size()))) {
      const size_t n = std::min(kGroup, oids.size());
      for (size_t i = 0; i < n; ++i) __builtin_prefetch(&slots_[oids[i].lo & mask_]);
      for (size_t i = 0; i < n; ++i) {
        size_t at = oids[i].lo & mask_;
        while (slots_[at].record != nullptr && slots_[at].hi != oids[i].hi) at = (at + 1) & mask_;
        records[i] = slots_[at].record;
        __builtin_prefetch(records[i]);
      }
      for (size_t i = 0; i < n; ++i) found += records[i] != nullptr && records[i]->oid == oids[i];
    }
    return found;
  }
  uint64_t memory_bytes() const override { return slots_.size() * sizeof(Slot); }

 private:
  struct Slot {
    uint64_t hi = 0;
    const shm::RecordHeader* record = nullptr;
  };
  const RecordMemory& records_;
  std::vector<Slot> slots_;
  size_t mask_;
};

}  // namespace

std::unique_ptr<Table> MakeUnorderedMap(const RecordMemory& records) {
  return std::make_unique<UnorderedMap>(records);
}

std::unique_ptr<Table> MakeOpenAddressing(const RecordMemory& records, uint32_t objects) {
  return std::make_unique<OpenAddressing>(records, objects);
}

}  // namespace holdfast::bench
