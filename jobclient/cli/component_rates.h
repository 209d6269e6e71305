// SPDX-License-Identifier: Apache-2.0
// What network the components of a node need, so that the node may write at some rate for good. Pure.
//
// Of every object that is written:
//   journal   what is promised about it goes there once, from the node; in a key-value store, as the seed of
//             the design and `bench components` have it, the value itself
//   segments  it goes there once, from the node, as a record. Small ones go there in packs, which are
//             merged, through the node, until they have been written kTinyWrites times
//   reclaim   reads what it keeps and writes it again, with a share k kept of each segment k / (1 - k) of
//             what comes: through the node, through a worker, or at the storage server, which takes no
//             network. In the two latter cases the places and the lines of the table go there
// and of every read that is not found in the node's memory the record comes back.
//   far store  with copies of the segments each is read once more where it lies, and put there, in one
//             request; if reclaim reads the copies, one request brings the table, and others what is kept,
//             a few MiB each with all that lies between: about the whole segment
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/units.h"

namespace holdfast::cli {

enum class ReclaimAt : uint8_t { kNode, kStorage, kWorker };  // as reclaim.at

struct ComponentPlan {
  uint64_t write_bytes_per_s = 0;  // of objects
  uint64_t value_bytes = 1024;
  bool key_value = true;  // the journal gets the values, and nothing is packed
  double kept = 0.2;      // share of a segment that reclaim writes again; at most a fifth is
  bool journal_elsewhere = true;
  bool disk_elsewhere = true;
  uint64_t read_bytes_per_s = 0;  // of values
  double hits = 0.98;             // share of the reads that memory has
  bool far_copy = false;          // as disk.far_copy
  bool reclaim_reads_far = false;
  ReclaimAt reclaim_at = ReclaimAt::kNode;  // else with disk_elsewhere only
  uint64_t segment_bytes = 64 * kMiB;
};

struct ComponentNeed {
  std::string component;
  double in_bytes_per_s = 0;
  double out_bytes_per_s = 0;
  std::string why{};
  double puts_per_s = 0;  // requests; of the far store only
  double gets_per_s = 0;
};

struct ComponentNeeds {
  double journal_factor = 1;  // bytes on the wire for a byte of objects: heads, frames, TCP
  double segment_factor = 1;
  double write_amplification = 1;  // bytes written to segments for a byte that comes
  std::vector<ComponentNeed> needs{};
};

// A megabyte on the wire takes so much more with the heads of Ethernet, IP and TCP, and with what
// goes the other way to acknowledge it.
constexpr double kWireFactor = 1.06;
// Of a promise, beside name and ETag (docs/formats.md, "Promises").
constexpr uint64_t kPromiseBytes = 30;
// Objects of at most so many bytes are packed, and written so often, as `bench space` measures.
constexpr uint64_t kPackedBytes = 4096;
constexpr double kTinyWrites = 2.8;

ComponentNeeds NeedsOf(const ComponentPlan& plan);

// "200MB/s", "1.6Gbit/s", or bytes a second as ParseBytes reads them.
Result<uint64_t> ParseRate(std::string_view text);

}  // namespace holdfast::cli
