// SPDX-License-Identifier: Apache-2.0
// All that a node has to do with streams (docs/decisions/0012):
//
//   StreamOpen, StreamQuery, StreamAppend   stream_catalogues.h  who wrote which chunks, where they lie
//   StreamKeep                              stream_pulls.h       takes a chunk from its writer
//   a reader's miss                         stream_loads.h       brings one back from the disk
//   StreamDrop, expiry                      stream_rooms.h       frees everything
//   StreamList                              here
#pragma once

#include <functional>
#include <string>

#include "cached/stream_catalogues.h"
#include "cached/stream_loads.h"
#include "cached/stream_pulls.h"
#include "cached/stream_rooms.h"

namespace holdfast::cached {

class Streams {
 public:
  Streams(const Context* context, planner::Calendar* calendar, planner::Calendar* below);

  void On(PeerId from, const wire::StreamOpen& open);
  void On(PeerId from, const wire::StreamQuery& query);
  void On(PeerId from, const wire::StreamAppend& append);
  void On(PeerId from, const wire::StreamKeep& keep) { pulls_.Keep(from, keep); }
  void On(PeerId from, const wire::StreamDrop& drop);
  void On(PeerId from, const wire::StreamList& list);
  // False: it is no chunk on this node's disk.
  bool OnMiss(const ObjectKey& key, const std::function<void(Status)>& done) {
    return loads_.Want(key, done);
  }
  void Expire();

  // Until when a stream holds this record of the memory tier; Time{} when none does.
  Time HeldUntil(const ObjectKey& key) const;
  uint64_t reserved_bytes() const { return rooms_.reserved_bytes(); }
  uint64_t reserved_disk_bytes() const { return rooms_.reserved_disk_bytes(); }
  // In the planning memory.
  uint64_t memory_bytes() const;
  Status CheckBooks() const { return rooms_.CheckBooks(); }
  std::string Json() const;

 private:
  const Context* context_;
  StreamCatalogues catalogues_;
  StreamRooms rooms_;
  StreamPulls pulls_;
  StreamLoads loads_;
};

}  // namespace holdfast::cached
