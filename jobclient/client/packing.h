// SPDX-License-Identifier: Apache-2.0
// Packing by way of a client, waited for: packs/packer.h says how it is done. For programs of this
// project, not for users of the library.
#pragma once

#include <functional>
#include <string>

#include "holdfast/client.h"
#include "packs/packer.h"

namespace holdfast {

struct Packing {
  std::string dest;  // canonical, ends in '/'
  std::vector<FarEntry> objects;
  packs::Plan plan;
  packs::ReadPrices prices;
  MicroUsd per_1000_puts = 0;
};

// What packing `list`, whose versions were looked up, into `dest` would do; nothing is read or written.
// kInvalid for a list that has objects below `dest`, or none that can be packed.
Result<Packing> PlanPacking(Client& client, const ObjectList& list, const std::string& dest,
                            const packs::PlanLimits& limits);
// Reads past the packs that this client is configured with.
Result<packs::Packer::Report> Pack(
    Client& client, Packing packing,
    const std::function<void(uint64_t bytes, uint64_t all)>& progress);

}  // namespace holdfast
