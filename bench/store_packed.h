// SPDX-License-Identifier: Apache-2.0
// Gets of packed tiny objects from a disk, for bench store.
#pragma once

#include <cstdint>
#include <string>

namespace holdfast::bench {

struct PackedFigures {
  uint64_t objects = 0;
  double gets_per_s = 0;
  double writes_per_s = 0;
  double p50_ms = 0, p99_ms = 0, p999_ms = 0;  // from when the get was due
  uint64_t wrong = 0;                          // other bytes than the newest version's
  uint64_t missing = 0;
};

PackedFigures MeasurePacked(const std::string& directory, bool quick, uint32_t objects_per_pack);

}  // namespace holdfast::bench
