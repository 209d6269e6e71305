// SPDX-License-Identifier: Apache-2.0
// The pieces of a region (wire/shm_layout.h) by their types. The daemon's side: it alone writes
// here.
#pragma once

#include <string_view>

#include "base/bytes.h"
#include "base/ids.h"
#include "wire/shm_layout.h"

namespace holdfast::store {

// Where a record lies.
struct Place {
  uint32_t segment = 0;
  uint64_t offset = 0;
};

// In a segment's generation: it is of the kept ring (segments.h), for a daemon that starts over it.
constexpr uint64_t kKeptSegment = uint64_t{1} << 63;

// A view of memory that somebody else owns; copies are views of the same memory.
class Region {
 public:
  Region(ByteSpan memory, const shm::RegionPlan& plan) : base_(memory.data()), plan_(plan) {}

  const shm::RegionPlan& plan() const { return plan_; }
  uint64_t segment_bytes() const { return plan_.segment_bytes; }
  uint32_t segments() const { return plan_.segments; }

  shm::RegionHeader* header() const { return reinterpret_cast<shm::RegionHeader*>(base_); }
  shm::SegmentState* states() const {
    return reinterpret_cast<shm::SegmentState*>(base_ + sizeof(shm::RegionHeader));
  }
  shm::SessionGrant* grants() const {
    return reinterpret_cast<shm::SessionGrant*>(base_ + plan_.grant_offset);
  }
  shm::Bucket* buckets() const {
    return reinterpret_cast<shm::Bucket*>(base_ + plan_.bucket_offset);
  }
  std::byte* at(Place place) const {
    return base_ + plan_.segment_offset + place.segment * plan_.segment_bytes + place.offset;
  }
  shm::RecordHeader* record(Place place) const {
    return reinterpret_cast<shm::RecordHeader*>(at(place));
  }
  const shm::RecordHeader* record(shm::Entry e) const {
    return record(Place{shm::SegmentOf(e), shm::OffsetOf(e)});
  }

  // Does it carry this very layout, from an earlier daemon?
  bool Carries() const;
  // Writes the header for a daemon that starts; `fresh` makes every word after it up to the
  // segments zero.
  void Format(NodeId node, Incarnation incarnation, bool fresh) const;

 private:
  std::byte* base_;
  shm::RegionPlan plan_;
};

inline uint64_t RecordBytesOf(const shm::RecordHeader& header) {
  return shm::RecordBytes(header.size, header.name_bytes, header.etag_bytes);
}
inline std::byte* PayloadOf(shm::RecordHeader* header) {
  return reinterpret_cast<std::byte*>(header) + shm::kRecordAlign;
}
inline const std::byte* PayloadOf(const shm::RecordHeader* header) {
  return reinterpret_cast<const std::byte*>(header) + shm::kRecordAlign;
}
inline std::string_view NameOf(const shm::RecordHeader* header) {
  return {reinterpret_cast<const char*>(PayloadOf(header)) + header->size, header->name_bytes};
}
inline std::string_view EtagOf(const shm::RecordHeader* header) {
  return {NameOf(header).data() + header->name_bytes, header->etag_bytes};
}
// What header_hash of this record must be.
uint64_t HeaderHash(const shm::RecordHeader* header);

}  // namespace holdfast::store
