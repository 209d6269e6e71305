// SPDX-License-Identifier: Apache-2.0
#include "jobclient/client/own_disk.h"

#include <algorithm>
#include <utility>

namespace holdfast::client {

void OwnDisk::Read(const std::string& endpoint, BulkMode mode, std::vector<BulkItem> items,
                   Time deadline, std::function<void(size_t, BulkOutcome)> each) {
  if (loop_->Now().us < rest_until_us_.load(std::memory_order_relaxed)) {
    return bulk_->Read(endpoint, mode, std::move(items), deadline, std::move(each));
  }
  KeepDeadline(deadline);
  auto batch = std::make_shared<Batch>(Batch{endpoint, mode, items, deadline, each});
  bulk_->Read(endpoint, mode, std::move(items), deadline, std::move(each),
              [this, batch](size_t index, disk::Place place) { Placed(batch, index, place); });
}

void OwnDisk::Placed(const BatchPtr& batch, size_t index, disk::Place place) {
  const BulkItem& item = batch->items[index];
  if (item.into.empty() && item.size > 0) {  // who has no room wanted to know where it is
    return batch->each(index, {.status = Status::NoSpace("it is on the node's disk"),
                               .version = item.version,
                               .size = item.size,
                               .own_disk = true});
  }
  reader_.Read(place,
               {.oid = item.oid, .version = item.version, .size = item.size, .into = item.into},
               batch->deadline, [this, batch, index](disk::RecordReader::Outcome outcome) {
                 Landed(batch, index, std::move(outcome));
               });
}

void OwnDisk::Landed(const BatchPtr& batch, size_t index, disk::RecordReader::Outcome outcome) {
  const Code code = outcome.status.code();
  const bool tells =
      outcome.status.ok() || code == Code::kTimeout || (code == Code::kNoSpace && outcome.size > 0);
  if (!tells) return AskForBytes(batch, index, outcome.file_failed);
  if (outcome.status.ok()) {
    objects_.fetch_add(1, std::memory_order_relaxed);
    bytes_.fetch_add(outcome.size, std::memory_order_relaxed);
  }
  const bool timed_out = code == Code::kTimeout;
  if (timed_out) {  // a disk that hangs: the node may have it elsewhere
    failed_.fetch_add(1, std::memory_order_relaxed);
    rest_until_us_.store((bulk::BulkClient::Now() + kRest).us, std::memory_order_relaxed);
  }
  batch->each(index, {.status = std::move(outcome.status),
                      .version = outcome.version,
                      .size = outcome.size,
                      .hash = outcome.hash,
                      .answered = !timed_out,
                      .own_disk = true});
}

void OwnDisk::AskForBytes(const BatchPtr& batch, size_t index, bool file_failed) {
  (file_failed ? failed_ : missed_).fetch_add(1, std::memory_order_relaxed);
  if (file_failed)
    rest_until_us_.store((bulk::BulkClient::Now() + kRest).us, std::memory_order_relaxed);
  std::vector<BulkItem> again;
  again.push_back(batch->items[index]);
  bulk_->Read(
      batch->endpoint, batch->mode, std::move(again), batch->deadline,
      [batch, index](size_t, BulkOutcome outcome) { batch->each(index, std::move(outcome)); });
}

// The deadline of what the disk reads, too: as long as something may be under way it is looked at now
// and then.
void OwnDisk::KeepDeadline(Time deadline) {
  last_deadline_ = std::max(last_deadline_, deadline);
  if (std::exchange(ticking_, true)) return;
  loop_->At(loop_->Now() + kTick, [this] { Tick(); });
}

void OwnDisk::Tick() {
  const Time now = loop_->Now();
  ticking_ = false;
  reader_.Expire(now);
  if (now <= last_deadline_ + kTick) KeepDeadline(last_deadline_);
}

OwnDiskReads OwnDisk::reads() const {
  return {.objects = objects_.load(std::memory_order_relaxed),
          .bytes = bytes_.load(std::memory_order_relaxed),
          .missed = missed_.load(std::memory_order_relaxed),
          .failed = failed_.load(std::memory_order_relaxed)};
}

}  // namespace holdfast::client
