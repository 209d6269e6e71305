// SPDX-License-Identifier: Apache-2.0
// What memory knows of a segment of packs: 4.25 bytes a pack, and 14 bits an object in the order of
// the packs, of which 13 are of its OID and one says that it was read. Whoever finds an object by
// them reads its pack to know: a stranger fits with one of 8,191 for each object of the pack.
#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "wire/tiny_segment.h"

namespace holdfast::store {

class TinyIndex {
 public:
  // Of the packs of a run of so many, from `first_pack` on.
  TinyIndex(uint32_t run_packs, uint32_t first_pack)
      : run_packs_(run_packs), first_pack_(first_pack) {}
  explicit TinyIndex(const disk::TinyTable& table);

  // The next pack, and then its objects in their order.
  void AddPack(uint64_t offset);
  void Add(const Oid& oid, bool read);
  // No more come; the last pack ends there.
  void End(uint64_t end);

  uint32_t first_pack() const { return first_pack_; }
  uint32_t packs() const { return static_cast<uint32_t>(packs_.size()); }
  uint32_t objects() const { return objects_; }
  uint32_t live() const { return live_; }
  uint64_t memory_bytes() const;

  // Calls visit(pack of this segment, object of this segment, which of the pack's) for every object
  // that is alive and may be this one; ends when it returns true.
  template <typename Visit>
  bool FindMatch(const Oid& oid, const Visit& visit) const {
    const uint32_t pack = disk::PackOf(oid, run_packs_) - first_pack_;
    if (pack >= packs_.size()) return false;
    const uint32_t first = FirstOf(pack), print = PrintOf(oid);
    for (uint32_t i = 0; i < ObjectsOf(pack); ++i) {
      if (Cell(first + i) >> 1 == print && visit(pack, first + i, i)) return true;
    }
    return false;
  }
  // Before FindMatch, one after the other: what it goes through lies in three places.
  void PrefetchPack(const Oid& oid) const;
  void PrefetchObjects(const Oid& oid) const;

  uint64_t OffsetOf(uint32_t pack) const {
    return uint64_t{packs_[pack] & kOffsetMask} * disk::kAlign;
  }
  uint64_t EndOf(uint32_t pack) const {
    return pack + 1 < packs_.size() ? OffsetOf(pack + 1) : end_;
  }
  uint32_t ObjectsOf(uint32_t pack) const { return packs_[pack] >> kOffsetBits; }
  // The first object of a pack.
  uint32_t FirstOf(uint32_t pack) const;

  bool alive(uint32_t object) const { return Cell(object) >> 1 != 0; }
  bool was_read(uint32_t object) const { return (Cell(object) & 1) != 0; }
  void SetRead(uint32_t object, bool read);
  // It is not found any more.
  void Forget(uint32_t object);

 private:
  static constexpr uint32_t kCellBits = 14;
  static constexpr uint32_t kCellMask = (1u << kCellBits) - 1;
  static constexpr uint32_t kOffsetBits = 20;
  static constexpr uint32_t kOffsetMask = (1u << kOffsetBits) - 1;
  static constexpr uint32_t kGroup = 16;  // packs whose objects are counted to find those of one

  // 0 is no object.
  static uint32_t PrintOf(const Oid& oid) {
    const auto print = static_cast<uint32_t>(oid.lo >> 51);
    return print == 0 ? 1 : print;
  }
  uint32_t Cell(uint32_t object) const {
    const uint64_t bit = uint64_t{object} * kCellBits;
    return LoadAs<uint32_t>(cells_.data() + bit / 8) >> bit % 8 & kCellMask;
  }
  void SetCell(uint32_t object, uint32_t value);

  uint32_t run_packs_;
  uint32_t first_pack_;
  uint64_t end_ = 0;
  uint32_t objects_ = 0;
  uint32_t live_ = 0;
  std::vector<uint32_t> packs_;   // offset / 64, and above it how many objects
  std::vector<uint32_t> groups_;  // the first object of every kGroup-th pack
  std::vector<std::byte> cells_;
};

}  // namespace holdfast::store
