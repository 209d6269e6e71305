// SPDX-License-Identifier: Apache-2.0
#include "cached/stream_rooms.h"

#include <algorithm>
#include <string>

#include "base/uri.h"

namespace holdfast::cached {
namespace {

// Of a chunk in the books: two nodes of a tree.
constexpr uint64_t kBookBytes = 224;

}  // namespace

StreamRooms::StreamRooms(const Context* context, planner::Calendar* calendar,
                         planner::Calendar* below)
    : context_(context),
      calendar_(calendar),
      disk_(context->disk, below, context->options.stream_disk_percent) {}

Result<StreamRoom*> StreamRooms::Open(const wire::StreamTerms& terms) {
  if (terms.stream == 0) return Status::Invalid("a stream's number is not 0");
  if (StreamRoom* room = Find(terms.stream)) return room;
  if (dropped_.contains(terms.stream)) return Status::NotFound("the stream was removed");
  if (terms.expires_in <= Duration(0)) return Status::NotFound("the stream has expired");
  if (rooms_.size() == kMaxStreams) {
    return Status::NoSpace("node " + std::to_string(context_->options.node) + " keeps " +
                           std::to_string(kMaxStreams) + " streams already");
  }
  StreamRoom room{
      .terms = terms,
      .expires = context_->Now() + std::min(terms.expires_in, context_->options.max_hold),
      .chunks = {}};
  return &rooms_.emplace(terms.stream, std::move(room)).first->second;
}

StreamRoom* StreamRooms::Find(uint64_t stream) {
  auto it = rooms_.find(stream);
  return it == rooms_.end() ? nullptr : &it->second;
}

uint64_t StreamRooms::RoomLeft(const StreamRoom& room, bool on_disk) const {
  const uint64_t limit = on_disk ? room.terms.disk_bytes : room.terms.memory_bytes;
  const uint64_t used = on_disk ? room.disk_used : room.memory_used;
  const uint64_t left = limit > used ? limit - used : 0;
  return on_disk ? left : std::min(left, calendar_->Room());
}

Result<StreamChunk*> StreamRooms::Take(StreamRoom* room, const ChunkId& id, uint32_t bytes,
                                       uint64_t hash, bool on_disk) {
  const std::string name = wire::ChunkName(room->terms.stream, id.first, id.second);
  StreamChunk chunk{.key = {OidOf(name), hash}, .bytes = bytes, .on_disk = on_disk};
  const uint64_t record = shm::RecordBytes(bytes, name.size(), 0);
  const uint64_t cost = on_disk ? bytes : record;
  const uint64_t limit = on_disk ? room->terms.disk_bytes : room->terms.memory_bytes;
  const uint64_t used = on_disk ? room->disk_used : room->memory_used;
  const std::string here = " on node " + std::to_string(context_->options.node);
  if (used + cost > limit) {
    return Status::NoSpace("the stream has " + FormatBytes(used) + " of its " + FormatBytes(limit) +
                           (on_disk ? " of disk" : " of memory") + here);
  }
  if (on_disk) {
    Result<StreamDisk::Place> place =
        disk_.Take(room->terms.stream, bytes, context_->Now(), room->expires);
    if (!place.ok()) return place.status();
    chunk.place = *place;
    room->disk_used += cost;
  } else {
    chunk.reserved = std::max(record, context_->least_record_bytes);
    if (!calendar_->Reserve(chunk.reserved, context_->Now(), room->expires)) {
      return Status::NoSpace(FormatBytes(calendar_->reserved()) + " of " +
                             FormatBytes(calendar_->capacity()) + " are promised" + here);
    }
    reserved_ += chunk.reserved;
    chunk.record = record;
    room->memory_used += record;
  }
  by_oid_[chunk.key.oid] = {room->terms.stream, id};
  return &room->chunks.emplace(id, chunk).first->second;
}

void StreamRooms::Release(StreamRoom* room, const StreamChunk& chunk) {
  by_oid_.erase(chunk.key.oid);
  if (chunk.on_disk) {
    room->disk_used -= chunk.bytes;  // its place stays empty until the stream ends
  } else {
    calendar_->Release(chunk.reserved, room->expires);
    reserved_ -= chunk.reserved;
    room->memory_used -= chunk.record;
  }
  if (!chunk.kept) return;
  if (!chunk.on_disk) context_->tier->Unhold(chunk.key.oid, chunk.key.version);
  context_->tier->Drop(chunk.key.oid, chunk.key.version);
}

void StreamRooms::GiveUp(StreamRoom* room, const ChunkId& id) {
  auto it = room->chunks.find(id);
  if (it == room->chunks.end()) return;
  Release(room, it->second);
  room->chunks.erase(it);
}

StreamRooms::Freed StreamRooms::Drop(uint64_t stream) {
  if (dropped_.size() < kMaxRemembered) dropped_[stream] = context_->Now() + kRemembered;
  return Free(stream);
}

StreamRooms::Freed StreamRooms::Free(uint64_t stream) {
  Freed freed;
  auto it = rooms_.find(stream);
  if (it == rooms_.end()) return freed;
  StreamRoom& room = it->second;
  while (!room.chunks.empty()) {
    ++freed.chunks;
    freed.bytes += room.chunks.begin()->second.bytes;
    GiveUp(&room, room.chunks.begin()->first);
  }
  disk_.Free(stream);
  rooms_.erase(it);
  return freed;
}

void StreamRooms::Expire() {
  const Time now = context_->Now();
  for (auto it = rooms_.begin(); it != rooms_.end();) {
    const auto room = it++;
    if (room->second.expires <= now) Free(room->first);
  }
  std::erase_if(dropped_, [now](const auto& entry) { return entry.second <= now; });
}

std::optional<StreamRooms::Found> StreamRooms::FindChunk(const ObjectKey& key) const {
  auto where = by_oid_.find(key.oid);
  if (where == by_oid_.end()) return std::nullopt;
  const StreamRoom& room = rooms_.at(where->second.stream);
  const StreamChunk& chunk = room.chunks.at(where->second.id);
  if (!chunk.kept || (key.version != 0 && key.version != chunk.key.version)) return std::nullopt;
  return Found{where->second.stream, where->second.id, &chunk, room.expires};
}

uint64_t StreamRooms::memory_bytes() const {
  return by_oid_.size() * kBookBytes + rooms_.size() * sizeof(StreamRoom);
}

Status StreamRooms::CheckBooks() const {
  uint64_t reserved = 0, chunks = 0;
  for (const auto& [stream, room] : rooms_) {
    uint64_t memory = 0, disk = 0;
    for (const auto& [id, chunk] : room.chunks) {
      memory += chunk.record;
      disk += chunk.on_disk ? chunk.bytes : 0;
      reserved += chunk.reserved;
      ++chunks;
    }
    if (memory != room.memory_used || disk != room.disk_used) {
      return Status::Corrupt("the room of a stream is miscounted");
    }
    if (memory > room.terms.memory_bytes || disk > room.terms.disk_bytes) {
      return Status::NoSpace("a stream has more than its limits");
    }
  }
  if (reserved != reserved_ || chunks != by_oid_.size()) {
    return Status::Corrupt("the books of streams are wrong");
  }
  return {};
}

}  // namespace holdfast::cached
