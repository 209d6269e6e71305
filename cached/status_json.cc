// SPDX-License-Identifier: Apache-2.0
#include "cached/status_json.h"

#include <nlohmann/json.hpp>

namespace holdfast::cached {

namespace {

nlohmann::ordered_json DiskJson(const store::DiskStats& disk) {
  return {{"bytes", disk.bytes},
          {"segments", disk.segments},
          {"free_segments", disk.free_segments},
          {"lent_segments", disk.lent_segments},
          {"objects", disk.objects},
          {"held_objects", disk.held_objects},
          {"index_objects", disk.index_objects},
          {"recovered_objects", disk.recovered_objects},
          {"reads", disk.reads},
          {"corrupt", disk.corrupt},
          {"written_objects", disk.writes.written_objects},
          {"written_bytes", disk.writes.written_bytes},
          {"failed_writes", disk.writes.failed_writes},
          {"refused_objects", disk.refused_objects},
          {"evicted_objects", disk.reclaim.evicted_objects},
          {"kept_bytes", disk.reclaim.kept_bytes},
          {"bad_tables", disk.reclaim.bad_tables},
          {"moves_here", disk.moves.here},
          {"moves_elsewhere", disk.moves.elsewhere},
          {"failed_moves_elsewhere", disk.moves.failed},
          {"wrong_moves_elsewhere", disk.moves.wrong},
          {"tiny_objects", disk.tiny.objects},
          {"tiny_young_objects", disk.tiny.young_objects},
          {"tiny_runs", disk.tiny.runs},
          {"tiny_written_bytes", disk.tiny.writes.written_bytes},
          {"tiny_refused_objects", disk.tiny.refused_objects},
          {"tiny_evicted_objects", disk.tiny.reclaim.evicted_objects},
          {"resting", disk.off},
          {"not_used", disk.refused}};
}

nlohmann::ordered_json JournalJson(const JournalState& journal) {
  return {{"used_bytes", journal.used_bytes},
          {"written_bytes", journal.log.bytes},
          {"promised_objects", journal.log.promised_objects},
          {"checkpoints", journal.log.checkpoints},
          {"refused_objects", journal.log.refused_objects},
          {"failed", journal.failed},
          {"restored_jobs", journal.restored.jobs},
          {"restored_objects", journal.restored.objects},
          {"lost_objects", journal.restored.lost_objects},
          {"void_jobs", journal.restored.void_jobs}};
}

nlohmann::ordered_json SpillJson(const NodeState& state) {
  const SpillState& spill = state.spill;
  const store::TierStats& tier = state.tier;
  return {{"peers", state.options->spill_peers},
          {"active", spill.under_way},
          {"offered_objects", spill.given.offered_objects},
          {"given_objects", spill.given.given_objects},
          {"taken_objects", spill.given.taken_objects},
          {"taken_bytes", spill.given.taken_bytes},
          {"lifted_objects", spill.lifts.objects},
          {"lifted_bytes", spill.lifts.bytes},
          {"guest_segments", tier.guest_segments},
          {"guests", spill.guests.objects},
          {"guest_bytes", spill.guests.bytes},
          {"disk_guests", spill.guests.disk_objects},
          {"refused_offers", spill.guests.refused_offers},
          {"guest_reads", tier.read_guests},
          {"kept_guests", tier.kept_guests},
          {"given_up_guests", tier.dropped_guests},
          {"lodgings", spill.lodgings},
          {"sent_to_lodgings", spill.sent_to_lodgings}};
}

}  // namespace

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
        {"descended_objects", tier.descended_objects},
        {"moved_bytes", tier.moved_bytes},
        {"found_objects", tier.found_objects},
        {"marks", tier.marks}}},
      {"promises",
       {{"promisable_bytes", state.calendar_capacity},
        {"reserved_bytes", state.calendar_reserved},
        {"tentative_bytes", state.tentative_bytes},
        {"disk_promisable_bytes", state.disk_capacity},
        {"disk_reserved_bytes", state.disk_reserved},
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
        {"disk_objects", state.loads.disk_objects},
        {"disk_bytes", state.loads.disk_bytes},
        {"disk_places", state.loads.disk_places},
        {"failed", state.loads.failed},
        {"late", state.loads.late}}},
      {"grants", state.grants},
      {"spill", SpillJson(state)},
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
  if (state.journal) json["journal"] = JournalJson(*state.journal);
  if (state.disk) json["disk"] = DiskJson(*state.disk);
  return json.dump();
}

}  // namespace holdfast::cached
