// SPDX-License-Identifier: Apache-2.0
// Which objects left this tier lately: who comes back so soon goes to the kept ring, as from the
// ghost queue of S3-FIFO (Yang et al., SOSP 2023). Two bytes an object, in a table of one object a
// place: a later one takes the place of an earlier, and one in 256 strangers is taken for a ghost,
// which costs the room of one record for a turn of the kept ring.
#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"

namespace holdfast::store {

class Ghosts {
 public:
  // For an index of `objects`: remembers at most half as many, each until `window_bytes` of records
  // were dropped after it.
  Ghosts(uint64_t objects, uint64_t window_bytes);

  void Dropped(const Oid& oid, uint64_t record_bytes);
  bool Has(const Oid& oid) const;
  uint64_t memory_bytes() const { return ghosts_.size() * sizeof(Ghost); }

 private:
  struct Ghost {
    uint8_t print = 0;
    uint8_t period = 0;  // when it was dropped, modulo 256
  };
  size_t PlaceOf(const Oid& oid) const;

  std::vector<Ghost> ghosts_;
  uint64_t period_bytes_;
  uint64_t dropped_bytes_;
};

}  // namespace holdfast::store
