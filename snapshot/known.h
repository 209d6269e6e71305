// SPDX-License-Identifier: Apache-2.0
// What the log says of where objects are: a table of sightings, about 21 bytes each.
//
// An object is known by its print, 40 bits of its OID. Of a million known objects one
// unknown in a million has a known one's print; it costs one look.
//
// A node that answered a snapshot and no longer lists an object does not have it: its sighting is
// erased. One that did not answer keeps its sightings, which grow older. When each node answered
// last is in `SeenAt`. Times are those of the log (log.h).
//
// The table is a sorted array with gaps: linear probing in which whoever comes first in the order of
// (print, node) stands first (Amble and Knuth, Ordered hash tables, 1974), so that a search ends at
// the first greater one although the table is three quarters full and more. Prints are spread
// already, so listings and frames, which are sorted by print, pass through the table from its one
// end to the other. It is made anew when more than 0.88 of its slots are taken, or on demand less
// than 0.69, at 0.75; then both tables are there for a moment. Objects that are crafted to have like prints make
// it slow, not wrong.
//
// Pure, and for one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"
#include "snapshot/rings.h"

namespace holdfast::snapshot {

constexpr uint32_t kPrintBits = 40;
using Print = uint64_t;  // < 2^kPrintBits
// The first bits of the OID, times an odd number modulo 2^40, which is a bijection: prints are
// spread even when OIDs are not. (2^40 / golden ratio; Knuth, TAOCP 6.4.)
inline Print PrintOf(uint64_t oid_hi) {
  return (oid_hi >> (64 - kPrintBits)) * 0x9e3779b97f & ((Print{1} << kPrintBits) - 1);
}
inline Print PrintOf(const Oid& oid) { return PrintOf(oid.hi); }

// Microseconds of the log's clock: the collector's, since 1970.
struct Stamp {
  int64_t us = 0;
  friend auto operator<=>(const Stamp&, const Stamp&) = default;
};

struct Sighting {
  NodeId node = kNoNode;
  bool held = false;  // by a promise, when it was seen
  Ring ring = Ring::kFresh;
  Stamp written{};  // its age counts from here
};

class Known {
 public:
  // Adds the sighting, or puts it in the place of the one of the same print and node. Those that
  // are known together share one node number space of 0..0xfffe.
  void Add(Print print, const Sighting& sighting);
  // False when it was not known.
  bool Erase(Print print, NodeId node);
  // The node's sightings, and when it was seen.
  void EraseNode(NodeId node);
  void Clear();
  // Room for so many sightings in all. Whoever adds in the order of ForEach asks for it first: in a
  // table that is too small neighbours of that order crowd.
  void Reserve(uint64_t sightings);
  // Gives back the room of what was erased, when it is much.
  void Fit();

  // The sightings of an object, at most four, those of lower nodes first.
  static constexpr size_t kMost = 4;
  size_t Find(Print print, std::span<Sighting, kMost> into) const;
  std::optional<Sighting> At(Print print, NodeId node) const;
  // Asks the processor for what Find(print) will look at: for many at once.
  void Prefetch(Print print) const;

  // When the node answered a snapshot last; null for a node that never did. Valid until the next
  // SetSeen, EraseNode or Clear.
  void SetSeen(NodeId node, Stamp seen);
  const Stamp* SeenAt(NodeId node) const;

  // Sorted by print, then by node.
  void ForEach(const std::function<void(Print, const Sighting&)>& visit) const;
  uint64_t size() const { return size_; }
  uint64_t memory_bytes() const;

 private:
  // print << 24 | node << 8 | 4 | kept << 1 | held, or 0: empty.
  struct Slot {
    uint64_t word = 0;
    int64_t written_us = 0;
  };

  size_t HomeOf(uint64_t word) const;
  // The first slot of the print's run whose key is not less: where the key is, or belongs.
  size_t LowerBound(uint64_t word) const;
  // Closes the gap at `at`.
  void CloseGap(size_t at);
  void Rebuild(uint64_t sightings);

  // `homes_` slots that are homes, and after them some for what does not fit before the end. The
  // last one is always empty.
  std::vector<Slot> slots_;
  uint64_t homes_ = 0;
  uint64_t size_ = 0;
  std::vector<Stamp> seen_;  // by node; kNever for one that never was
};

}  // namespace holdfast::snapshot
