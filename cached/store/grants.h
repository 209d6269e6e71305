// SPDX-License-Identifier: Apache-2.0
// How many segments the views of each session may pin: equal shares of a quarter of the segments.
#pragma once

#include "cached/store/region.h"
#include "cached/store/sessions.h"

namespace holdfast::store {

// Gives slots to new sessions, takes those of sessions that are gone, and moves every grant towards
// its share. A session is given more only out of what no other has: neither in its grant nor, after
// it was cut, still in its pins.
void RebalanceGrants(const Region& region, const Sessions& sessions);

}  // namespace holdfast::store
