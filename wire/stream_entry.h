// SPDX-License-Identifier: Apache-2.0
// What the columns of stream messages hold, and the names of streams and chunks. docs/formats.md,
// "Streams", is the page for these bytes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/status.h"

namespace holdfast::wire {

// A chunk as a catalogue lists it.
struct StreamEntry {
  uint64_t writer = 0;
  uint64_t first_record = 0;  // number of its first record among this writer's
  uint64_t hash = 0;          // of the chunk, not 0
  uint32_t number = 0;        // of the chunk, among this writer's
  uint32_t records = 0;       // at least 1; 1 where pieces > 1
  uint32_t bytes = 0;         // of the chunk
  uint16_t piece = 0;         // a record that is larger than a chunk has several of its own
  uint16_t pieces = 1;
  NodeId nodes[2] = {kNoNode, kNoNode};  // where it lies; the second one, or none
  // Low half of the XXH3-64 of the 44 bytes before: a flipped bit in a message would otherwise stay in
  // a catalogue for good, and readers would be told of records that never were.
  uint32_t check = 0;
};
static_assert(sizeof(StreamEntry) == 48);

enum class StreamWriterPhase : uint8_t {
  kWriting = 0,
  kEnded = 1,  // by itself
  kGone = 2,   // its lease ended: what it has not listed by then is not there
};

struct StreamWriterState {
  uint64_t writer = 0;
  uint64_t records = 0;  // listed
  uint64_t bytes = 0;    // of its chunks
  uint32_t chunks = 0;
  StreamWriterPhase phase = StreamWriterPhase::kWriting;
  uint8_t reserved[3] = {};
};
static_assert(sizeof(StreamWriterState) == 32);

template <typename Row>
Buffer RowsOf(std::span<const Row> rows) {
  return Buffer::CopyOf(std::as_bytes(rows));
}
// The column's length is a multiple of the row's: a decoded message sees to it.
template <typename Row>
std::vector<Row> RowsIn(const Buffer& column) {
  std::vector<Row> rows(column.size() / sizeof(Row));
  if (!rows.empty()) std::memcpy(rows.data(), column.data(), rows.size() * sizeof(Row));
  return rows;
}

// The same with its `check`, as it is listed.
StreamEntry Sealed(StreamEntry entry);
// kCorrupt for what no writer would say: see the fields.
Status CheckEntry(const StreamEntry& entry);

// 1 to 200 of A-Z a-z 0-9 . _ - / : @ + =, as "job-17/shuffle". kInvalid names what is wrong.
Status CheckStreamName(std::string_view name);

// The name of a chunk as an object: "stream:<stream>/<writer>/<number>". Its version is its hash.
std::string ChunkName(uint64_t stream, uint64_t writer, uint32_t number);
// Is this the name of a chunk?
bool IsChunkName(std::string_view name);

// The nodes that keep the catalogue of a stream: those that rendezvous hashing of its name picks
// first and second among `nodes` (distinct). One when there is only one.
std::vector<NodeId> CataloguesOf(std::string_view name, std::span<const NodeId> nodes);

}  // namespace holdfast::wire
