// SPDX-License-Identifier: Apache-2.0
#include "jobclient/client/whereabouts.h"

#include <algorithm>
#include <utility>

namespace holdfast::client {

using snapshot::Decision;
using snapshot::Print;
using snapshot::PrintOf;
using snapshot::Stamp;

Whereabouts::Whereabouts(const Env& env, ClusterView* cluster, const WhereaboutsOptions& options)
    : env_(env),
      cluster_(cluster),
      options_(options),
      log_(snapshot::ClusterHash(options.cluster)),
      beliefs_({}),
      costs_({.micro_usd_per_hour = options.micro_usd_per_hour,
              .far_money = options.nano_usd_per_get}),
      decider_(&log_.known(), &beliefs_, &costs_, env.random, {}) {}

// --- 1. The log ----------------------------------------------------------------------------------

void Whereabouts::WhenReady(std::function<void()> done) {
  if (!asking_ && env_.clock->Now() >= next_ask_) Ask();
  if (settled_) return done();
  waiting_.push_back(std::move(done));
}

void Whereabouts::Ask() {
  const std::vector<NodeId> nodes = cluster_->Here();
  if (nodes.empty()) {
    next_ask_ = env_.clock->Now() + kLeastPause;
    return Settle();
  }
  asking_ = true;
  const NodeId node = nodes[next_node_++ % nodes.size()];
  cluster_->Ask(
      node,
      [this](uint64_t id) -> wire::Message {
        return wire::LogQuery{.id = id, .after = log_.sequence()};
      },
      env_.clock->Now() + kFirstWait,
      [this, node](Result<wire::Message> answer) { Take(node, std::move(answer)); });
}

void Whereabouts::Take(NodeId node, Result<wire::Message> answer) {
  asking_ = false;
  const Time now = env_.clock->Now();
  next_ask_ = now + kLeastPause;
  const auto* reply = answer.ok() ? std::get_if<wire::LogReply>(&*answer) : nullptr;
  if (reply == nullptr) return Settle();
  if (reply->sequence == 0) next_ask_ = now + kNoLogPause;
  if (!reply->frames.empty()) {
    const Stamp before = log_.stamp();
    const uint64_t sequence = log_.sequence();
    if (Status applied = Apply(reply->frames.view()); !applied.ok()) {
      env_.log->Warn("node " + std::to_string(node) +
                     " keeps a snapshot log that does not do: " + applied.message());
      // It may be a log that was begun anew; what is known stays until all of it is here.
      if (applied.code() == Code::kNotFound && sequence != 0) {
        log_ = snapshot::SnapshotLog(snapshot::ClusterHash(options_.cluster));
        return Ask();
      }
    }
    anchor_ = now - reply->age;
    // The next frame comes about as long after this one as this one after that before it.
    const Duration period(log_.stamp().us - before.us);
    if (sequence != 0 && log_.sequence() == sequence + 1) {
      next_ask_ = std::max(next_ask_, anchor_ + period);
    }
  }
  Settle();
}

Status Whereabouts::Apply(ByteView frames) {
  // The log says now what this client had found out itself, or it is out of date.
  for (const auto& [print, node] : own_) log_.known().Erase(print, node);
  own_.clear();
  while (!frames.empty()) {
    Result<snapshot::FrameHeader> header = snapshot::ReadFrameHeader(frames);
    if (!header.ok()) return header.status();
    HF_RETURN_IF_ERROR(log_.Apply(frames.first(header->frame_bytes())));
    frames = frames.subspan(header->frame_bytes());
  }
  beliefs_.Learn(log_.evidence());
  return {};
}

void Whereabouts::Settle() {
  settled_ = true;
  for (auto& done : std::exchange(waiting_, {})) done();
}

Stamp Whereabouts::Now() const {
  return {log_.stamp().us + std::max<int64_t>((env_.clock->Now() - anchor_).count(), 0)};
}

// --- 2. Decisions --------------------------------------------------------------------------------

Decision Whereabouts::Decide(const Oid& oid) {
  return decide_ ? decide_(oid) : decider_.Decide(PrintOf(oid), Now());
}

// --- 3. Evidence ---------------------------------------------------------------------------------

void Whereabouts::Looked(const Oid& oid, const Decision& decision, bool found, Duration took) {
  beliefs_.Looked(decision.age, decision.seen, found);
  if (found) return costs_.Found(took);
  costs_.Looked(took);
  log_.known().Erase(PrintOf(oid), decision.node);
}

void Whereabouts::WentFar(const Oid& oid, NodeId home, Duration took, uint64_t bytes) {
  costs_.WentFar(
      took, options_.nano_usd_per_get + static_cast<snapshot::NanoUsd>(options_.nano_usd_per_byte *
                                                                       static_cast<double>(bytes)));
  // Without a log there is no clock by which it would grow old.
  if (home == kNoNode || log_.sequence() == 0 || own_.size() == kMaxOwn) return;
  own_.emplace_back(PrintOf(oid), home);
  log_.known().Add(PrintOf(oid), {.node = home, .held = false, .written = Now()});
}

void Whereabouts::Explain(NodeId home, Explanation* why) {
  why->snapshot = log_.sequence();
  if (why->snapshot != 0) why->snapshot_age = Duration(Now().us - log_.stamp().us);
  why->look_cost = costs_.look();
  why->hit_cost = costs_.hit();
  why->far_cost = costs_.far();
  why->threshold = costs_.Threshold();
  const Decision decision = Decide(why->oid);
  why->node = decision.node;
  if (decision.node == kNoNode) return;
  const snapshot::Beliefs::Reasons reasons = beliefs_.Explain(decision.age, decision.seen);
  const snapshot::Chance chance = beliefs_.At(decision.age, decision.seen);
  const snapshot::Chance::Range range = chance.Credible(0.95);
  why->age = decision.age;
  why->seen = decision.seen;
  why->interval_low = reasons.low;
  why->interval_high = reasons.high;
  why->looks = reasons.looks;
  why->found = reasons.found;
  why->curve = reasons.curve.mean;
  why->alpha = reasons.alpha;
  why->beta = reasons.beta;
  why->chance = chance.mean;
  why->chance_low = range.low;
  why->chance_high = range.high;
  why->above_threshold = chance.Above(why->threshold);
  // Not what a die decided: to explore is not what is done for a reason of this object.
  const bool pays = chance.mean > why->threshold;
  why->choice = !pays                   ? Explanation::Choice::kFar
                : decision.node == home ? Explanation::Choice::kHome
                                        : Explanation::Choice::kLook;
}

}  // namespace holdfast::client
