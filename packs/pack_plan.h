// SPDX-License-Identifier: Apache-2.0
// Which objects come into which pack, and what that saves: pure.
#pragma once

#include <cstdint>
#include <vector>

#include "base/env.h"
#include "packs/merge.h"

namespace holdfast::packs {

struct PlanLimits {
  uint64_t pack_bytes = 8 * kMiB;        // about so many in each
  uint64_t max_object_bytes = 1 * kMiB;  // larger ones stay by themselves
  bool by_hash = true;                   // else as they are given
};

// No pack has more objects, whatever its bytes: its table stays small.
inline constexpr size_t kMaxPackObjects = 100'000;

struct PackPlan {
  std::vector<uint32_t> objects;  // positions in what was given, in the order of the payloads
  uint64_t bytes = 0;
};
struct Plan {
  std::vector<PackPlan> packs;
  uint64_t objects = 0;
  uint64_t bytes = 0;
  uint64_t too_large = 0;  // stay by themselves
  uint64_t too_large_bytes = 0;
  uint64_t twice = 0;  // names that were given before
};

// By hash there are 2^n packs, cut at the n upper bits of the OID, so that objects which come or
// go leave the other packs as they are; n follows from all the bytes. Packs that would be empty are
// left out, those that would become too long are cut.
Plan MakePlan(const std::vector<FarEntry>& given, const PlanLimits& limits);

struct Spent {
  uint64_t requests = 0;
  uint64_t puts = 0;
  uint64_t bytes = 0;  // that are read
  MicroUsd money = 0;
};
// To read all objects of the plan once, each by itself; out of packs; and to pack them, the reading
// back of the packs and the index included.
Spent ReadOneByOne(const Plan& plan, const ReadPrices& prices);
Spent ReadPacks(const Plan& plan, const ReadPrices& prices);
Spent ToPack(const Plan& plan, const ReadPrices& prices, MicroUsd per_1000_puts);

}  // namespace holdfast::packs
