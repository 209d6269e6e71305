// SPDX-License-Identifier: Apache-2.0
// What the log says of where objects are: a table of sightings, about 21 bytes each.
//
// An object is known by its print, the first 40 bits of its OID. Of a million known objects one
// unknown in a million has a known one's print; it costs one look.
//
// A node that answered a snapshot and no longer lists an object does not have it: its sighting is
// erased. One that did not answer keeps its sightings, which grow older. When each node answered
// last is in `SeenAt`. Times are those of the log (log.h). Pure, and for one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/ids.h"

namespace holdfast::snapshot {

using Print = uint64_t;  // < 2^40
inline Print PrintOf(const Oid& oid) { return oid.hi >> 24; }
inline Print PrintOf(uint64_t oid_hi) { return oid_hi >> 24; }

// Microseconds of the log's clock: the collector's, since 1970.
struct Stamp {
  int64_t us = 0;
  friend auto operator<=>(const Stamp&, const Stamp&) = default;
};

struct Sighting {
  NodeId node = kNoNode;
  bool held = false;  // by a promise, when it was seen
  Stamp written{};    // its age counts from here
};

class Known {
 public:
  // Adds the sighting, or puts it in the place of the one of the same print and node. Those that
  // are known together share one node number space of 0..0xfffe.
  void Add(Print print, const Sighting& sighting);
  // False when it was not known.
  bool Erase(Print print, NodeId node);
  void EraseNode(NodeId node);
  void Clear();

  // The sightings of an object, at most four, those of lower nodes first.
  static constexpr size_t kMost = 4;
  size_t Find(Print print, std::span<Sighting, kMost> into) const;
  // Asks the processor for what Find(print) will look at: for many at once.
  void Prefetch(Print print) const;

  // When the node answered a snapshot last; nothing is known of a node that never did.
  void SetSeen(NodeId node, Stamp seen);
  const Stamp* SeenAt(NodeId node) const;

  // In no order that means anything, but always the same for the same history.
  void ForEach(const std::function<void(Print, const Sighting&)>& visit) const;
  uint64_t size() const;
  uint64_t memory_bytes() const;
};

}  // namespace holdfast::snapshot
