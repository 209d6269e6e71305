// SPDX-License-Identifier: Apache-2.0
#include "planner/placement.h"

#include <algorithm>
#include <array>
#include <bit>

#include "base/hash.h"
#include "base/status.h"

namespace holdfast::planner {
namespace {

constexpr int kLogBits = 10;  // interpolating between 2^10 points errs by less than 2^-22

// log2(1 + i / 2^kLogBits) in units of 2^-32, one bit of the result for each squaring: integers
// only, so that every compiler and machine makes the same table.
constexpr uint64_t LogOfPoint(uint32_t i) {
  uint64_t x = (uint64_t{1} << 31) + (uint64_t{i} << (31 - kLogBits));  // [1, 2) in units of 2^-31
  uint64_t log = 0;
  for (int bit = 31; bit >= 0; --bit) {
    x = (x * x) >> 31;
    if (x >= uint64_t{1} << 32) {
      x >>= 1;
      log |= uint64_t{1} << bit;
    }
  }
  return log;
}

constexpr auto kLogTable = [] {
  std::array<uint64_t, (1 << kLogBits) + 1> table{};
  for (uint32_t i = 0; i < 1 << kLogBits; ++i) table[i] = LogOfPoint(i);
  table[1 << kLogBits] = uint64_t{1} << 32;
  return table;
}();

// -log2(h / 2^64) in units of 2^-32.
uint64_t MinusLog2(uint64_t h) {
  h |= 1;
  int zeros = std::countl_zero(h);
  uint64_t fraction = (h << zeros) << 1;  // of the mantissa, in units of 2^-64
  uint64_t point = fraction >> (64 - kLogBits);
  uint64_t between = (fraction << kLogBits) >> 32;
  uint64_t step = kLogTable[point + 1] - kLogTable[point];
  uint64_t log = kLogTable[point] + ((step * between) >> 32);
  return (static_cast<uint64_t>(zeros + 1) << 32) - log;
}

// A node as the ranking needs it. The score -log2(u) / weight is multiplied by the largest weight,
// so that a reciprocal keeps 24 bits.
struct Ranked {
  NodeId node;
  uint64_t key;
  uint64_t reciprocal;
};
constexpr int kReciprocalBits = 24;
constexpr uint64_t kMaxReciprocal =
    uint64_t{1} << 50;  // weights that differ by more than 2^26 count as if by that

uint64_t Scale(uint64_t log, uint64_t reciprocal) {
  return static_cast<uint64_t>((static_cast<unsigned __int128>(log) * reciprocal) >>
                               kReciprocalBits);
}

// `nodes` in the order of their ids.
std::vector<Ranked> Rankable(const std::vector<NodeWeight>& nodes) {
  uint64_t largest = 0;
  for (const NodeWeight& n : nodes) largest = std::max(largest, n.weight);
  std::vector<Ranked> ranked;
  for (const NodeWeight& n : nodes) {
    if (n.weight == 0) continue;
    HF_CHECK(ranked.empty() || ranked.back().node != n.node);
    auto wide = (static_cast<unsigned __int128>(largest) << kReciprocalBits) / n.weight;
    auto reciprocal = wide > kMaxReciprocal ? kMaxReciprocal : static_cast<uint64_t>(wide);
    ranked.push_back({n.node, Mix64(0x686f6c6466617374u + n.node), reciprocal});
  }
  return ranked;
}

Picks RankSlot(uint64_t slot_key, const std::vector<Ranked>& nodes) {
  Picks picks;
  uint64_t best = UINT64_MAX;
  uint64_t next = UINT64_MAX;
  for (const Ranked& n : nodes) {
    uint64_t h = Mix64(slot_key + n.key);
    // -log2(u) >= (1 - u) · 1.375: most nodes are out of the race before their logarithm is taken.
    uint64_t rest = ~h >> 32;
    if (Scale(rest + (rest >> 2) + (rest >> 3), n.reciprocal) >= next) continue;
    uint64_t score = Scale(MinusLog2(h), n.reciprocal);
    if (score < best) {
      next = best;
      picks.second = picks.home;
      best = score;
      picks.home = n.node;
    } else if (score < next) {
      next = score;
      picks.second = n.node;
    }
  }
  return picks;
}

}  // namespace

Placement::Placement(std::vector<NodeWeight> nodes, const FarStore* far)
    : far_(far != nullptr && far->HasPlaces() ? far : nullptr), weights_(std::move(nodes)) {
  std::sort(weights_.begin(), weights_.end(),
            [](const NodeWeight& a, const NodeWeight& b) { return a.node < b.node; });
  std::vector<Ranked> ranked = Rankable(weights_);
  if (ranked.empty()) return;
  table_.resize(kSlots);
  for (uint32_t slot = 0; slot < kSlots; ++slot) {
    table_[slot] = RankSlot(Mix64(slot + 1), ranked);
  }
}

}  // namespace holdfast::planner
