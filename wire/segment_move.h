// SPDX-License-Identifier: Apache-2.0
// The half of reclaim that only moves bytes, as an interface: records of one segment are written again
// in another. Who decides (cached/store/disk_reclaim.h) has chosen them and set their places aside; who
// moves them may be the same process, the storage server that has the segments, or a worker on a third
// machine (decision note 0021).
#pragma once

#include <functional>
#include <vector>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/status.h"
#include "wire/disk_segment.h"

namespace holdfast {

struct SegmentMove {
  uint32_t from = 0;
  std::vector<disk::Entry> records{};  // as they lie there
  bool from_copy = false;  // they are read in the copy of the segment (base/segment_reader.h)
  uint32_t to = 0;
  uint64_t offset = 0;  // there, a multiple of a block: of the first; the others follow it

  uint64_t bytes() const;
};

struct Moved {
  Status status{};           // not ok: nothing is to be believed of what lies in their places now
  Bitmap right{};            // by record: it had its checksums, and lies in its place
  bool copy_failed = false;  // the copy could not be read, so that the segment was
};

class SegmentMover {
 public:
  virtual ~SegmentMover() = default;
  // `done` runs once, later, on the thread of the call; from then on nobody writes to the places on behalf
  // of this move. kTimeout: segments elsewhere did not answer, and nothing is known to be lost.
  virtual void Move(SegmentMove move, std::function<void(Moved)> done) = 0;
};

// Limits of one move, which decoders enforce.
constexpr uint64_t kMostMoveBytes = 8 * kMiB;
constexpr size_t kMostMoveRecords = 16 * 1024;
constexpr size_t kMoveHeadBytes = 8;

// The body of a move frame (docs/formats.md, "Storage protocol"): all of it but `to` and `offset`.
Buffer EncodeMove(const SegmentMove& move);
// kCorrupt for what is none, or has records beyond the end of segments of `segment_bytes`, on either side.
Result<SegmentMove> DecodeMove(ByteView body, uint32_t to, uint64_t offset, uint64_t segment_bytes);

}  // namespace holdfast
