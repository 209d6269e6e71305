// SPDX-License-Identifier: Apache-2.0
// Where the newest record of each OID is: a hash table with linear probing, 32 bytes a slot, half
// to three quarters full once it has grown. OIDs are hashes, so their bits serve as they are. Of
// one thread at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"

namespace holdfast::disk {

class PlaceTable {
 public:
  struct Place {
    Oid oid;
    uint64_t sequence = 0;  // 0: an empty slot
    uint64_t bytes = 0;     // of the value
  };

  // Of two places of one OID the one with the higher sequence number stays.
  void Note(const Place& place) {
    if ((used_ + 1) * 4 > slots_.size() * 3) Rebuild(slots_.size() * 2, 0);
    Place& slot = slots_[SlotOf(place.oid)];
    if (slot.sequence == 0) ++used_;
    if (slot.sequence < place.sequence) slot = place;
  }
  // nullptr when there is none; valid until the next change.
  const Place* Find(const Oid& oid) const {
    const Place& slot = slots_[SlotOf(oid)];
    return slot.sequence == 0 ? nullptr : &slot;
  }
  void DropBefore(uint64_t sequence) { Rebuild(slots_.size(), sequence); }
  size_t size() const { return used_; }

 private:
  static constexpr size_t kFirstSlots = 16;

  // The OID's, or the empty one where it would go.
  size_t SlotOf(const Oid& oid) const {
    size_t at = oid.hi & (slots_.size() - 1);
    while (slots_[at].sequence != 0 && slots_[at].oid != oid) at = (at + 1) & (slots_.size() - 1);
    return at;
  }
  void Rebuild(size_t slots, uint64_t lowest_sequence) {
    std::vector<Place> old(slots);
    old.swap(slots_);
    used_ = 0;
    for (const Place& place : old) {
      if (place.sequence == 0 || place.sequence < lowest_sequence) continue;
      slots_[SlotOf(place.oid)] = place;
      ++used_;
    }
  }

  std::vector<Place> slots_ = std::vector<Place>(kFirstSlots);  // a power of two
  size_t used_ = 0;
};

}  // namespace holdfast::disk
