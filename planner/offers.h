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
// since, and 0 once it has answered that it has no room.
//
// Every object of `asked` has two candidates:
//  round 1    its picks by `placement` (home and second) that are in `nodes`;
//  later      two picks weighted by the room that is known to be left, so what found no room at its
//  home goes where
//             room is. A node without room gets nothing; if no node has room, nobody gets an offer,
//             and another call would be useless.
// Both may offer, and so may `reader` in round 1 if it is one of `nodes` (kNoNode: nobody more).
// The offer that reserves is the first candidate's that still has room after what was offered to it
// before in this call; in round 1, if neither has, the home's, because what the job knows about
// room may be old. So there are at most holders + 1 + d bids for an object.
//
// `cost` is what an object takes of that room.
std::vector<Offer> OffersFor(const Manifest& manifest, const Placement& placement,
                             const std::vector<NodeLoad>& nodes, const Bitmap& asked,
                             uint32_t round, NodeId reader,
                             RecordCost cost = {});

// `nodes` as the Settler of this call needs them: spare room is what the offers that reserve leave
// over.
std::vector<NodeLoad> AfterOffers(std::vector<NodeLoad> nodes, const std::vector<Offer>& offers);

}  // namespace holdfast::planner
