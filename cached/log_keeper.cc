// SPDX-License-Identifier: Apache-2.0
#include "cached/log_keeper.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace holdfast::cached {

LogKeeper::LogKeeper(std::string_view cluster, uint64_t max_bytes)
    : cluster_(snapshot::ClusterHash(cluster)), max_bytes_(max_bytes) {}

Status LogKeeper::Append(ByteView frames, Time came) {
  Result<std::vector<snapshot::FrameHeader>> headers = HeadersOf(frames);
  if (!headers.ok()) return headers.status();
  HF_RETURN_IF_ERROR(CheckNewer(*headers, came));
  for (const snapshot::FrameHeader& header : *headers) {
    const ByteView frame = frames.first(header.frame_bytes());
    frames = frames.subspan(header.frame_bytes());
    if (IndexOf(header.sequence, header.mark) < frames_.size()) continue;
    const size_t before = IndexOf(header.sequence - 1, header.follows);
    if (!header.full && before == frames_.size()) continue;
    HF_RETURN_IF_ERROR(Take(frame, header, header.full ? 0 : before + 1));
    came_ = came;
  }
  return {};
}

Status LogKeeper::CheckNewer(const std::vector<snapshot::FrameHeader>& headers, Time came) const {
  if (frames_.empty() || headers.empty() || came - came_ >= kSettled) return {};
  const snapshot::FrameHeader& last = headers.back();
  const bool newer = last.sequence > sequence() || last.stamp > frames_.back().header.stamp;
  if (newer || IndexOf(last.sequence, last.mark) < frames_.size()) return {};
  return Status::Denied("the snapshot log here is another one, of which snapshot " +
                        std::to_string(sequence()) + " came " + FormatDuration(came - came_) +
                        " ago; is a second collector at work? If not, collect again in a minute");
}

size_t LogKeeper::IndexOf(uint64_t sequence, uint32_t mark) const {
  const auto at = std::find_if(frames_.begin(), frames_.end(), [&](const Frame& frame) {
    return frame.header.sequence == sequence && frame.header.mark == mark;
  });
  return static_cast<size_t>(at - frames_.begin());
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

Status LogKeeper::Take(ByteView frame, const snapshot::FrameHeader& header, size_t after) {
  uint64_t kept = 0;
  for (size_t i = 0; i < after; ++i) kept += frames_[i].bytes.size();
  if (frame.size() > max_bytes_ - kept) {
    return Status::NoSpace("the snapshot log takes more than " + FormatBytes(max_bytes_) +
                           " of this node's memory.planning; raise that, or write full snapshots "
                           "more often");
  }
  HF_RETURN_IF_ERROR(snapshot::CheckBody(frame).Annotate("the snapshot log"));
  frames_.resize(after);
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
  wire::LogReply reply{
      .id = query.id, .sequence = sequence(), .mark = mark(), .age = now - came_, .frames = {}};
  const size_t known = IndexOf(query.after, query.mark);
  const size_t first = known < frames_.size() ? known + 1 : 0;
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
