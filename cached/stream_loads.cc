// SPDX-License-Identifier: Apache-2.0
#include "cached/stream_loads.h"

#include <utility>

namespace holdfast::cached {

// --- 1. Want -------------------------------------------------------------------------------------

bool StreamLoads::Want(const ObjectKey& key, const std::function<void(Status)>& done) {
  const std::optional<StreamRooms::Found> found = rooms_->FindChunk(key);
  if (!found || !found->chunk->on_disk) return false;
  const ObjectKey exact = found->chunk->key;
  auto it = waiting_.find(exact);
  if (it != waiting_.end()) {
    it->second.push_back(done);
    return true;
  }
  const bool here = context_->tier->Find(exact.oid, exact.version).has_value();
  if (here || waiting_.size() >= kMostWaiting) {
    const Status status =
        here ? Status() : Status::NoSpace("too many chunks of streams are waited for");
    context_->env.clock->At(context_->Now(), [done, status] { done(status); });
    return true;
  }
  waiting_[exact].push_back(done);
  queue_.push_back(exact);
  context_->env.clock->At(context_->Now(), [this] { Next(); });
  return true;
}

// --- 2. Read -------------------------------------------------------------------------------------

void StreamLoads::Next() {
  while (reading_ < kAtOnce && !queue_.empty()) {
    const ObjectKey key = queue_.front();
    queue_.pop_front();
    Read(key);
  }
}

void StreamLoads::Read(const ObjectKey& key) {
  ++reading_;
  const std::optional<StreamRooms::Found> found = rooms_->FindChunk(key);
  if (!found) return End(key, Status::NotFound("the stream ended meanwhile"));
  const std::string name = wire::ChunkName(found->stream, found->id.first, found->id.second);
  Result<store::MemoryTier::Slot> slot = context_->tier->Allocate({.oid = key.oid,
                                                                   .version = key.version,
                                                                   .size = found->chunk->bytes,
                                                                   .name = name,
                                                                   .etag = {}},
                                                                  context_->Now(), std::nullopt);
  if (!slot.ok()) return End(key, slot.status());
  rooms_->disk().Read(
      found->chunk->place, slot->payload,
      [this, key, id = slot->id](const Status& read, uint64_t hash) {
        const bool right = read.ok() && (hash == 0 ? 1 : hash) == key.version;
        if (right) {
          context_->tier->Commit(id, hash, 0);
          return End(key, {});
        }
        context_->tier->Abort(id);
        End(key, Status::NotFound("the disk has lost it: " +
                                  (read.ok() ? "other bytes than were written" : read.message())));
      });
}

// --- 3. Done -------------------------------------------------------------------------------------

void StreamLoads::End(const ObjectKey& key, const Status& status) {
  --reading_;
  const Waiters waiters = std::move(waiting_.extract(key).mapped());
  for (const auto& done : waiters) done(status);
  if (!queue_.empty()) context_->env.clock->At(context_->Now(), [this] { Next(); });
}

}  // namespace holdfast::cached
