// SPDX-License-Identifier: Apache-2.0
#include "cached/log_keeper.h"

#include <cstring>
#include <utility>

namespace holdfast::cached {

LogKeeper::LogKeeper(std::string_view cluster, uint64_t max_bytes)
    : cluster_(snapshot::ClusterHash(cluster)), max_bytes_(max_bytes) {}

Status LogKeeper::Append(ByteView frames, Time now) {
  while (!frames.empty()) {
    Result<snapshot::FrameHeader> header = snapshot::ReadFrameHeader(frames);
    if (!header.ok()) return Status::Corrupt("the snapshot log: " + header.status().message());
    if (header->cluster != cluster_) {
      return Status::Denied("the snapshot log is another cluster's");
    }
    if (Follows(*header)) {
      HF_RETURN_IF_ERROR(Take(frames.first(header->frame_bytes()), *header));
      came_ = now;
    }
    frames = frames.subspan(header->frame_bytes());
  }
  return {};
}

bool LogKeeper::Follows(const snapshot::FrameHeader& header) const {
  if (frames_.empty()) return header.full;
  if (header.full) {
    return header.sequence > sequence() || header.stamp > frames_.back().header.stamp;
  }
  return header.sequence == sequence() + 1 && header.follows == frames_.back().header.mark;
}

Status LogKeeper::Take(ByteView frame, const snapshot::FrameHeader& header) {
  const uint64_t kept = header.full ? 0 : bytes_;
  if (frame.size() > max_bytes_ - kept) {
    return Status::NoSpace("the snapshot log takes more than " + FormatBytes(max_bytes_) +
                           " of this node's memory.planning; raise that, or write full snapshots "
                           "more often");
  }
  if (header.full) frames_.clear();
  frames_.push_back({header, Buffer::CopyOf(frame)});
  bytes_ = kept + frame.size();
  return {};
}

wire::LogReply LogKeeper::Answer(const wire::LogQuery& query, Time now) const {
  wire::LogReply reply{.id = query.id, .sequence = sequence(), .age = now - came_, .frames = {}};
  size_t first = 0;
  if (!frames_.empty() && query.after >= frames_.front().header.sequence &&
      query.after <= sequence()) {
    first = static_cast<size_t>(query.after - frames_.front().header.sequence) + 1;
  }
  size_t last = first;
  uint64_t bytes = 0;
  while (last < frames_.size() &&
         (last == first || bytes + frames_[last].bytes.size() <= kAnswerBytes)) {
    bytes += frames_[last++].bytes.size();
  }
  reply.frames = Buffer(bytes);
  uint64_t at = 0;
  for (size_t i = first; i < last; ++i) {
    std::memcpy(reply.frames.data() + at, frames_[i].bytes.data(), frames_[i].bytes.size());
    at += frames_[i].bytes.size();
  }
  return reply;
}

}  // namespace holdfast::cached
