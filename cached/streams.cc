// SPDX-License-Identifier: Apache-2.0
#include "cached/streams.h"

#include <nlohmann/json.hpp>

namespace holdfast::cached {
namespace {

// Of the planning memory.
constexpr uint64_t kCataloguePart = 8;
constexpr uint64_t kBufferPart = 8;
constexpr uint64_t kMostBuffered = 32 * kMiB;

std::string Hex(uint64_t number) {
  char text[20];
  std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(number));
  return text;
}

}  // namespace

Streams::Streams(const Context* context, planner::Calendar* calendar, planner::Calendar* below)
    : context_(context),
      catalogues_(context, context->options.max_planning_bytes / kCataloguePart),
      rooms_(context, calendar, below),
      pulls_(context, &rooms_,
             std::min(context->options.max_planning_bytes / kBufferPart, kMostBuffered)),
      loads_(context, &rooms_) {}

void Streams::On(PeerId from, const wire::StreamOpen& open) {
  context_->Send(from, catalogues_.Open(open));
}

void Streams::On(PeerId from, const wire::StreamQuery& query) {
  context_->Send(from, catalogues_.Query(query));
}

void Streams::On(PeerId from, const wire::StreamAppend& append) {
  context_->Send(from, catalogues_.Append(append));
}

void Streams::On(PeerId from, const wire::StreamDrop& drop) {
  const uint64_t named = catalogues_.Drop(drop.stream, drop.name);
  const uint64_t stream = drop.stream != 0 ? drop.stream : named;
  const StreamRooms::Freed freed = stream == 0 ? StreamRooms::Freed() : rooms_.Drop(stream);
  context_->Send(from,
                 wire::StreamDropped{
                     .id = drop.id, .stream = named, .chunks = freed.chunks, .bytes = freed.bytes});
}

void Streams::On(PeerId from, const wire::StreamList& list) {
  context_->Send(from, wire::StreamListed{.id = list.id, .json = Json()});
}

void Streams::Expire() {
  catalogues_.Expire();
  rooms_.Expire();
}

Time Streams::HeldUntil(const ObjectKey& key) const {
  const std::optional<StreamRooms::Found> found = rooms_.FindChunk(key);
  return found && !found->chunk->on_disk ? found->until : Time{};
}

uint64_t Streams::memory_bytes() const {
  return catalogues_.memory_bytes() + rooms_.memory_bytes() + pulls_.memory_bytes();
}

std::string Streams::Json() const {
  using Json = nlohmann::ordered_json;
  using Phase = wire::StreamWriterPhase;
  Json catalogues = Json::array(), rooms = Json::array();
  const Time now = context_->Now();
  for (const auto& [stream, catalogue] : catalogues_.all()) {
    catalogues.push_back({{"name", catalogue.name},
                          {"stream", Hex(stream)},
                          {"records", catalogue.records()},
                          {"bytes", catalogue.bytes()},
                          {"chunks", catalogue.entries.size()},
                          {"copies", catalogue.terms.copies},
                          {"writers", catalogue.terms.writers},
                          {"writing", catalogue.InPhase(Phase::kWriting)},
                          {"ended", catalogue.InPhase(Phase::kEnded)},
                          {"gone", catalogue.InPhase(Phase::kGone)},
                          {"complete", catalogue.complete()},
                          {"expires_in_s", (catalogue.expires - now).count() / 1'000'000}});
  }
  for (const auto& [stream, room] : rooms_.rooms()) {
    rooms.push_back({{"stream", Hex(stream)},
                     {"chunks", room.chunks.size()},
                     {"memory_bytes", room.memory_used},
                     {"memory_limit", room.terms.memory_bytes},
                     {"disk_bytes", room.disk_used},
                     {"disk_limit", room.terms.disk_bytes},
                     {"expires_in_s", (room.expires - now).count() / 1'000'000}});
  }
  Json json{{"node", context_->options.node},
            {"incarnation", context_->options.incarnation},
            {"catalogues", std::move(catalogues)},
            {"rooms", std::move(rooms)}};
  return json.dump();
}

}  // namespace holdfast::cached
