// SPDX-License-Identifier: Apache-2.0
#include "cached/spill_out.h"

#include <algorithm>
#include <span>
#include <tuple>
#include <utility>

namespace holdfast::cached {
namespace {

template <typename T>
Buffer ColumnOf(const std::vector<T>& values) {
  return Buffer::CopyOf(std::as_bytes(std::span(values)));
}

uint64_t BytesOf(const std::vector<store::LeavingRecord>& records) {
  uint64_t bytes = 0;
  for (const store::LeavingRecord& record : records) bytes += record.record_bytes();
  return bytes;
}

uint64_t MemoryOf(const std::vector<store::LeavingRecord>& records) {
  uint64_t bytes = records.size() * sizeof(store::LeavingRecord);
  for (const store::LeavingRecord& record : records)
    bytes += record.name.size() + record.etag.size();
  return bytes;
}

wire::SpillGive GiveOf(uint64_t id, const std::vector<store::LeavingRecord>& records) {
  std::vector<uint64_t> oids, versions, sizes;
  std::vector<uint32_t> ages, name_ends, etag_ends;
  std::string names, etags;
  for (const store::LeavingRecord& record : records) {
    oids.insert(oids.end(), {record.oid.hi, record.oid.lo});
    versions.push_back(record.version);
    sizes.push_back(record.size);
    ages.push_back(
        static_cast<uint32_t>(std::clamp<int64_t>(record.age.count() / 1000, 0, UINT32_MAX)));
    names += record.name;
    etags += record.etag;
    name_ends.push_back(static_cast<uint32_t>(names.size()));
    etag_ends.push_back(static_cast<uint32_t>(etags.size()));
  }
  return {.id = id,
          .oids = ColumnOf(oids),
          .versions = ColumnOf(versions),
          .sizes = ColumnOf(sizes),
          .ages = ColumnOf(ages),
          .name_ends = ColumnOf(name_ends),
          .names = Buffer::CopyOf(AsBytes(names)),
          .etag_ends = ColumnOf(etag_ends),
          .etags = Buffer::CopyOf(AsBytes(etags))};
}

}  // namespace

// --- 1. Offer ------------------------------------------------------------------------------------

// Those with the most room in memory first, then those with the most on the disk; `room` is theirs.
std::vector<NodeId> SpillOut::BestPeers(uint64_t* room) const {
  struct Candidate {
    bool on_disk;
    uint64_t bytes;
    NodeId node;
  };
  std::vector<Candidate> candidates;
  for (const auto& [node, peer] : membership_->peers()) {
    const bool on_disk = peer.guest_bytes == 0;
    const uint64_t bytes = on_disk ? peer.guest_disk_bytes : peer.guest_bytes;
    if (bytes > 0 && membership_->Reachable(node) != nullptr)
      candidates.push_back({on_disk, bytes, node});
  }
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    return std::tuple(a.on_disk, b.bytes, a.node) < std::tuple(b.on_disk, a.bytes, b.node);
  });
  if (candidates.size() > kAsked) candidates.resize(kAsked);
  std::vector<NodeId> best;
  *room = 0;
  for (const Candidate& candidate : candidates) {
    best.push_back(candidate.node);
    *room += candidate.bytes;
  }
  return best;
}

uint64_t SpillOut::Room() const {
  if (flows_.size() >= kMaxFlows || context_->Now() < not_before_) return 0;
  if (memory_bytes_ >= context_->options.max_planning_bytes / kShareOfPlanning) return 0;
  uint64_t room = 0;
  BestPeers(&room);
  return room;
}

void SpillOut::Take(std::vector<store::LeavingRecord> records, std::function<void()> done) {
  const uint64_t id = ++last_id_;
  const Time now = context_->Now();
  Flow& flow = flows_[id];
  flow.records = std::move(records);
  flow.done = std::move(done);
  flow.try_until = now + kTryFor;
  flow.memory_bytes = MemoryOf(flow.records);
  memory_bytes_ += flow.memory_bytes;
  counters_.offered_objects += flow.records.size();
  const uint64_t rate = std::max<uint64_t>(context_->options.spill_bytes_per_s, 1);
  not_before_ = std::max(now, not_before_) + Duration(BytesOf(flow.records) * 1'000'000 / rate);
  Offer(id);
}

void SpillOut::Offer(uint64_t id) {
  Flow& flow = flows_.at(id);
  const wire::SpillOffer offer{.id = id,
                               .bytes = BytesOf(flow.records),
                               .objects = static_cast<uint32_t>(flow.records.size())};
  uint64_t room = 0;
  for (const NodeId peer : BestPeers(&room)) {
    flow.asked[peer];
    context_->Send(membership_->peers().at(peer).connection, offer);
  }
  const Duration wait = flow.asked.empty() ? Duration(0) : kBidTime;
  context_->env.clock->At(context_->Now() + wait, [this, id] { Give(id); });
}

// --- 2. Bids -------------------------------------------------------------------------------------

SpillOut::Asked* SpillOut::FindAsked(uint64_t id, PeerId from, NodeId* node) {
  auto it = flows_.find(id);
  if (it == flows_.end()) return nullptr;
  for (auto& [asked_node, asked] : it->second.asked) {
    if (!membership_->IsConnectionTo(asked_node, from)) continue;
    *node = asked_node;
    return &asked;
  }
  return nullptr;
}

void SpillOut::OnBid(PeerId from, const wire::SpillBid& bid) {
  NodeId node = kNoNode;
  Asked* asked = FindAsked(bid.id, from, &node);
  if (asked == nullptr || asked->answered) return;
  *asked = {.answered = true, .pulls = false, .bytes = bid.bytes, .on_disk = bid.on_disk};
  // It has less than it has said: ask others, until it says more.
  if (bid.bytes == 0 || bid.on_disk) membership_->TakeGuestRoom(node, UINT64_MAX, false);
  if (bid.bytes == 0) membership_->TakeGuestRoom(node, UINT64_MAX, true);
  const auto& all = flows_.at(bid.id).asked;
  if (std::all_of(all.begin(), all.end(), [](const auto& one) { return one.second.answered; }))
    Give(bid.id);
}

// --- 3. Give -------------------------------------------------------------------------------------

std::vector<std::pair<NodeId, SpillOut::Asked*>> SpillOut::Bidders(Flow* flow) {
  std::vector<std::pair<NodeId, Asked*>> bidders;
  for (auto& [node, asked] : flow->asked) {
    if (asked.bytes > 0) bidders.emplace_back(node, &asked);
  }
  std::sort(bidders.begin(), bidders.end(), [](const auto& a, const auto& b) {
    return std::tuple(a.second->on_disk, b.second->bytes, a.first) <
           std::tuple(b.second->on_disk, a.second->bytes, b.first);
  });
  return bidders;
}

void SpillOut::Give(uint64_t id) {
  auto it = flows_.find(id);
  if (it == flows_.end() || std::exchange(it->second.given, true)) return;
  Flow& flow = it->second;
  bool any = false;
  for (auto& [node, asked] : Bidders(&flow)) {
    if (!flow.records.empty() && GiveTo(id, node, asked, &flow.records)) any = true;
  }
  if (!any) return EndRound(id);
  context_->env.clock->At(context_->Now() + kGiveTime, [this, id] { EndRound(id); });
}

bool SpillOut::GiveTo(uint64_t id, NodeId node, Asked* asked,
                      std::vector<store::LeavingRecord>* records) {
  const Membership::Peer* peer = membership_->Reachable(node);
  if (peer == nullptr) return false;
  std::vector<store::LeavingRecord> given, left;
  uint64_t room = asked->bytes;
  for (store::LeavingRecord& record : *records) {
    const uint64_t bytes = record.record_bytes();
    const bool fits = bytes <= room && given.size() < wire::kMaxSpillObjects;
    room -= fits ? bytes : 0;
    (fits ? given : left).push_back(std::move(record));
  }
  *records = std::move(left);
  if (given.empty()) return false;
  asked->pulls = true;
  counters_.given_objects += given.size();
  membership_->TakeGuestRoom(node, asked->bytes - room, asked->on_disk);
  context_->Send(peer->connection, GiveOf(id, given));
  return true;
}

// --- 4. End --------------------------------------------------------------------------------------

void SpillOut::OnTaken(PeerId from, const wire::SpillTaken& taken) {
  NodeId node = kNoNode;
  Asked* asked = FindAsked(taken.id, from, &node);
  if (asked == nullptr || !std::exchange(asked->pulls, false)) return;
  counters_.taken_objects += taken.objects;
  counters_.taken_bytes += taken.bytes;
  membership_->SetGuestRoom(node, taken.guest_bytes, taken.guest_disk_bytes);
  const auto& all = flows_.at(taken.id).asked;
  if (std::none_of(all.begin(), all.end(), [](const auto& one) { return one.second.pulls; }))
    EndRound(taken.id);
}

// Each round has a number of its own: what comes late belongs to none.
void SpillOut::EndRound(uint64_t id) {
  auto it = flows_.find(id);
  if (it == flows_.end()) return;
  if (it->second.records.empty() || context_->Now() >= it->second.try_until) return End(id);
  auto flow = flows_.extract(it);
  flow.key() = ++last_id_;
  flow.mapped().asked.clear();
  flow.mapped().given = false;
  flows_.insert(std::move(flow));
  context_->env.clock->At(context_->Now() + kAgainAfter,
                          [this, again = last_id_] { Offer(again); });
}

void SpillOut::End(uint64_t id) {
  auto flow = flows_.extract(id);
  memory_bytes_ -= flow.mapped().memory_bytes;
  flow.mapped().done();
}

}  // namespace holdfast::cached
