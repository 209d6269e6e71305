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
// is what each can take as far as the job knows: what its hello or its last acknowledgement said.
// `cost` is what an object takes of it.
//
// Every object of `asked` has two candidates, and the offer of the first that has room left after
// what was offered to it before in this call is the one that reserves:
//  1. its picks by `placement`, home and second. In round 1 a node reserves no more than its
//     share by weight, 2 % and a few objects more, so that hashing makes no node the busiest;
//  2. for what has no room there, two picks weighted by the room that is left;
//  3. for what has no room anywhere, its picks, and the home reserves: what the job knows may be old,
//     or a node may hold the object for somebody else by now.
// Both candidates may offer, and so may `reader` in round 1 if it is one of `nodes` (kNoNode:
// nobody more). So there are at most holders + 1 + d bids for an object. A pick that is not among
// `nodes` is left out: then the second is the first.
std::vector<Offer> OffersFor(const Manifest& manifest, const Placement& placement,
                             const std::vector<NodeLoad>& nodes, const Bitmap& asked,
                             uint32_t round, NodeId reader, RecordCost cost = {});

// `nodes` as the Settler of this call needs them: spare room is what the offers that reserve leave
// over.
std::vector<NodeLoad> AfterOffers(std::vector<NodeLoad> nodes, const std::vector<Offer>& offers);

}  // namespace holdfast::planner
