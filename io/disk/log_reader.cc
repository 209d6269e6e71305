// SPDX-License-Identifier: Apache-2.0
#include "io/disk/log_reader.h"

#include <algorithm>

#include "base/hash.h"

namespace holdfast::disk {

Status ForRingParts(uint64_t ring_bytes, uint64_t position, uint64_t bytes,
                    const std::function<Status(uint64_t, size_t, size_t)>& part) {
  for (uint64_t done = 0; done < bytes;) {
    const uint64_t offset = (position + done) % ring_bytes;
    const uint64_t size = std::min(bytes - done, ring_bytes - offset);
    HF_RETURN_IF_ERROR(part(kHeadsBytes + offset, done, size));
    done += size;
  }
  return {};
}

LogReader::LogReader(BlockFile* file, uint64_t log_id, uint64_t ring_bytes)
    : file_(file), log_id_(log_id), ring_bytes_(ring_bytes), window_(BlockBuffer(kMaxGroupBytes)) {}

Result<ByteView> LogReader::At(uint64_t position, uint64_t bytes) {
  if (!loaded_ || position < window_at_ || position + bytes > window_at_ + window_.size()) {
    loaded_ = false;
    HF_RETURN_IF_ERROR(ForRingParts(ring_bytes_, position, window_.size(),
                                    [this](uint64_t at, size_t from, size_t size) {
                                      return file_->Read(at, window_.span().subspan(from, size));
                                    }));
    window_at_ = position;
    loaded_ = true;
  }
  return window_.view().subspan(position - window_at_, bytes);
}

Result<std::optional<GroupHeader>> LogReader::HeaderAt(uint64_t position) {
  Result<ByteView> block = At(position, kBlockBytes);
  if (!block.ok()) return block.status();
  std::optional<GroupHeader> header = DecodeGroup(*block, log_id_);
  return header && header->position == position ? header : std::nullopt;
}

Result<bool> LogReader::BodyIsWhole(const GroupHeader& header) {
  Result<ByteView> bytes = At(header.position, header.padded());
  if (!bytes.ok()) return bytes.status();
  return Hash64(bytes->subspan(kGroupHeaderBytes, header.bytes - kGroupHeaderBytes)) ==
         header.body_hash;
}

// A group that is followed by another was durable, so only the last one's body is looked at here.
Result<std::deque<uint64_t>> LogReader::FindGroups(const LogHeads& heads) {
  const uint64_t start = heads.newest.start;
  std::deque<uint64_t> groups;
  std::optional<GroupHeader> last;
  uint64_t at = start;
  while (at < start + ring_bytes_) {
    Result<std::optional<GroupHeader>> header = HeaderAt(at);
    if (!header.ok()) return header.status();
    if (!*header) break;
    last = *header;
    groups.push_back(at);
    at += last->padded();
  }
  if (last) {
    Result<bool> whole = BodyIsWhole(*last);
    if (!whole.ok()) return whole.status();
    if (!*whole) at = last->position;
  }
  HF_RETURN_IF_ERROR(LookForLaterGroup(at, heads.both_whole ? kMaxGroupBytes : ring_bytes_));
  if (groups.empty() || groups.back() != at) groups.push_back(at);
  return groups;
}

// A group is begun only when the one before it is durable, so a later one lies close behind damage.
// It may lie anywhere when a head is damaged: if that was the newer one, the groups that the older
// one knew may be written over. (If it was torn they are not, and nothing is found.)
Status LogReader::LookForLaterGroup(uint64_t end, uint64_t bytes) {
  for (uint64_t at = end; at <= end + bytes; at += kBlockBytes) {
    Result<ByteView> block = At(at, kBlockBytes);
    if (!block.ok()) return block.status();
    std::optional<GroupHeader> header = DecodeGroup(*block, log_id_);
    if (header && header->position > end && header->position % ring_bytes_ == at % ring_bytes_) {
      return Damaged(end, "a later group is at " + std::to_string(header->position));
    }
  }
  return {};
}

Status LogReader::VisitGroup(uint64_t position,
                             const std::function<void(uint64_t, ByteView)>& visit, uint64_t* next) {
  Result<std::optional<GroupHeader>> header = HeaderAt(position);
  if (!header.ok()) return header.status();
  if (!*header) return Damaged(position, "its header is gone");
  Result<bool> whole = BodyIsWhole(**header);
  if (!whole.ok()) return whole.status();
  if (!*whole) return Damaged(position, "its checksum is wrong");
  Result<ByteView> group = At(position, (*header)->padded());
  if (!group.ok()) return group.status();
  for (uint64_t at = kGroupHeaderBytes; at < (*header)->bytes;) {
    const uint64_t room = (*header)->bytes - at;
    const uint64_t size =
        room < kRecordHeaderBytes ? kMaxGroupBytes : LoadAs<uint32_t>(group->data() + at);
    if (RecordSpan(size) > room) return Damaged(position, "its records do not fill it");
    visit(position + at, group->subspan(at + kRecordHeaderBytes, size));
    at += RecordSpan(size);
  }
  *next = position + (*header)->padded();
  return {};
}

Status LogReader::Damaged(uint64_t position, const std::string& why) const {
  return Status::Corrupt("the group at " + std::to_string(position) + " of " + file_->path() +
                         " is damaged (" + why +
                         "), so that acknowledged records cannot be read; restore the file, or "
                         "move it away and go on without them");
}

}  // namespace holdfast::disk
