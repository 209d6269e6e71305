// SPDX-License-Identifier: Apache-2.0
// Why Client::Get would look for an object in the cluster, or not.
#pragma once

#include <cstdint>
#include <string>

#include "base/ids.h"
#include "base/units.h"

namespace holdfast {

struct Explanation {
  enum class Choice : uint8_t {
    kOwnMemory = 0,  // it is in the memory of this host's node: read there, nobody is asked
    kUnknown = 1,    // the log names no node: by way of its home
    kFar = 2,        // it is too unlikely to be where the log saw it: by way of its home
    kLook = 3,       // at `node` first
    kHome = 4,       // likely at its home, which is asked in any case
    kRace = 5,       // at `node`, and by way of its home at the same time
  };
  std::string uri;  // canonical
  Oid oid;
  Choice choice = Choice::kUnknown;
  // The snapshot log, as the nodes keep it; 0: there is none.
  uint64_t snapshot = 0;
  Duration snapshot_age{};
  // Where it was seen. What follows is 0 when it was not.
  NodeId node = kNoNode;
  Duration age{};   // of the object there, if it is there
  Duration seen{};  // how old it was when it was seen last
  // The interval of chances whose looks are counted together, n looks of which k found.
  double interval_low = 0;
  double interval_high = 0;
  double looks = 0;
  double found = 0;
  double curve = 0;  // P(there) by the survival curve alone
  double alpha = 0;  // of the posterior Beta distribution
  double beta = 0;
  double chance = 0;      // its mean: P(there)
  double chance_low = 0;  // 95 % of it lie between these
  double chance_high = 0;
  double threshold = 0;        // a look pays above
  double above_threshold = 0;  // P(P(there) > threshold)
  // Nanodollars, waiting and money: as measured by this client, or by its priors.
  int64_t look_cost = 0;
  int64_t hit_cost = 0;
  int64_t far_cost = 0;
  int64_t look_cost_per_find = 0;  // of all looks, by those that found
};

// "look", "far", ...
const char* NameOf(Explanation::Choice choice);

}  // namespace holdfast
