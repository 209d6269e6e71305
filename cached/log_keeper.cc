// SPDX-License-Identifier: Apache-2.0
#include "cached/log_keeper.h"

#include <cstring>
#include <utility>

namespace holdfast::cached {

LogKeeper::LogKeeper(std::string_view cluster, uint64_t max_bytes)
    : cluster_(snapshot::ClusterHash(cluster)), max_bytes_(max_bytes) {}

Status LogKeeper::Append(ByteView frames, Time now) {
  Result<std::vector<snapshot::FrameHeader>> headers = HeadersOf(frames);
  if (!headers.ok()) return headers.status();
  // A log that goes on from an earlier frame than the last one here: what came after that one was
  // lost where it is kept.
  const bool branch = !frames_.empty() && !headers->empty() && headers->front().full &&
                      headers->back().stamp > frames_.back().header.stamp;
  for (const snapshot::FrameHeader& header : *headers) {
    const ByteView frame = frames.first(header.frame_bytes());
    frames = frames.subspan(header.frame_bytes());
    if (!Follows(header) && !(branch && header.full)) continue;
    HF_RETURN_IF_ERROR(Take(frame, header));
    came_ = now;
  }
  return {};
}

Result<std::vector<snapshot::FrameHeader>> LogKeeper::HeadersOf(ByteView frames) const {
  std::vector<snapshot::FrameHeader> headers;
  while (!frames.empty()) {
    Result<snapshot::FrameHeader> header = snapshot::ReadFrameHeader(frames);
    if (!header.ok()) return Status::Corrupt("the snapshot log: " + header.status().message());
    if (header->cluster != cluster_) {
      return Status::Denied("the snapshot log is another cluster's");
    }
    frames = frames.subspan(header->frame_bytes());
    headers.push_back(*std::move(header));
  }
  return headers;
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
  HF_RETURN_IF_ERROR(snapshot::CheckBody(frame).Annotate("the snapshot log"));
  if (header.full) frames_.clear();
  frames_.push_back({header, Buffer::CopyOf(frame)});
  bytes_ = kept + frame.size();
  return {};
}

Status LogKeeper::CheckFrames() const {
  uint64_t bytes = 0;
  for (size_t i = 0; i < frames_.size(); ++i) {
    const snapshot::FrameHeader& header = frames_[i].header;
    const bool follows = i > 0 && header.sequence == frames_[i - 1].header.sequence + 1 &&
                         header.follows == frames_[i - 1].header.mark;
    if (header.full != (i == 0) || !(i == 0 || follows))
      return Status::Corrupt("a frame of the kept snapshot log does not follow the one before it");
    bytes += frames_[i].bytes.size();
  }
  if (bytes != bytes_ || bytes > max_bytes_)
    return Status::NoSpace("the kept snapshot log takes other room than its books say");
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
