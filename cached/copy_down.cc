// SPDX-License-Identifier: Apache-2.0
#include "cached/copy_down.h"

#include <memory>
#include <utility>

namespace holdfast::cached {

void CopyDown::Add(const ObjectKey& key) {
  if (under_way_.contains(key)) return;
  if (context_->disk->HasRecord(key.oid, key.version)) return done_(key, {});
  const std::optional<store::RecordView> record = context_->tier->Find(key.oid, key.version);
  HF_CHECK(record.has_value());
  Copy copy{
      .key = key, .payload = Buffer::CopyOf(record->payload), .until = context_->Now() + kPatience};
  copy.item = store::DiskWriter::ItemOf(key.oid, key.version, record->name, record->etag,
                                        copy.payload.view(), record->payload_hash,
                                        context_->disk->Stamp({}), record->expires_s);
  under_way_.insert(key);
  bytes_ += copy.payload.size();
  next_bytes_ += copy.payload.size();
  next_.push_back(std::move(copy));
  auto write = [this] {
    next_bytes_ = 0;
    Write(std::exchange(next_, {}));
  };
  if (next_bytes_ >= kAtOnce) return write();
  if (std::exchange(scheduled_, true)) return;
  context_->env.clock->At(context_->Now() + kTogether, [this, write] {
    scheduled_ = false;
    write();
  });
}

void CopyDown::Write(Copies copies) {
  if (copies.empty()) return;
  auto written = std::make_shared<Copies>(std::move(copies));
  std::vector<store::DiskWriter::Item> items;
  for (const Copy& copy : *written) items.push_back(copy.item);
  context_->disk->Take(std::move(items), [this, written] { Wrote(std::move(*written)); });
}

void CopyDown::Wrote(Copies copies) {
  auto again = std::make_shared<Copies>();
  for (Copy& copy : copies) {
    const bool hope = context_->disk->writable() && context_->Now() < copy.until;
    if (context_->disk->HasRecord(copy.key.oid, copy.key.version)) {
      Done(copy, {});
    } else if (hope && wanted_(copy.key)) {
      again->push_back(std::move(copy));  // reclaim makes room
    } else {
      Done(copy, Status::NoSpace("the disk takes nothing just now; see `holdfast status`"));
    }
  }
  if (again->empty()) return;
  context_->env.clock->At(context_->Now() + kRetry, [this, again] { Write(std::move(*again)); });
}

void CopyDown::Done(const Copy& copy, const Status& status) {
  under_way_.erase(copy.key);
  bytes_ -= copy.payload.size();
  done_(copy.key, status);
}

}  // namespace holdfast::cached
