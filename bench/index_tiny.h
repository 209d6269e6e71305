// SPDX-License-Identifier: Apache-2.0
// The index of tiny objects that are packed on the disk, for bench index.
#pragma once

#include <cstdint>

namespace holdfast::bench {

struct TinyFigures {
  double bytes_per_object =
      0;                     // beside the young ones, a segment's worth of bytes for all together
  double lookups_per_s = 0;  // of objects that are there, one at a time
  double stray = 0;          // of those that are not, the share for which a pack would be read
  uint64_t lost = 0;
  uint64_t runs = 0;
};

// `now` in seconds.
TinyFigures MeasureTiny(uint64_t objects, double (*now)());

}  // namespace holdfast::bench
