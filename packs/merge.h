// SPDX-License-Identifier: Apache-2.0
// Which neighbours of a pack one request brings together.
#pragma once

#include <cstdint>
#include <vector>

#include "base/units.h"

namespace holdfast::packs {

// What a request and a byte cost, in money and in time; the time of a request is what it holds up
// others, not its latency: the store serves so many a second, whatever each takes.
struct ReadPrices {
  MicroUsd per_1000_gets = 400;
  MicroUsd per_gb = 90'000;       // 10^9 bytes
  MicroUsd per_hour = 1'000'000;  // of waiting
  uint64_t gets_per_s = 2'000;
  uint64_t bytes_per_s = 200'000'000;
};

// The longest gap that costs no more than another request.
uint64_t WorthwhileGap(const ReadPrices& prices);

// Bytes [offset, offset + size) that are wanted.
struct WantedRange {
  uint64_t offset = 0;
  uint64_t size = 0;
};
// One request: wanted ranges [first, last), and all that is between them.
struct MergedRange {
  size_t first = 0;
  size_t last = 0;
  uint64_t offset = 0;
  uint64_t size = 0;
  uint64_t gap_bytes = 0;
};

// `wanted` ascends by offset. Merged are neighbours with at most `max_gap` bytes between them, none
// longer than `max_size` unless one object is; ranges that overlap stay apart.
std::vector<MergedRange> Merge(const std::vector<WantedRange>& wanted, uint64_t max_gap,
                               uint64_t max_size);

}  // namespace holdfast::packs
