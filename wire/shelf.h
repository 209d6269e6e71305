// SPDX-License-Identifier: Apache-2.0
// A shelf: where a writer shows chunks for nodes to take. It is a small region in the layout of a
// node's (wire/shm_layout.h), one record a segment, so whatever serves a node's region serves it.
// Only the writer's process maps it.
//
//   Take a place → fill its room → Show → nodes read it → Hide → free again when nobody reads it
//
// One thread fills rooms, one (the deciding one) does the rest; whoever serves it has any. A place
// goes from one to the other as a message does.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "wire/shm_layout.h"

namespace holdfast::stream {

class Shelf {
 public:
  // `places` is from 8 to 1024.
  static shm::RegionPlan Plan(uint32_t places, uint64_t place_bytes);

  // `region`, of Plan's region_bytes, is the caller's, page-aligned and zero, and outlives it.
  Shelf(ByteSpan region, const shm::RegionPlan& plan);
  // The session of whoever serves it, of SessionBytes(places); before the first Show. Outlives it.
  void ServedBy(ByteSpan session) { session_ = session; }

  uint32_t places() const { return plan_.segments; }
  Incarnation incarnation() const { return 1; }
  // Of the payload; a name of at most 64 bytes fits beside it.
  ByteSpan Room(uint32_t place) const;

  // The first `size` bytes of its room can be read under this name from now on. False, and nothing
  // happens, when its buckets are full (of 1024 with 8 entries each): never, nearly.
  [[nodiscard]] bool Show(uint32_t place, std::string_view name, VersionHash version, uint64_t size,
                          uint64_t hash);
  // Nobody finds it any more.
  void Hide(uint32_t place);
  // Nobody reads it any more: it may be filled again. After Hide.
  bool Unread(uint32_t place) const;

 private:
  shm::RecordHeader* Record(uint32_t place) const;

  ByteSpan region_;
  ByteSpan session_;
  shm::RegionPlan plan_;
  std::vector<std::atomic<shm::Entry>*> entries_;  // of the places that are shown
};

}  // namespace holdfast::stream
