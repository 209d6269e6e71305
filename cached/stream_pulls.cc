// SPDX-License-Identifier: Apache-2.0
#include "cached/stream_pulls.h"

#include <utility>
#include <vector>

#include "base/uri.h"
#include "wire/stream_chunk.h"

namespace holdfast::cached {

// --- 1. Keep -------------------------------------------------------------------------------------

void StreamPulls::Keep(PeerId from, const wire::StreamKeep& keep) {
  Result<StreamRoom*> room = rooms_->Open(keep.terms);
  if (!room.ok()) return Reply(from, keep, room.status(), false);
  if (auto it = (*room)->chunks.find(IdOf(keep)); it != (*room)->chunks.end()) {
    const bool same = it->second.key.version == keep.hash;
    return Reply(from, keep, same ? Status() : Status::Invalid("another chunk has its number"),
                 same && !it->second.kept);
  }
  const uint64_t buffered = buffer_bytes_ + keep.bytes;
  if (keep.on_disk && buffer_bytes_ > 0 && buffered > max_buffer_bytes_) {
    return Reply(from, keep, {}, true);  // it asks again
  }
  Status begun = Begin(from, keep);
  if (!begun.ok()) Reply(from, keep, begun, false);
}

Status StreamPulls::Begin(PeerId from, const wire::StreamKeep& keep) {
  if (keep.bytes <= stream::kTrailerBytes || keep.bytes > stream::kMostChunkBytes ||
      keep.hash == 0 || keep.writer == 0 || keep.shelf.empty()) {
    return Status::Invalid("a chunk that no writer would offer");
  }
  const uint64_t id = ++last_pull_;
  Pull pull{.from = from, .keep = keep};
  StreamRoom* room = rooms_->Find(keep.terms.stream);
  Result<StreamChunk*> chunk = rooms_->Take(room, IdOf(keep), keep.bytes, keep.hash, keep.on_disk);
  if (!chunk.ok()) return chunk.status();
  (*chunk)->attempt = id;
  if (keep.on_disk) {
    pull.place = (*chunk)->place;
    pull.buffer = Buffer(keep.bytes);
    buffer_bytes_ += keep.bytes;
    Pull& put = pulls_.emplace(id, std::move(pull)).first->second;
    Read(id, put.buffer.span());
    return {};
  }
  const std::string name = wire::ChunkName(keep.terms.stream, keep.writer, keep.number);
  Result<store::MemoryTier::Slot> slot = context_->tier->Allocate({.oid = (*chunk)->key.oid,
                                                                   .version = keep.hash,
                                                                   .size = keep.bytes,
                                                                   .name = name,
                                                                   .etag = {}},
                                                                  context_->Now(), room->expires);
  if (!slot.ok()) {
    rooms_->GiveUp(room, IdOf(keep));
    // Too large for a segment is a question of this tier, too.
    return Status::NoSpace(slot.status().message());
  }
  pull.slot = slot->id;
  pulls_.emplace(id, std::move(pull));
  Read(id, slot->payload);
  return {};
}

// --- 2. Read -------------------------------------------------------------------------------------

void StreamPulls::Read(uint64_t id, ByteSpan into) {
  const wire::StreamKeep& keep = pulls_.at(id).keep;
  const std::string name = wire::ChunkName(keep.terms.stream, keep.writer, keep.number);
  std::vector<BulkItem> items;
  items.push_back({.oid = OidOf(name),
                   .version = keep.hash,
                   .size = keep.bytes,
                   .name = {},
                   .etag = {},
                   .into = into});
  context_->env.network->BulkRead(
      keep.shelf, BulkMode::kLook, std::move(items), context_->Now() + kReadTime,
      [this, id](size_t, const BulkOutcome& outcome) { OnRead(id, outcome); });
}

// After an end and a new beginning the books may have a younger attempt: this one's place may be
// somebody else's by then.
StreamChunk* StreamPulls::ChunkOf(uint64_t id, const Pull& pull) const {
  StreamRoom* room = rooms_->Find(pull.keep.terms.stream);
  if (room == nullptr) return nullptr;
  auto it = room->chunks.find(IdOf(pull.keep));
  const bool this_one = it != room->chunks.end() && !it->second.kept && it->second.attempt == id;
  return this_one ? &it->second : nullptr;
}

void StreamPulls::OnRead(uint64_t id, const BulkOutcome& outcome) {
  Pull& pull = pulls_.at(id);
  Status status = outcome.status;
  const uint64_t hash = outcome.hash == 0 ? 1 : outcome.hash;
  if (status.ok() && (outcome.size != pull.keep.bytes || hash != pull.keep.hash)) {
    status = Status::Corrupt("the chunk on the shelf is not the one that was offered");
  }
  StreamChunk* chunk = ChunkOf(id, pull);
  if (status.ok() && chunk == nullptr) status = Status::NotFound("the stream ended meanwhile");
  if (!status.ok()) return End(id, status.Annotate("reading from " + pull.keep.shelf));
  if (!pull.keep.on_disk) {
    context_->tier->Commit(std::exchange(pull.slot, 0), outcome.hash, 1);
    return End(id, {});
  }
  rooms_->disk().Write(pull.place, pull.buffer.view(),
                       [this, id](const Status& written) { OnWritten(id, written); });
}

// --- 3. Write ------------------------------------------------------------------------------------

void StreamPulls::OnWritten(uint64_t id, const Status& written) {
  if (!written.ok()) return End(id, Status::NoSpace("the disk: " + written.message()));
  if (ChunkOf(id, pulls_.at(id)) == nullptr) return End(id, Status::NotFound("the stream ended"));
  End(id, {});
}

// --- 4. Kept -------------------------------------------------------------------------------------

void StreamPulls::End(uint64_t id, const Status& status) {
  const Pull pull = std::move(pulls_.extract(id).mapped());
  buffer_bytes_ -= pull.buffer.size();
  if (pull.slot != 0) context_->tier->Abort(pull.slot);
  if (StreamChunk* chunk = ChunkOf(id, pull)) {
    if (status.ok()) {
      rooms_->Kept(chunk);
    } else {
      rooms_->GiveUp(rooms_->Find(pull.keep.terms.stream), IdOf(pull.keep));
    }
  }
  Reply(pull.from, pull.keep, status, false);
}

void StreamPulls::Reply(PeerId to, const wire::StreamKeep& keep, const Status& status,
                        bool pending) const {
  const StreamRoom* room = rooms_->Find(keep.terms.stream);
  context_->Send(to, wire::StreamKept{
                         .id = keep.id,
                         .pending = pending,
                         .room_bytes = room == nullptr ? 0 : rooms_->RoomLeft(*room, keep.on_disk),
                         .status = status});
}

}  // namespace holdfast::cached
