// SPDX-License-Identifier: Apache-2.0
// The room that streams have at a node, and what they keep in it: the books. Room in memory is
// reserved in the calendar that promises are reserved in, until the stream expires; room on the disk
// is in segments of its own (stream_disk.h). Nothing is taken beyond a stream's limits or the node's,
// and what was taken is given up for nobody.
//
// Who moves the bytes is in stream_pulls.h (here) and stream_loads.h (back into memory).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <utility>

#include "cached/context.h"
#include "cached/stream_disk.h"
#include "planner/calendar.h"
#include "wire/stream_entry.h"

namespace holdfast::cached {

// A chunk's number among all of a stream: writer, number.
using ChunkId = std::pair<uint64_t, uint32_t>;

struct StreamChunk {
  ObjectKey key;
  uint32_t bytes = 0;
  bool on_disk = false;
  bool kept = false;      // else it is being read from its writer
  uint64_t attempt = 0;   // by this pull
  uint64_t record = 0;    // what one in memory takes there,
  uint64_t reserved = 0;  // and in the calendar
  StreamDisk::Place place{};
};

struct StreamRoom {
  wire::StreamTerms terms;
  Time expires;
  uint64_t memory_used = 0;  // of records
  uint64_t disk_used = 0;    // of chunks
  std::map<ChunkId, StreamChunk> chunks;
};

class StreamRooms {
 public:
  static constexpr size_t kMaxStreams = 1'000;
  // Whoever still writes to a stream that was dropped is told so for so long.
  static constexpr Duration kRemembered = std::chrono::minutes(10);
  static constexpr size_t kMaxRemembered = 4'096;

  // Memory is reserved in `calendar`, segments of the disk in `below`.
  StreamRooms(const Context* context, planner::Calendar* calendar, planner::Calendar* below);

  // The room of a stream, made if it is new. kInvalid for terms that cannot be, kNotFound for one that
  // was dropped, kNoSpace when there are too many streams.
  Result<StreamRoom*> Open(const wire::StreamTerms& terms);
  StreamRoom* Find(uint64_t stream);
  // Room for a chunk, which is then in the books and not yet kept. kNoSpace says which limit.
  Result<StreamChunk*> Take(StreamRoom* room, const ChunkId& id, uint32_t bytes, uint64_t hash,
                            bool on_disk);
  // Its bytes are here. One in memory has been committed with one hold.
  void Kept(StreamChunk* chunk) { chunk->kept = true; }
  void GiveUp(StreamRoom* room, const ChunkId& id);
  uint64_t RoomLeft(const StreamRoom& room, bool on_disk) const;

  struct Freed {
    uint64_t chunks = 0;
    uint64_t bytes = 0;
  };
  Freed Drop(uint64_t stream);  // for good
  void Expire();

  // A chunk that is kept here.
  struct Found {
    uint64_t stream = 0;
    ChunkId id;
    const StreamChunk* chunk = nullptr;
    Time until;
  };
  std::optional<Found> FindChunk(const ObjectKey& key) const;

  StreamDisk& disk() { return disk_; }
  const std::map<uint64_t, StreamRoom>& rooms() const { return rooms_; }
  uint64_t reserved_bytes() const { return reserved_; }  // in the calendar
  uint64_t reserved_disk_bytes() const { return disk_.reserved_bytes(); }
  uint64_t memory_bytes() const;  // of the books themselves
  Status CheckBooks() const;

 private:
  void Release(StreamRoom* room, const StreamChunk& chunk);
  Freed Free(uint64_t stream);

  const Context* context_;
  planner::Calendar* calendar_;
  StreamDisk disk_;
  std::map<uint64_t, StreamRoom> rooms_;
  struct Where {
    uint64_t stream;
    ChunkId id;
  };
  std::map<Oid, Where> by_oid_;
  std::map<uint64_t, Time> dropped_;  // until when it is remembered
  uint64_t reserved_ = 0;
};

}  // namespace holdfast::cached
