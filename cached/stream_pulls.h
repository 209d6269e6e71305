// SPDX-License-Identifier: Apache-2.0
// Takes chunks of streams from those who write them, many at a time:
//
//   1. Keep   room is taken, within the stream's limits and the node's, or the writer is told
//   2. Read   from the writer's shelf, straight into a segment of memory, or into a buffer for the disk
//   3. Write  to the disk, where that is the tier
//   4. Kept   the writer is told
//
// A repeated Keep is answered as the first one. What the stream's end overtakes is given up.
#pragma once

#include <map>
#include <string>

#include "cached/stream_rooms.h"

namespace holdfast::cached {

class StreamPulls {
 public:
  // Longest that a writer has to hand over a chunk.
  static constexpr Duration kReadTime = 5s;

  // `max_buffer_bytes`: of chunks on their way to the disk.
  StreamPulls(const Context* context, StreamRooms* rooms, uint64_t max_buffer_bytes)
      : context_(context), rooms_(rooms), max_buffer_bytes_(max_buffer_bytes) {}

  void Keep(PeerId from, const wire::StreamKeep& keep);
  uint64_t memory_bytes() const { return buffer_bytes_; }
  size_t under_way() const { return pulls_.size(); }

 private:
  struct Pull {
    PeerId from;
    wire::StreamKeep keep;
    uint64_t slot = 0;  // of the memory tier
    Buffer buffer{};    // or for the disk
    StreamDisk::Place place{};
  };
  static ChunkId IdOf(const wire::StreamKeep& keep) { return {keep.writer, keep.number}; }

  Status Begin(PeerId from, const wire::StreamKeep& keep);
  void Read(uint64_t id, ByteSpan into);
  void OnRead(uint64_t id, const BulkOutcome& outcome);
  void OnWritten(uint64_t id, const Status& written);
  void End(uint64_t id, const Status& status);
  void Reply(PeerId to, const wire::StreamKeep& keep, const Status& status, bool pending) const;
  StreamChunk* ChunkOf(uint64_t id, const Pull& pull) const;

  const Context* context_;
  StreamRooms* rooms_;
  uint64_t max_buffer_bytes_;
  uint64_t buffer_bytes_ = 0;
  std::map<uint64_t, Pull> pulls_;
  uint64_t last_pull_ = 0;
};

}  // namespace holdfast::cached
