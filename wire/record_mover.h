// SPDX-License-Identifier: Apache-2.0
// Moves records through this process, over any Disk: reads them, the neighbours of one another at once,
// checks each by its own checksums, and writes all with one write. What was not right is zeros there.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/env.h"
#include "base/segment_reader.h"
#include "wire/segment_move.h"

namespace holdfast {

// Is this whole record, of a segment of `segment_bytes`, the one that the table says, with its checksums?
bool IsRecord(ByteView bytes, const disk::Entry& says, uint64_t segment_bytes);

// What is under way goes on without it, as long as the disk lives.
class RecordMover : public SegmentMover {
 public:
  // `copies` may be null; then no move is `from_copy`.
  RecordMover(Disk* disk, SegmentReader* copies) : disk_(disk), copies_(copies) {}

  // A move that DecodeMove would accept. Errors of the disk: of a read kTimeout only, for what else could
  // not be read is not right.
  void Move(SegmentMove move, std::function<void(Moved)> done) override;

 private:
  struct Run {  // of records that are neighbours on both sides
    uint64_t offset = 0;
    ByteSpan into{};
    size_t first = 0;  // of the move's records
    size_t records = 0;
  };
  struct Work {
    Disk* disk = nullptr;
    SegmentReader* copies = nullptr;
    SegmentMove move{};
    std::function<void(Moved)> done{};
    Buffer bytes{};
    size_t reads = 0;  // under way
    bool unanswered = false;
    bool copy_failed = false;
  };
  static std::vector<Run> RunsOf(Work* work);
  static void Read(const std::shared_ptr<Work>& work, const Run& run);
  static bool AllRight(const Work& work, const Run& run);
  static void ReadDisk(const std::shared_ptr<Work>& work, const Run& run);
  static void ReadEach(const std::shared_ptr<Work>& work, const Run& run);
  static void WasRead(const std::shared_ptr<Work>& work, const Status& status);
  static void Write(const std::shared_ptr<Work>& work);

  Disk* disk_;
  SegmentReader* copies_;
};

}  // namespace holdfast
