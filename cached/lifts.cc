// SPDX-License-Identifier: Apache-2.0
#include "cached/lifts.h"

#include <memory>
#include <utility>

namespace holdfast::cached {

// --- 1. Begin ------------------------------------------------------------------------------------

void Lifts::Take(std::vector<disk::Entry> entries, std::function<void(const Bitmap& taken)> done) {
  HF_CHECK(!batch_);
  batch_.emplace();
  batch_->entries = std::move(entries);
  batch_->done = std::move(done);
  context_->env.clock->At(context_->Now(), [this] { Begin(); });
}

void Lifts::Begin() {
  Batch& batch = *batch_;
  while (batch.under_way < kAtOnce && batch.begun < batch.entries.size()) {
    const size_t i = batch.begun++;
    if (IsHere(batch.entries[i])) continue;
    ++batch.under_way;
    Look(i);
  }
  if (batch.under_way == 0) End();
}

bool Lifts::IsHere(const disk::Entry& entry) const {
  return context_->tier->Find(entry.oid, entry.version).has_value();
}

// --- 2. Look -------------------------------------------------------------------------------------

void Lifts::Look(size_t i) {
  const disk::Entry& entry = batch_->entries[i];
  context_->disk->Look(
      entry.oid, entry.version, entry.end() - entry.offset,
      [this, i](Result<store::DiskTier::Found> found) { Read(i, std::move(found)); });
}

// --- 3. Read -------------------------------------------------------------------------------------

void Lifts::Read(size_t i, Result<store::DiskTier::Found> found) {
  const disk::Entry& entry = batch_->entries[i];
  if (found.status().code() == Code::kTimeout) BeginNoMore();
  if (!found.ok() || !disk::CheckHead(found->head, entry.oid, entry.version).ok()) return Ended();
  const auto shared = std::make_shared<store::DiskTier::Found>(*std::move(found));
  const disk::Head& head = shared->head;
  const Result<store::MemoryTier::Slot> slot = context_->tier->Allocate(
      {.oid = entry.oid,
       .version = entry.version,
       .size = head.entry.size,
       .name = head.name,
       .etag = head.etag,
       .age = head.entry.Age(context_->env.clock->Wall().seconds * 1'000'000)},
      context_->Now(), std::nullopt);
  if (!slot.ok()) return Ended();
  context_->disk->Read(
      *shared, slot->payload,
      [this, i, shared, id = slot->id](const Status& read) { Keep(i, id, shared->head, read); });
}

void Lifts::Keep(size_t i, uint64_t slot, const disk::Head& head, const Status& read) {
  const disk::Entry& entry = batch_->entries[i];
  if (read.code() == Code::kTimeout) BeginNoMore();
  // It may have been dropped while it was read.
  if (!read.ok() || !context_->disk->HasRecord(entry.oid, entry.version)) {
    context_->tier->Abort(slot);
    return Ended();
  }
  context_->tier->Commit(slot, head.payload_hash, 0, head.expires_s);
  if (IsHere(entry)) {  // else the index had no place for it
    context_->tier->MarkRead(entry.oid, entry.version);
    context_->disk->LeftByOutlet(entry.oid, entry.version);
    commitments_->Arrived({entry.oid, entry.version});
    ++counters_.objects;
    counters_.bytes += head.entry.size;
  }
  Ended();
}

// A disk elsewhere that does not answer.
void Lifts::BeginNoMore() { batch_->begun = batch_->entries.size(); }

// --- 4. End --------------------------------------------------------------------------------------

void Lifts::Ended() {
  --batch_->under_way;
  Begin();
}

// What came first may have left memory again by now.
void Lifts::End() {
  const Batch ended = *std::exchange(batch_, std::nullopt);
  Bitmap taken(ended.entries.size());
  for (size_t i = 0; i < ended.entries.size(); ++i) {
    if (IsHere(ended.entries[i])) taken.Set(i);
  }
  ended.done(taken);
}

}  // namespace holdfast::cached
