// SPDX-License-Identifier: Apache-2.0
// The end of the snapshot log, from its last full frame on, as collectors brought it: kept in memory
// for whoever asks. Only the frames' headers are understood here, and their bodies' checksums: what a
// wire has damaged is not kept.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "base/units.h"
#include "snapshot/log.h"
#include "wire/messages.h"

namespace holdfast::cached {

class LogKeeper {
 public:
  // `max_bytes` of frames are kept.
  LogKeeper(std::string_view cluster, uint64_t max_bytes);

  // Takes over what follows: frames that are known already change nothing, a full one that is newer
  // by its number or by its stamp (its owner had lost the log), or whose last follower is newer (it
  // goes on from an earlier frame), takes the place of all before it, and after a gap nothing is
  // taken. kDenied for another cluster's frames and kCorrupt for garbage: nothing is taken. kNoSpace
  // beyond max_bytes, and kCorrupt for a damaged body: what came before has been taken.
  Status Append(ByteView frames, Time now);

  // The frames after `after`, or all from the full one on when they do not follow it; not all at
  // once when they are long: who asks on gets the rest. One frame at least.
  wire::LogReply Answer(const wire::LogQuery& query, Time now) const;
  uint64_t sequence() const { return frames_.empty() ? 0 : frames_.back().header.sequence; }
  uint64_t memory_bytes() const { return bytes_; }
  // What must be true at any time: see below. For tests.
  Status CheckFrames() const;

 private:
  static constexpr uint64_t kAnswerBytes = 4 * kMiB;

  struct Frame {
    snapshot::FrameHeader header;
    Buffer bytes;
  };
  Result<std::vector<snapshot::FrameHeader>> HeadersOf(ByteView frames) const;
  bool Follows(const snapshot::FrameHeader& header) const;
  Status Take(ByteView frame, const snapshot::FrameHeader& header);

  uint64_t cluster_;
  uint64_t max_bytes_;
  uint64_t bytes_ = 0;
  std::vector<Frame> frames_;  // the first one is full; each follows the one before it
  Time came_{};                // when the last one came
};

}  // namespace holdfast::cached
