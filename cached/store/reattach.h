// SPDX-License-Identifier: Apache-2.0
// A daemon that starts over the region of one that was killed finds its records again: by the index,
// which lies in the region. Each record is verified once, header and payload; entries that lead to
// anything else are cleared. Readers may go on meanwhile: of what stays nothing moves.
//
// What lies between the records of a segment may be anything: one that was being written, or one that
// was dropped, of which a view may live. So that reclaim can walk the segment, what is no record gets
// the header of one.
#pragma once

#include <cstdint>
#include <vector>

#include "cached/store/region.h"

namespace holdfast::store {

struct Reattached {
  struct Segment {
    uint64_t end = 0;  // where its last record ends; 0: it has none
    uint64_t live_bytes = 0;
    int64_t youngest_us = 0;
    bool kept = false;  // of the kept ring
  };
  std::vector<Segment> segments{};
  uint64_t objects = 0;
  uint64_t bytes = 0;
  uint64_t lost = 0;        // entries that led to nothing right
  bool may_expire = false;  // something of it
};

// Of a region that Carries(). By the only process that writes to it.
Reattached Reattach(const Region& region);

}  // namespace holdfast::store
