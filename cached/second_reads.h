// SPDX-License-Identifier: Apache-2.0
// Which reads of the disk would have been of memory, had the first one brought the object there: those
// of objects that were read before, with fewer bytes read since than half of the memory tier has. So
// much later something else would have had their place.
//
// Fingerprints of 16 bits in one table; a later one takes the place of an earlier one. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"

namespace holdfast::cached {

class SecondReads {
 public:
  explicit SecondReads(uint64_t memory_bytes);

  // Notes a read of so many bytes (0: the reader does not know): is it a second one? Who did not know
  // the size, or had no room, may come once more with both; that is the first read still.
  bool Note(const Oid& oid, uint64_t bytes);

 private:
  static constexpr uint64_t kTurns = 8;  // that the span has

  struct Mark {
    uint16_t print = 0;  // its lowest bit is 1; 0: none
    uint16_t turn : 15 = 0;
    uint16_t sized : 1 = 0;  // its reader knew the size
  };
  uint64_t turn_bytes_;
  uint64_t read_bytes_ = 0;
  std::vector<Mark> marks_;
};

}  // namespace holdfast::cached
