// SPDX-License-Identifier: Apache-2.0
#include "cached/status_json.h"

#include <nlohmann/json.hpp>

namespace holdfast::cached {

std::string ToJson(const NodeState& state) {
  using Json = nlohmann::ordered_json;
  const store::TierStats& tier = state.tier;
  Json peers = Json::array();
  for (const auto& [node, answers] : state.peers)
    peers.push_back({{"node", node}, {"answers", answers}});
  Json json{
      {"node", state.options->node},
      {"incarnation", state.options->incarnation},
      {"cluster", state.options->cluster},
      {"bulk_endpoint", state.options->bulk_endpoint},
      {"memory",
       {{"object_bytes", tier.object_bytes},
        {"live_bytes", tier.live_bytes},
        {"live_objects", tier.live_objects},
        {"held_bytes", tier.held_bytes},
        {"held_objects", tier.held_objects},
        {"segments", tier.segments},
        {"free_segments", tier.free_segments},
        {"waiting_segments", tier.waiting_segments},
        {"dropped_objects", tier.dropped_objects},
        {"dropped_bytes", tier.dropped_bytes},
        {"moved_bytes", tier.moved_bytes},
        {"marks", tier.marks}}},
      {"promises",
       {{"promisable_bytes", state.calendar_capacity},
        {"reserved_bytes", state.calendar_reserved},
        {"tentative_bytes", state.tentative_bytes},
        {"pending_objects", state.pending_objects},
        {"broken", state.promises_broken}}},
      {"planning_bytes", state.planning_bytes},
      {"jobs", state.jobs},
      {"loads",
       {{"active", state.loads_active},
        {"far_requests", state.loads.far_requests},
        {"far_bytes", state.loads.far_bytes},
        {"peer_objects", state.loads.peer_objects},
        {"peer_bytes", state.loads.peer_bytes},
        {"failed", state.loads.failed},
        {"late", state.loads.late}}},
      {"grants", state.grants},
      {"far",
       {{"gets", state.far.gets},
        {"heads", state.far.heads},
        {"lists", state.far.lists},
        {"bytes", state.far.bytes},
        {"retries", state.far.retries},
        {"errors", state.far.errors},
        {"micro_usd", state.far.money}}},
      {"peers", std::move(peers)},
  };
  return json.dump();
}

}  // namespace holdfast::cached
