// SPDX-License-Identifier: Apache-2.0
// Which node may offer to load what, in each call of a job: pure.
// docs/decisions/0001-home-reserves.md has the figures.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bitmap.h"
#include "planner/manifest.h"
#include "planner/placement.h"
#include "planner/record_cost.h"
#include "planner/settle.h"

namespace holdfast::planner {

// What goes to one node in a Call; bitmaps over the manifest, within `asked`.
struct Offer {
  NodeId node = kNoNode;
  Bitmap offer;
  Bitmap home;  // subset of `offer`: this node's offer reserves; at most one node for each object
  uint64_t home_bytes = 0;  // what those reservations take, in the tier's bytes
};

// One Offer for each of `nodes`, in that order. Nodes are those that answer; their spare_room_bytes
// is what each can take as far as the job knows: what its hello said, less what it acknowledged
// since, and 0 once it has refused for want of room. `cost` is what an object takes of it.
//
// Every object of `asked` has two candidates:
//  round 1    its picks by `placement` (home and second) that are in `nodes`;
//  later      two picks weighted by the room that is known to be left, so that what found no room at
//             its home goes where room is. If no node is known to have room, as in round 1: what the
//             job knows may be old, and a node may have loaded the object for somebody else.
// Both may offer, and so may `reader` in round 1 if it is one of `nodes` (kNoNode: nobody more). The
// offer that reserves is that of the first candidate that has room left after what was offered to it
// before in this call, else the first candidate's. So there are at most holders + 1 + d bids for an
// object.
std::vector<Offer> OffersFor(const Manifest& manifest, const Placement& placement,
                             const std::vector<NodeLoad>& nodes, const Bitmap& asked,
                             uint32_t round, NodeId reader,
                             RecordCost cost = {});

// `nodes` as the Settler of this call needs them: spare room is what the offers that reserve leave
// over.
std::vector<NodeLoad> AfterOffers(std::vector<NodeLoad> nodes, const std::vector<Offer>& offers);

}  // namespace holdfast::planner
