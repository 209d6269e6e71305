// SPDX-License-Identifier: Apache-2.0
#include "cached/store/fallback_mover.h"

#include <algorithm>
#include <utility>

namespace holdfast::store {
namespace {

// Of a larger record the head is looked at.
constexpr uint64_t kMostSample = 128 * kKiB;

// Is this a record's beginning, or all of it, as it should be?
bool Agrees(ByteView bytes, const disk::Entry& record, uint64_t segment_bytes) {
  if (bytes.size() == record.end() - record.offset) return IsRecord(bytes, record, segment_bytes);
  Result<disk::Head> head = disk::DecodeHead(bytes, record.offset, segment_bytes);
  return head.ok() && head->entry.oid == record.oid && head->entry.version == record.version;
}

}  // namespace

void FallbackMover::Move(SegmentMove move, std::function<void(Moved)> done) {
  auto work = std::make_shared<Work>();
  work->move = std::move(move);
  work->done = std::move(done);
  if (elsewhere_ == nullptr || work->move.from_copy || env_.clock->Now() < rests_until_)
    return MoveHere(work);
  elsewhere_->Move(work->move, [this, work](Moved moved) {
    work->moved = std::move(moved);
    MovedElsewhere(work);
  });
}

void FallbackMover::MovedElsewhere(const std::shared_ptr<Work>& work) {
  const std::vector<disk::Entry>& records = work->move.records;
  Status moved = work->moved.status;
  if (moved.ok() && work->moved.right.Count() < records.size())
    moved = Status::Corrupt("not all records are right, it says");  // which is not believed
  if (!moved.ok()) {
    ++counters_.failed;
    Rest(rest_, moved);
    if (moved.code() == Code::kTimeout) rest_ = std::min(2 * rest_, kMostRest);
    return MoveHere(work);
  }
  const size_t sampled = env_.random->Below(records.size());
  disk::Entry sample = records[sampled];
  sample.offset = work->move.offset;
  for (size_t i = 0; i < sampled; ++i) sample.offset += records[i].end() - records[i].offset;
  Check(work, sample);
}

void FallbackMover::Check(const std::shared_ptr<Work>& work, const disk::Entry& record) {
  const uint64_t bytes = record.end() - record.offset;
  work->sample = Buffer(bytes <= kMostSample ? bytes : disk::kMostHead);
  disk_->Read(work->move.to, record.offset, work->sample.span(),
              [this, work, record](const Status& read, uint64_t) {
                if (!read.ok()) return MoveHere(work);  // which says what is the matter
                if (!Agrees(work->sample.view(), record, disk_->segment_bytes())) {
                  ++counters_.wrong;
                  Rest(kDistrust, Status::Corrupt("a record is not where it was said to be"));
                  return MoveHere(work);
                }
                ++counters_.elsewhere;
                rest_ = kRest;
                if (std::exchange(failing_, false))
                  env_.log->Info("the bytes of reclaim are moved elsewhere again");
                work->done(std::move(work->moved));
              });
}

// At the same place: nobody else writes there any more.
void FallbackMover::MoveHere(const std::shared_ptr<Work>& work) {
  ++counters_.here;
  here_.Move(std::move(work->move), std::move(work->done));
}

void FallbackMover::Rest(Duration rest, const Status& why) {
  rests_until_ = std::max(rests_until_, env_.clock->Now() + rest);
  if (std::exchange(failing_, true) && rest != kDistrust) return;
  env_.log->Warn("the bytes of reclaim are moved by this node, until it is done elsewhere: " +
                 why.message());
}

}  // namespace holdfast::store
