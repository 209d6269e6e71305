// SPDX-License-Identifier: Apache-2.0
// Tables from an OID to its record, as bench index compares them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/ids.h"
#include "wire/shm_layout.h"

namespace holdfast::bench {

// Memory in which records lie, one every kRecordBytes, in the segments of a region.
class RecordMemory {
 public:
  static constexpr uint64_t kRecordBytes = 128;  // the least: a header, a few bytes and a name

  explicit RecordMemory(uint32_t records);
  ~RecordMemory();
  RecordMemory(const RecordMemory&) = delete;

  std::byte* region() const { return region_; }
  const shm::RegionPlan& plan() const { return plan_; }
  shm::Entry EntryOf(uint32_t place, const Oid& oid) const;
  shm::RecordHeader* at(uint32_t place) const;

 private:
  shm::RegionPlan plan_;
  std::byte* region_;
};

class Table {
 public:
  virtual ~Table() = default;
  virtual const char* name() const = 0;
  // False when there is no room for it.
  virtual bool Insert(const Oid& oid, uint32_t place) = 0;
  // How many of these are there, each checked in its record.
  virtual uint64_t CountMany(std::span<const Oid> oids) const = 0;
  virtual uint64_t memory_bytes() const = 0;
};

// std::unordered_map, one look-up at a time: it offers nothing else.
std::unique_ptr<Table> MakeUnorderedMap(const RecordMemory& records);
// Open addressing with linear probing over 16-byte slots (half of the OID and a pointer), 60 % full
// at 10^7 objects, in batches with prefetch like ours.
std::unique_ptr<Table> MakeOpenAddressing(const RecordMemory& records, uint32_t objects);

}  // namespace holdfast::bench
