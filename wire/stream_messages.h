// SPDX-License-Identifier: Apache-2.0
// The control messages of streams: scratch data of jobs, written once in chunks, read whole
// (docs/decisions/0012). A part of messages.h; wire/stream_entry.h has what their columns hold.
//
//   writer → both catalogues   Open     Append  Append ...
//   writer → a node            Keep: read this chunk from my shelf and keep it
//   reader → both catalogues   Query    Query ...
//   anybody → every node       Drop, List
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/status.h"
#include "base/units.h"

namespace holdfast::wire {

constexpr size_t kMaxStreamEntries = 16'384;  // of a message
constexpr size_t kMaxStreamWriters = 1'024;   // of a stream, in all
constexpr uint8_t kMaxStreamCopies = 2;

// What was agreed when the stream was opened.
struct StreamTerms {
  uint64_t stream = 0;        // random, not 0
  uint64_t memory_bytes = 0;  // of each node
  uint64_t disk_bytes = 0;    // of each node
  uint32_t writers = 1;       // when so many have ended the stream is complete
  uint8_t copies = 1;         // of each chunk, at different nodes
  Duration expires_in{};      // from receipt; then all of it is gone
};

struct StreamOpen {  // writer → catalogue
  uint64_t id = 0;
  std::string name{};
  StreamTerms terms{};
  bool create = false;  // else it must be there: terms.stream 0 is whichever it is
  uint64_t writer = 0;  // random, not 0: who will append
  Duration lease{};     // without an Append for this long the writer is gone
};

struct StreamQuery {  // reader → catalogue
  uint64_t id = 0;
  std::string name{};   // by name, or
  uint64_t stream = 0;  // when not 0, by number
  uint64_t after = 0;  // entries that are known already, in the order in which this node lists them
};

struct StreamReply {  // catalogue → whoever opens or queries
  uint64_t id = 0;
  Status status{};
  std::string name{};
  StreamTerms terms{};
  uint64_t first = 0;  // position of entries[0]
  uint64_t total = 0;  // that it has; more than first + the number of entries: ask again
  Buffer entries{};    // n × StreamEntry, those after StreamQuery::after
  Buffer writers{};    // n × StreamWriterState
};

// Idempotent: a catalogue takes the entries that follow what it has of this writer.
struct StreamAppend {  // writer → catalogue; an empty one keeps the writer's lease
  uint64_t id = 0;
  uint64_t stream = 0;
  uint64_t writer = 0;
  uint32_t first = 0;  // number of entries[0] among this writer's chunks
  bool ended = false;  // no more will come after these
  Duration lease{};
  Buffer entries{};
};

struct StreamAppended {
  uint64_t id = 0;
  uint32_t next = 0;   // so many of this writer's chunks are listed
  bool ended = false;  // and its end
  Status status{};     // kNotFound: no such stream here
};

struct StreamKeep {  // writer → a node
  uint64_t id = 0;
  StreamTerms terms{};
  uint64_t writer = 0;
  uint32_t number = 0;
  uint32_t bytes = 0;
  uint64_t hash = 0;     // XXH3-64, not 0: also its version
  bool on_disk = false;  // else in memory
  std::string shelf{};   // bulk endpoint where it can be read
};

struct StreamKept {
  uint64_t id = 0;
  bool pending = false;     // it is being read just now: ask again
  uint64_t room_bytes = 0;  // that is left in this tier of the node for this stream
  Status status{};          // kNoSpace: not in this tier of this node
};

struct StreamDrop {  // frees all that the node has of a stream, catalogue and chunks
  uint64_t id = 0;
  std::string name{};   // by name, or
  uint64_t stream = 0;  // when not 0, by number
};

struct StreamDropped {
  uint64_t id = 0;
  uint64_t stream = 0;  // that had the name here; 0: none
  uint64_t chunks = 0;
  uint64_t bytes = 0;
};

struct StreamList {
  uint64_t id = 0;
};

struct StreamListed {
  uint64_t id = 0;
  std::string json{};  // documented in docs/operators.md
};

}  // namespace holdfast::wire
