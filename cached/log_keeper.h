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

  // Takes over what follows, which came at `came`: frames that are known already change nothing, a
  // full one that is not takes the place of all before it, a difference that of those after the one
  // that it follows (their owner had lost them), and after a gap nothing is taken.
  //
  // Frames that are newer neither by number nor by stamp than what is here are of another log, whose
  // collector had lost this one, and whose clock may have been set back: kDenied as long as this log
  // still grows, that is, for kSettled after its last frame. Else two collectors that know nothing of
  // each other would take turns.
  //
  // kDenied for another cluster's frames and kCorrupt for garbage: nothing is taken. kNoSpace beyond
  // max_bytes, and kCorrupt for a damaged body: what came before has been taken.
  Status Append(ByteView frames, Time came);

  // The frames after `after`, or all from the full one on when they do not follow it; not all at
  // once when they are long: who asks on gets the rest. One frame at least.
  wire::LogReply Answer(const wire::LogQuery& query, Time now) const;
  uint64_t sequence() const { return frames_.empty() ? 0 : frames_.back().header.sequence; }
  uint32_t mark() const { return frames_.empty() ? 0 : frames_.back().header.mark; }
  uint64_t memory_bytes() const { return bytes_; }
  // What must be true at any time: see below. For tests.
  Status CheckFrames() const;

 private:
  static constexpr uint64_t kAnswerBytes = 4 * kMiB;
  static constexpr Duration kSettled = 1min;

  struct Frame {
    snapshot::FrameHeader header;
    Buffer bytes;
  };
  Result<std::vector<snapshot::FrameHeader>> HeadersOf(ByteView frames) const;
  // The index in frames_ of the frame with this number and mark; their count when there is none.
  size_t IndexOf(uint64_t sequence, uint32_t mark) const;
  Status CheckNewer(const std::vector<snapshot::FrameHeader>& headers, Time came) const;
  // In the place of all but the first `after` frames.
  Status Take(ByteView frame, const snapshot::FrameHeader& header, size_t after);

  uint64_t cluster_;
  uint64_t max_bytes_;
  uint64_t bytes_ = 0;
  std::vector<Frame> frames_;  // the first one is full; each follows the one before it
  Time came_{};                // when the last one came
};

}  // namespace holdfast::cached
