// SPDX-License-Identifier: Apache-2.0
#include "cached/copy_down.h"

#include <memory>
#include <utility>

namespace holdfast::cached {

void CopyDown::Add(const ObjectKey& key) {
  if (under_way_.contains(key)) return;
  if (context_->disk->Has(key.oid, key.version)) return commitments_->ArrivedBelow(key);
  const std::optional<store::RecordView> record = context_->tier->Find(key.oid, key.version);
  HF_CHECK(record.has_value());
  Copy copy{.key = key,
            .head = {.entry = {.oid = key.oid,
                               .version = key.version,
                               .size = record->payload.size(),
                               .loaded_us = context_->disk->Stamp({}),
                               .name_bytes = static_cast<uint16_t>(record->name.size()),
                               .etag_bytes = static_cast<uint16_t>(record->etag.size())},
                     .payload_hash = record->payload_hash,
                     .name = std::string(record->name),
                     .etag = std::string(record->etag)},
            .payload = Buffer::CopyOf(record->payload)};
  under_way_.insert(key);
  bytes_ += copy.payload.size();
  next_bytes_ += copy.payload.size();
  next_.push_back(std::move(copy));
  if (next_bytes_ >= kAtOnce) return Write();
  WriteSoon(kTogether);
}

void CopyDown::WriteSoon(Duration wait) {
  if (std::exchange(scheduled_, true)) return;
  context_->env.clock->At(context_->Now() + wait, [this] {
    scheduled_ = false;
    Write();
  });
}

void CopyDown::Write() {
  if (next_.empty()) return;
  next_bytes_ = 0;
  auto copies = std::make_shared<Copies>(std::exchange(next_, {}));
  std::vector<store::DiskWriter::Item> items;
  for (const Copy& copy : *copies)
    items.push_back({.head = copy.head, .payload = copy.payload.view(), .whole = {}});
  context_->disk->Take(std::move(items), [this, copies] { Wrote(std::move(*copies)); });
}

void CopyDown::Wrote(Copies copies) {
  for (Copy& copy : copies) {
    const ObjectKey key = copy.key;
    if (context_->disk->Has(key.oid, key.version)) {
      Leave(copy);
      commitments_->ArrivedBelow(key);
    } else if (copy.tries++ < kRetries && commitments_->WantedBelow(key)) {
      next_.push_back(std::move(copy));  // reclaim makes room
    } else {
      Leave(copy);
      commitments_->FailedBelow(
          key, Status::NoSpace("the disk takes nothing just now; see `holdfast status`"));
    }
  }
  if (!next_.empty()) WriteSoon(kRetry);
  moved_();
}

void CopyDown::Leave(const Copy& copy) {
  under_way_.erase(copy.key);
  bytes_ -= copy.payload.size();
}

}  // namespace holdfast::cached
