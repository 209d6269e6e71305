// SPDX-License-Identifier: Apache-2.0
#include "wire/shelf.h"

#include <cstring>

#include "base/hash.h"
#include "base/status.h"
#include "base/uri.h"

namespace holdfast::stream {
namespace {

constexpr uint32_t kBuckets = 1024;
constexpr uint64_t kRecordOffset = shm::kRecordAlign;  // offset 0 is never a record
constexpr uint64_t kNameBytes = 64;

}  // namespace

shm::RegionPlan Shelf::Plan(uint32_t places, uint64_t place_bytes) {
  shm::RegionPlan plan;
  plan.segments = places;
  plan.buckets = kBuckets;
  plan.segment_bytes = shm::AlignUp(kRecordOffset + shm::RecordBytes(place_bytes, kNameBytes, 0),
                                    uint64_t{4} * kKiB);
  plan.grant_offset = shm::GrantOffset(places);
  plan.bucket_offset =
      shm::AlignUp(plan.grant_offset + shm::kMaxSessions * sizeof(shm::SessionGrant), 64);
  plan.segment_offset = shm::AlignUp(plan.bucket_offset + kBuckets * sizeof(shm::Bucket), 2 * kMiB);
  plan.region_bytes = plan.segment_offset + places * plan.segment_bytes;
  return plan;
}

Shelf::Shelf(ByteSpan region, const shm::RegionPlan& plan)
    : region_(region), plan_(plan), entries_(plan.segments) {
  HF_CHECK(region.size() >= plan.region_bytes);
  auto* header = reinterpret_cast<shm::RegionHeader*>(region.data());
  header->layout_version = shm::kLayoutVersion;
  header->incarnation = incarnation();
  header->region_bytes = plan.region_bytes;
  header->segment_bytes = plan.segment_bytes;
  header->segments = plan.segments;
  header->buckets = plan.buckets;
  header->bucket_offset = plan.bucket_offset;
  header->segment_offset = plan.segment_offset;
  header->magic = shm::kRegionMagic;
}

shm::RecordHeader* Shelf::Record(uint32_t place) const {
  return reinterpret_cast<shm::RecordHeader*>(region_.data() + plan_.segment_offset +
                                              place * plan_.segment_bytes + kRecordOffset);
}

ByteSpan Shelf::Room(uint32_t place) const {
  const uint64_t most = plan_.segment_bytes - kRecordOffset - shm::kRecordAlign - kNameBytes;
  return {reinterpret_cast<std::byte*>(Record(place)) + shm::kRecordAlign, most};
}

bool Shelf::Show(uint32_t place, std::string_view name, VersionHash version, uint64_t size,
                 uint64_t hash) {
  HF_CHECK(entries_[place] == nullptr && size <= Room(place).size() && name.size() <= kNameBytes);
  const Oid oid = OidOf(name);
  auto* buckets = reinterpret_cast<shm::Bucket*>(region_.data() + plan_.bucket_offset);
  const uint32_t first = shm::FirstBucket(oid, plan_.buckets);
  const uint32_t second = shm::OtherBucket(first, shm::TagFor(oid), plan_.buckets);
  std::atomic<shm::Entry>* entry = nullptr;
  for (shm::Bucket* bucket : {&buckets[second], &buckets[first]}) {
    for (std::atomic<shm::Entry>& slot : bucket->entries) {
      if (slot.load(std::memory_order_relaxed) == 0) entry = &slot;
    }
  }
  if (entry == nullptr) return false;
  shm::RecordHeader* record = Record(place);
  *record = {.magic = shm::kRecordMagic,
             .name_bytes = static_cast<uint16_t>(name.size()),
             .etag_bytes = 0,
             .oid = oid,
             .version = version,
             .size = static_cast<uint32_t>(size),
             .expires_s = 0,
             .payload_hash = hash,
             .written_us = 0,
             .header_hash = 0};
  std::memcpy(Room(place).data() + size, name.data(), name.size());
  record->header_hash = Hash64(AsBytes(name));
  record->header_hash = Hash64(std::as_bytes(std::span(record, 1)));
  entries_[place] = entry;
  entry->store(shm::MakeEntry(shm::TagFor(oid), place, kRecordOffset), std::memory_order_release);
  return true;
}

// The daemon's half of the rule of local reading: clear, fence, and look at the pins.
void Shelf::Hide(uint32_t place) {
  std::atomic<shm::Entry>* entry = std::exchange(entries_[place], nullptr);
  if (entry != nullptr) entry->store(0, std::memory_order_seq_cst);
  (void)shm::FullFence();
}

bool Shelf::Unread(uint32_t place) const {
  auto* pins = reinterpret_cast<std::atomic<uint32_t>*>(session_.data() + shm::PinsOffset());
  for (uint32_t lane = 0; lane < shm::kPinLanes; ++lane) {
    if (pins[lane * plan_.segments + place].load(std::memory_order_seq_cst) != 0) return false;
  }
  return true;
}

}  // namespace holdfast::stream
