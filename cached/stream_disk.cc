// SPDX-License-Identifier: Apache-2.0
#include "cached/stream_disk.h"

#include <algorithm>
#include <string>

#include "base/units.h"

namespace holdfast::cached {
namespace {

constexpr size_t kOpenSegments = 4;  // of a stream: smaller chunks fill what larger ones leave

}  // namespace

StreamDisk::StreamDisk(store::DiskTier* disk, planner::Calendar* calendar, uint32_t percent)
    : disk_(disk),
      calendar_(calendar),
      most_segments_(disk == nullptr ? 0 : disk->segments() * percent / 100) {}

Result<StreamDisk::Place> StreamDisk::Take(uint64_t stream, uint32_t bytes, Time now, Time until) {
  if (disk_ == nullptr) return Status::NoSpace("this node has no disk: see disk.directory");
  if (Disk::kBlock + bytes > disk_->segment_bytes()) {
    return Status::NoSpace("a chunk of " + FormatBytes(bytes) + " does not fit a segment of " +
                           FormatBytes(disk_->segment_bytes()) + "; raise disk.segment");
  }
  std::vector<uint32_t>& open = with_room_[stream];
  auto fits = [&](uint32_t segment) {
    return segments_[segment].end + bytes <= disk_->segment_bytes();
  };
  auto found = std::find_if(open.begin(), open.end(), fits);
  if (found == open.end()) {
    const Result<uint32_t> segment = Lend(stream, now, until);
    if (!segment.ok()) return segment.status();
    if (open.size() == kOpenSegments) open.erase(open.begin());
    open.push_back(*segment);
    found = open.end() - 1;
  }
  Lent& lent = segments_[*found];
  const Place place{*found, lent.end, bytes};
  lent.end = shm::AlignUp(lent.end + bytes, Disk::kBlock);
  return place;
}

Result<uint32_t> StreamDisk::Lend(uint64_t stream, Time now, Time until) {
  if (segments() >= most_segments_) {
    return Status::NoSpace("streams have " + std::to_string(segments()) +
                           " segments of the disk already, as many as they may; raise "
                           "limits.stream_disk_percent or disk.limit");
  }
  if (!calendar_->Reserve(disk_->LentBytes(), now, until)) {
    return Status::NoSpace(FormatBytes(calendar_->reserved()) + " of " +
                           FormatBytes(calendar_->capacity()) +
                           " of the disk are promised; raise disk.limit or wait for a job to end");
  }
  const uint32_t segment = disk_->Lend();
  if (segment == store::DiskSegments::kNone) {
    calendar_->Release(disk_->LentBytes(), until);
    return Status::NoSpace("no segment of the disk is free just now");
  }
  segments_[segment] = {.stream = stream, .until = until};
  return segment;
}

void StreamDisk::Write(const Place& place, ByteView bytes, std::function<void(Status)> done) {
  ++segments_.at(place.segment).busy;
  disk_->lent()->Write(place.segment, place.offset, {bytes},
                       [this, segment = place.segment, done = std::move(done)](Status status) {
                         Done(segment);
                         done(std::move(status));
                       });
}

void StreamDisk::Read(const Place& place, ByteSpan into,
                      std::function<void(Status, uint64_t)> done) {
  ++segments_.at(place.segment).busy;
  disk_->lent()->Read(
      place.segment, place.offset, into,
      [this, segment = place.segment, done = std::move(done)](Status status, uint64_t hash) {
        Done(segment);
        done(std::move(status), hash);
      });
}

void StreamDisk::Free(uint64_t stream) {
  with_room_.erase(stream);
  for (auto it = segments_.begin(); it != segments_.end();) {
    auto lent = it++;
    if (lent->second.stream != stream || lent->second.freed) continue;
    lent->second.freed = true;
    ++lent->second.busy;
    Done(lent->first);
  }
}

void StreamDisk::Done(uint32_t segment) {
  auto it = segments_.find(segment);
  if (--it->second.busy > 0 || !it->second.freed) return;
  calendar_->Release(disk_->LentBytes(), it->second.until);
  segments_.erase(it);
  disk_->GiveBack(segment);
}

}  // namespace holdfast::cached
