// SPDX-License-Identifier: Apache-2.0
#include "cached/drop_flow.h"

namespace holdfast::cached {

bool DropFlow::Step() {
  store::MemoryTier& tier = *context_->tier;
  auto look = [this](const store::RecordView& record, bool held) { LookAt(record, held); };
  bool by_name = !drop_.prefix.empty();
  size_t end = by_name ? tier.Stats().segments : drop_.oids.size() / 16;
  size_t last = std::min(end, next_ + (by_name ? 1 : kOidsPerStep));
  ColumnView<uint64_t> words(drop_.oids.view());
  const size_t begin = next_;
  for (; next_ < last; ++next_) {
    if (by_name) {
      tier.ForEachIn(static_cast<uint32_t>(next_), look);
    } else {
      tier.ForEachVersion({words[2 * next_], words[2 * next_ + 1]}, look);
    }
  }
  for (const ObjectKey& key : victims_) tier.Drop(key.oid, key.version);
  if (context_->disk != nullptr) DropOnDisk(by_name ? 0 : begin, by_name ? 0 : last);
  victims_.clear();
  if (next_ < end) return true;
  context_->Send(peer_, reply_);
  return false;
}

// All versions of what was named, and the copies of what was dropped from memory. What lies on the
// disk alone is not found by a prefix: its name is there, and only there.
void DropFlow::DropOnDisk(size_t begin, size_t end) {
  ColumnView<uint64_t> words(drop_.oids.view());
  for (const ObjectKey& key : victims_) context_->disk->Drop(key.oid, key.version);
  for (size_t i = begin; i < end; ++i) {
    const Oid oid{words[2 * i], words[2 * i + 1]};
    reply_.dropped_objects += context_->disk->Drop(oid, 0);
    reply_.held_objects += context_->disk->IsHeld(oid, 0) ? 1 : 0;
  }
}

void DropFlow::LookAt(const store::RecordView& record, bool held) {
  if (!drop_.prefix.empty() && !record.name.starts_with(drop_.prefix)) return;
  if (held) {
    ++reply_.held_objects;
    return;
  }
  ++reply_.dropped_objects;
  reply_.dropped_bytes += record.payload.size();
  victims_.push_back({record.oid, record.version});
}

}  // namespace holdfast::cached
