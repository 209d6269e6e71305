// SPDX-License-Identifier: Apache-2.0
// The control messages of spill-over: what leaves a full node's memory goes on in a peer's
// (docs/decisions/0019). A part of messages.h.
//
//   node → peers with room   Offer: who has room for so much?
//   peer → node              Bid
//   node → the best          Give: pull these out of my memory (BulkRead)
//   peer → node, homes       Taken, Lodged
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace holdfast::wire {

constexpr size_t kMaxSpillObjects = 16'384;  // of a message

struct SpillOffer {  // node → peer
  uint64_t id = 0;
  uint64_t bytes = 0;  // of the records
  uint32_t objects = 0;
};

// Room that is kept for the offer for a moment. 0: none.
struct SpillBid {  // peer → node
  uint64_t id = 0;
  uint64_t bytes = 0;
  bool on_disk = false;  // else in memory
};

// No answer is waited for longer than a pull may take: what is not pulled by then is gone.
struct SpillGive {     // node → peer that has bid
  uint64_t id = 0;     // of the offer
  Buffer oids{};       // n × 16
  Buffer versions{};   // n × 8
  Buffer sizes{};      // n × u64
  Buffer ages{};       // n × u32: milliseconds since it was loaded
  Buffer name_ends{};  // u32 each: end of its name in `names`
  Buffer names{};      // canonical URIs, one after the other
  Buffer etag_ends{};
  Buffer etags{};
};

struct SpillTaken {  // peer → node: the pulls of a Give are over
  uint64_t id = 0;
  uint32_t objects = 0;  // that are there now
  uint64_t bytes = 0;
  uint64_t guest_bytes = 0;  // as in HelloReply, from now on
  uint64_t guest_disk_bytes = 0;
};

struct Lodged {  // peer → each object's home: these lie here for a while
  Buffer oids{};
  Buffer versions{};
};

}  // namespace holdfast::wire
