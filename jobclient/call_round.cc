// SPDX-License-Identifier: Apache-2.0
#include "jobclient/call_round.h"

#include <algorithm>
#include <bit>
#include <memory>
#include <utility>

#include "jobclient/confirm_columns.h"
#include "wire/codec.h"
#include "wire/shm_layout.h"

namespace holdfast::jobclient {
namespace {

constexpr Duration kCollectManifests = 1ms;
constexpr uint32_t kMaxManifests =
    3;  // to one node in one call: messages get lost, but not each time

Buffer BytesOf(const Bitmap& bitmap) { return Buffer::CopyOf(bitmap.bytes()); }

// Bytes of `owner`, which lives as long as they do.
Buffer Share(std::shared_ptr<const planner::Manifest> owner, ByteView bytes) {
  using Owner = std::shared_ptr<const planner::Manifest>;
  return Buffer::Adopt(
      const_cast<std::byte*>(bytes.data()), bytes.size(),
      [](void* held) { delete static_cast<Owner*>(held); }, new Owner(std::move(owner)));
}

// `bits` from a node, cut to what it was allowed to say.
Bitmap Within(const Buffer& bytes, uint32_t first, uint32_t count, const Bitmap& asked,
              const Bitmap* allowed) {
  Bitmap bits = Bitmap::FromBytes(bytes.view(), count);
  for (size_t w = 0; w < bits.words(); ++w) {
    uint64_t word = bits.word(w) & asked.word(w);
    if (allowed != nullptr) word &= allowed->word(first / 64 + w);
    bits.set_word(w, word);
  }
  return bits;
}

// The same of a chunk, where more is allowed beside.
template <typename Chunk>
Bitmap Within(const Buffer& bytes, const Chunk& chunk, const Bitmap* allowed,
              const Bitmap& beside) {
  Bitmap bits = Within(bytes, chunk.first, chunk.count, chunk.asked, nullptr);
  for (size_t w = 0; w < bits.words(); ++w)
    bits.set_word(w, bits.word(w) & (allowed->word(chunk.first / 64 + w) | beside.word(w)));
  return bits;
}

void KeepOnly(Bitmap& bits, const Bitmap& a, const Bitmap& b) {
  for (size_t w = 0; w < bits.words(); ++w)
    bits.set_word(w, bits.word(w) & (a.word(w) | b.word(w)));
}

void Remove(Bitmap& from, const Bitmap& what) {
  for (size_t w = 0; w < from.words(); ++w) from.set_word(w, from.word(w) & ~what.word(w));
}

bool Overlap(const Bitmap& part, const Bitmap& whole, uint32_t first) {
  for (size_t w = 0; w < part.words(); ++w) {
    if ((part.word(w) & whole.word(first / 64 + w)) != 0) return true;
  }
  return false;
}

}  // namespace

// As nodes reserve: every record with the longest name of the list.
planner::RecordCost CallRound::Cost() const {
  return {.record_bytes =
              [](uint64_t object_bytes, uint32_t name_bytes) {
                return shm::RecordBytes(object_bytes, name_bytes, 0);
              },
          .name_bytes = context_->list->name_bytes()};
}

CallRound::CallRound(const CallContext* context, Task task, Later later, std::function<void()> done)
    : context_(context), task_(std::move(task)), later_(std::move(later)), done_(std::move(done)) {}

CallRound::Called* CallRound::Find(NodeId node) {
  auto it = std::find_if(called_.begin(), called_.end(),
                         [node](const Called& c) { return c.node == node; });
  return it != called_.end() && it->in ? &*it : nullptr;
}

// --- 1. Offers and calls -------------------------------------------------------------------------

void CallRound::Start() {
  outcome_.remaining = Bitmap(task_.asked.size());
  if (!OfferEverything()) {
    outcome_.remaining = task_.asked;
    finished_ = true;
    return done_();
  }
  outcome_.sent = true;
  const uint32_t size = context_->list->manifest().size();
  for (uint32_t first = 0; first < size; first += wire::kChunkObjects) {
    uint32_t count = std::min(wire::kChunkObjects, size - first);
    chunks_.push_back({.first = first,
                       .count = count,
                       .asked = task_.asked.Slice(first, count),
                       .bids_left = static_cast<uint32_t>(called_.size()),
                       .ready = false});
  }
  unsettled_ = static_cast<uint32_t>(chunks_.size());
  for (Called& called : called_) {
    called.bids_left = unsettled_;
    called.parts.resize(chunks_.size());
    called.heard = called.called = context_->env.clock->Now();
  }
  ScheduleWork();
  later_(context_->env.clock->Now() + context_->options->resend_after / 2, &CallRound::Watch);
}

bool CallRound::OfferEverything() {
  std::vector<planner::NodeLoad> loads;
  for (const Node& node : context_->nodes->all()) {
    if (!node.here || context_->env.clock->Now() < node.left_out_until) continue;
    loads.push_back({node.member.node, node.load_objects, node.load_bytes, node.room_bytes,
                     node.near_objects, node.near_bytes});
  }
  std::vector<planner::Offer> offers =
      planner::OffersFor(context_->list->manifest(), *context_->placement, loads, task_.asked,
                         task_.round, context_->options->reader, Cost());
  if (offers.empty()) return false;
  settler_ = std::make_unique<planner::Settler>(
      &context_->list->manifest(), context_->placement, context_->options->reader,
      planner::AfterOffers(std::move(loads), offers), Cost());
  for (planner::Offer& offer : offers) {
    Called& called = called_.emplace_back();
    called.node = offer.node;
    called.incarnation = context_->nodes->Find(offer.node)->hello.incarnation;
    called.offer = std::move(offer);
    called.resend = context_->options->resend_after;
  }
  return true;
}

void CallRound::SendCall(Called& called) {
  called.called = context_->env.clock->Now();
  const planner::Manifest& manifest = context_->list->manifest();
  const bool everything = task_.asked.Count() == manifest.size();
  wire::Call call{.job = context_->job,
                  .call = task_.call,
                  .digest = manifest.digest(),
                  .count = manifest.size(),
                  .priority = context_->options->priority,
                  .name_bytes = context_->list->name_bytes(),
                  .hold = context_->options->hold,
                  .lease = context_->options->lease,
                  .dry_run = context_->options->dry_run,
                  .asked = everything ? Buffer() : BytesOf(task_.asked),
                  .offer = BytesOf(called.offer.offer),
                  .home = BytesOf(called.offer.home)};
  context_->env.network->Send({context_->nodes->Find(called.node)->peer},
                              wire::Encode(std::move(call)));
}

// --- 2. Manifests --------------------------------------------------------------------------------

void CallRound::OnNeed(NodeId node, const wire::NeedManifest& need) {
  Called* called = Find(node);
  if (called == nullptr || need.digest != context_->list->manifest().digest()) return;
  const Time now = context_->env.clock->Now();
  if (now - called->manifest_sent < context_->options->resend_after) return;  // it is on its way
  if (called->manifests_sent++ >= kMaxManifests) return;
  called->heard = now;
  called->wants_manifest = true;
  if (collecting_) return;
  collecting_ = true;
  later_(now + kCollectManifests, &CallRound::SendManifests);
}

void CallRound::SendManifests() {
  collecting_ = false;
  std::vector<PeerId> peers;
  for (Called& called : called_) {
    if (!std::exchange(called.wants_manifest, false) || !called.in) continue;
    called.manifest_sent = context_->env.clock->Now();
    peers.push_back(context_->nodes->Find(called.node)->peer);
  }
  if (peers.empty()) return;
  const planner::Manifest& manifest = context_->list->manifest();
  outcome_.manifest_bytes_sent += manifest.memory_bytes() * peers.size();
  // The job may be over before the last byte is sent.
  auto share = [this](ByteView column) { return Share(context_->list->shared_manifest(), column); };
  wire::ManifestColumns columns{.count = manifest.size(),
                                .size_width = manifest.size_width(),
                                .oids = share(manifest.oid_column()),
                                .sizes = share(manifest.size_column()),
                                .versions = share(manifest.version_column())};
  context_->env.network->Send(peers, wire::Encode(wire::Manifest{.digest = manifest.digest(),
                                                                 .columns = std::move(columns)}));
}

// --- 3. Bids -------------------------------------------------------------------------------------

void CallRound::OnBids(NodeId node, wire::Bids bids) {
  Called* called = Find(node);
  if (called == nullptr || bids.incarnation != called->incarnation) return;
  if (!bids.status.ok()) {
    context_->env.log->Warn("node " + std::to_string(node) +
                            " bids for nothing: " + bids.status.ToString());
    return Out(node);
  }
  const uint32_t number = bids.first / wire::kChunkObjects;
  if (bids.first % wire::kChunkObjects != 0 || number >= chunks_.size()) return;
  Chunk& chunk = chunks_[number];
  Part& part = called->parts[number];
  if (bids.count != chunk.count || part.has_bid) return;
  part.has_bid = true;
  called->heard = context_->env.clock->Now();
  part.rate = bids.rate;
  part.near_rate = bids.near_rate;
  part.hold = std::min(bids.keep_t2, bids.load_t2);
  part.keep = Within(bids.keep, chunk.first, chunk.count, chunk.asked, nullptr);
  // What is on its disk a node may offer unasked.
  part.near = Within(bids.near, chunk.first, chunk.count, chunk.asked, nullptr);
  part.load = Within(bids.load, chunk, &called->offer.home, part.near);
  part.spare = Within(bids.spare, chunk, &called->offer.offer, part.near);
  Remove(part.load, part.keep);
  Remove(part.spare, part.keep);
  Remove(part.spare, part.load);
  KeepOnly(part.near, part.load, part.spare);
  called->no_room = called->no_room || Overlap(part.spare, called->offer.home, chunk.first);
  outcome_.bids += part.keep.Count() + part.load.Count() + part.spare.Count();
  --called->bids_left;
  if (--chunk.bids_left == 0) Ready(number);
}

void CallRound::Out(NodeId node) {
  Called* called = Find(node);
  if (called == nullptr) return;
  called->in = false;
  for (uint32_t number = 0; number < chunks_.size(); ++number) {
    Part& part = called->parts[number];
    if (!part.has_bid) {
      if (--chunks_[number].bids_left == 0) Ready(number);
    } else if (part.given == Given::kQueued || part.given == Given::kSent) {
      --unacknowledged_;
      part.given = Given::kNothing;
      outcome_.refused = true;
      Remain(number, part.keep);
      Remain(number, part.load);
    }
  }
  FinishIfDone();
}

void CallRound::Ready(uint32_t chunk) {
  if (std::exchange(chunks_[chunk].ready, true)) return;
  to_settle_.push_back(chunk);
  ScheduleWork();
}

// --- 4. and 5. Settle and confirm, a slice at a time ---------------------------------------------

void CallRound::ScheduleWork() {
  if (std::exchange(working_, true)) return;
  later_(context_->env.clock->Now(), &CallRound::Work);
}

void CallRound::Work() {
  working_ = false;
  if (next_call_ < called_.size()) {
    if (called_[next_call_].in) SendCall(called_[next_call_]);
    ++next_call_;
  } else if (!to_confirm_.empty()) {
    auto [index, chunk] = to_confirm_.front();
    to_confirm_.pop_front();
    Called& called = called_[index];
    if (called.parts[chunk].given == Given::kQueued) SendConfirm(called, chunk);
  } else if (!to_settle_.empty()) {
    uint32_t chunk = to_settle_.front();
    to_settle_.pop_front();
    SettleChunk(chunk);
  }
  if (next_call_ < called_.size() || !to_confirm_.empty() || !to_settle_.empty()) ScheduleWork();
  FinishIfDone();
}

void CallRound::SettleChunk(uint32_t number) {
  const Chunk& chunk = chunks_[number];
  std::vector<planner::NodeBids> bids;
  for (Called& called : called_) {
    Part& part = called.parts[number];
    if (!called.in || !part.has_bid) continue;
    // Nobody refuses in a dry run: a node that says that it is full has nothing to spare.
    if (context_->options->dry_run && called.no_room) part.spare = Bitmap(part.spare.size());
    bids.push_back({called.node, std::move(part.keep), std::move(part.load), std::move(part.spare),
                    part.rate, std::move(part.near), part.near_rate});
  }
  --unsettled_;
  TakeChoices(number, settler_->Settle(chunk.first, chunk.count, chunk.asked, bids));
}

void CallRound::TakeChoices(uint32_t number, planner::Settler::Outcome settled) {
  Remain(number, settled.unassigned);
  for (planner::NodeChoice& choice : settled.choices) {
    Called* called = Find(choice.node);
    Part& part = called->parts[number];
    part.keep = std::move(choice.keep);
    part.load = std::move(choice.load);
    part.near = std::move(choice.near);
    part.spare = {};
    if (context_->options->dry_run) {
      context_->promises->Give(called->node, chunks_[number].first,
                               {&part.keep, &part.load, &part.near});
      context_->nodes->Find(called->node)->rate = part.rate;
      CountLoads(*called, number);
      continue;
    }
    part.given = Given::kQueued;
    ++unacknowledged_;
    to_confirm_.emplace_back(static_cast<size_t>(called - called_.data()), number);
  }
}

void CallRound::SendConfirm(Called& called, uint32_t number) {
  Part& part = called.parts[number];
  wire::Confirm confirm{.job = context_->job,
                        .call = task_.call,
                        .incarnation = called.incarnation,
                        .first = chunks_[number].first,
                        .count = chunks_[number].count,
                        .keep = BytesOf(part.keep),
                        .load = BytesOf(part.load),
                        .name_ends = {},
                        .names = {},
                        .etag_ends = {},
                        .etags = {},
                        .need_by = {}};
  FillLoadColumns(*context_->list, part.load, task_.read, context_->options->objects_per_s,
                  &confirm);
  const Time now = context_->env.clock->Now();
  if (part.given == Given::kQueued) {
    part.resend = context_->options->resend_after;
    called.heard = std::max(called.heard, now);  // it has this long to answer
  }
  part.given = Given::kSent;
  part.sent = now;
  context_->env.network->Send({context_->nodes->Find(called.node)->peer},
                              wire::Encode(std::move(confirm)));
}

// --- 6. Acknowledgements -------------------------------------------------------------------------

void CallRound::OnAck(NodeId node, const wire::Ack& ack) {
  Called* called = Find(node);
  const uint32_t number = ack.first / wire::kChunkObjects;
  if (called == nullptr || ack.incarnation != called->incarnation || number >= chunks_.size())
    return;
  if (ack.first != chunks_[number].first || ack.count != chunks_[number].count) return;
  Part& part = called->parts[number];
  if (part.given != Given::kSent) return;
  called->heard = context_->env.clock->Now();
  part.given = Given::kAcknowledged;
  --unacknowledged_;
  if (!ack.refused.empty()) {
    Bitmap refused = Bitmap::FromBytes(ack.refused.view(), ack.count);
    Remove(part.near, refused);
    for (Bitmap* chosen : {&part.keep, &part.load}) {
      Bitmap lost = *chosen;
      Remove(*chosen, refused);
      Remove(lost, *chosen);
      outcome_.refused = outcome_.refused || !lost.None();
      Remain(number, lost);
    }
    called->no_room = called->no_room || ack.why == wire::Refusal::kNoRoom;
  }
  const uint64_t promised = part.keep.Count() + part.load.Count();
  outcome_.promised += promised;
  if (promised > 0) outcome_.least_hold = std::min(outcome_.least_hold, part.hold);
  context_->promises->Give(node, ack.first, {&part.keep, &part.load, &part.near});
  context_->nodes->Find(node)->rate = ack.rate;
  CountLoads(*called, number);
  FinishIfDone();
}

void CallRound::CountLoads(Called& called, uint32_t number) {
  const Part& part = called.parts[number];
  const planner::Manifest& manifest = context_->list->manifest();
  Node* node = context_->nodes->Find(called.node);
  const planner::RecordCost cost = Cost();
  uint64_t taken = 0;
  part.load.ForEach([&](size_t i) {
    const uint64_t bytes = manifest.object_bytes(chunks_[number].first + static_cast<uint32_t>(i));
    const bool near = part.near.Get(i);
    ++(near ? node->near_objects : node->load_objects);
    (near ? node->near_bytes : node->load_bytes) += bytes;
    taken += cost.Of(bytes);
  });
  node->near_rate = part.near_rate;
  node->room_bytes = called.no_room ? 0 : node->room_bytes - std::min(node->room_bytes, taken);
}

void CallRound::Remain(uint32_t chunk, const Bitmap& what) {
  outcome_.remaining.OrAt(chunks_[chunk].first, what);
}

// --- 7. Silence ----------------------------------------------------------------------------------

void CallRound::Watch() {
  if (finished_) return;
  const Time now = context_->env.clock->Now();
  const Duration shortest = std::min(context_->options->bid_timeout, context_->options->ack_timeout);
  for (Called& called : called_) {
    // Whether it lives is known when its time is up.
    if (called.in && now - called.heard >= shortest / 2)
      context_->nodes->SendHello(*context_->nodes->Find(called.node), context_->job);
    if (called.in && called.bids_left > 0) WatchBids(called, now);
    if (called.in) WatchAcks(called, now);
    if (finished_) return;
  }
  later_(now + context_->options->resend_after / 2, &CallRound::Watch);
}

void CallRound::WatchBids(Called& called, Time now) {
  if (now - called.heard >= context_->options->bid_timeout) {
    const NodeId node = called.node;
    context_->unanswered(node);
    return Out(node);
  }
  if (now - std::max(called.heard, called.called) < called.resend) return;
  called.resend *= 2;
  SendCall(called);
}

void CallRound::WatchAcks(Called& called, Time now) {
  for (uint32_t number = 0; number < chunks_.size() && called.in; ++number) {
    Part& part = called.parts[number];
    if (part.given != Given::kSent) continue;
    if (now - called.heard >= context_->options->ack_timeout) {
      const NodeId node = called.node;
      context_->unanswered(node);
      return Out(node);
    }
    if (now - std::max(called.heard, part.sent) < part.resend) continue;
    part.resend *= 2;
    SendConfirm(called, number);
  }
}

void CallRound::FinishIfDone() {
  if (finished_ || unsettled_ > 0 || unacknowledged_ > 0 || next_call_ < called_.size()) return;
  finished_ = true;
  for (const Called& called : called_) {
    Node* node = context_->nodes->Find(called.node);
    if (called.no_room) node->room_bytes = 0;
  }
  done_();
}

}  // namespace holdfast::jobclient
