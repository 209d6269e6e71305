// SPDX-License-Identifier: Apache-2.0
#include "packs/merge.h"

#include <algorithm>

namespace holdfast::packs {

uint64_t WorthwhileGap(const ReadPrices& prices) {
  // All in 10^-15 dollars, so that whole numbers do: a micro-dollar per 10^9 bytes is one of them a
  // byte.
  constexpr uint64_t kFemto = 1'000'000'000;
  const auto of = [](MicroUsd price) {
    return static_cast<uint64_t>(std::max<MicroUsd>(price, 0));
  };
  const uint64_t second = of(prices.per_hour) * kFemto / 3'600;
  const uint64_t request = of(prices.per_1000_gets) * (kFemto / 1'000) +
                           second / std::max<uint64_t>(prices.gets_per_s, 1);
  const uint64_t byte = of(prices.per_gb) + second / std::max<uint64_t>(prices.bytes_per_s, 1);
  return request / std::max<uint64_t>(byte, 1);
}

std::vector<MergedRange> Merge(const std::vector<WantedRange>& wanted, uint64_t max_gap,
                               uint64_t max_size) {
  std::vector<MergedRange> merged;
  for (size_t i = 0; i < wanted.size(); ++i) {
    const WantedRange& next = wanted[i];
    MergedRange* range = merged.empty() ? nullptr : &merged.back();
    const uint64_t end = range == nullptr ? 0 : range->offset + range->size;
    const bool joins = range != nullptr && next.offset >= end && next.offset - end <= max_gap &&
                       next.offset + next.size - range->offset <= max_size;
    if (joins) {
      range->gap_bytes += next.offset - end;
      range->size = next.offset + next.size - range->offset;
      range->last = i + 1;
    } else {
      merged.push_back({i, i + 1, next.offset, next.size, 0});
    }
  }
  return merged;
}

}  // namespace holdfast::packs
