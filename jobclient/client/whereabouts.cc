// SPDX-License-Identifier: Apache-2.0
#include "jobclient/client/whereabouts.h"

#include <algorithm>
#include <utility>

namespace holdfast::client {

using snapshot::ClusterHash;
using snapshot::Decision;
using snapshot::Print;
using snapshot::PrintOf;
using snapshot::SnapshotLog;
using snapshot::Stamp;

Whereabouts::Whereabouts(const Env& env, ClusterView* cluster, const WhereaboutsOptions& options)
    : env_(env),
      cluster_(cluster),
      options_(options),
      log_(snapshot::ClusterHash(options.cluster)),
      beliefs_({}),
      costs_({.micro_usd_per_hour = options.micro_usd_per_hour,
              .far_money = options.nano_usd_per_get}),
      decider_(&log_.known(), &beliefs_, &costs_, env.random, {}),
      next_node_(env.random->Below(1'000'000)) {}  // not all clients at the same node

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
        return wire::LogQuery{.id = id, .after = log_.sequence(), .mark = log_.mark()};
      },
      env_.clock->Now() + kAnswerWait,
      [this, node](Result<wire::Message> answer) { Take(node, std::move(answer)); });
  if (!settled_) env_.clock->At(env_.clock->Now() + kFirstWait, [this] { Settle(); });
}

void Whereabouts::Take(NodeId node, Result<wire::Message> answer) {
  asking_ = false;
  const Time now = env_.clock->Now();
  const auto* reply = answer.ok() ? std::get_if<wire::LogReply>(&*answer) : nullptr;
  if (reply == nullptr) {
    pause_ = std::min(2 * pause_, kMostPause);
    next_ask_ = now + pause_;
    return Settle();
  }
  pause_ = kLeastPause;
  next_ask_ = now + kLeastPause;
  if (reply->sequence == 0) {
    // It was started again since the last snapshot, or there is none. Which of them, the others say.
    if (++without_ < cluster_->Here().size()) return Ask();
    without_ = 0;
    next_ask_ = now + kNoLogPause;
    return Settle();
  }
  without_ = 0;
  if (IsBehind(*reply, now)) {
    next_ask_ = now + kNoLogPause;
    return Settle();
  }
  if (!reply->frames.empty() && reply->sequence <= log_.sequence()) BeginAnew();
  const Stamp before = log_.stamp();
  const uint64_t sequence = log_.sequence();
  const Status applied = Apply(reply->frames.view());
  if (!applied.ok()) {
    env_.log->Warn("node " + std::to_string(node) +
                   " keeps a snapshot log that does not do: " + applied.message());
    next_ask_ = now + kNoLogPause;
    // It does not follow what is known here. Everything is asked for, and takes its place.
    if (applied.code() == Code::kNotFound) BeginAnew();
    return Settle();
  }
  if (reply->frames.empty()) return Settle();
  beliefs_.Learn(log_.evidence());
  if (log_.sequence() < reply->sequence) {  // the rest of a long log
    next_ask_ = now;
  } else {
    anchor_ = now - reply->age;
    // The next frame comes about as long after this one as this one after that before it.
    const Duration period(log_.stamp().us - before.us);
    if (sequence != 0 && log_.sequence() == sequence + 1) {
      next_ask_ = std::max(next_ask_, std::min(anchor_ + period, now + kMostPause));
    }
  }
  if (next_ask_ == now) return Ask();
  Settle();
}

// Frames that do not follow the last one here. The node may be behind, or have the end of a log that
// was lost and begun anew, by a clock that may have been set back. What came last to a node counts,
// unless it passed here already: a node that was stopped gets it late.
bool Whereabouts::IsBehind(const wire::LogReply& reply, Time now) const {
  const Result<snapshot::FrameHeader> first = snapshot::ReadFrameHeader(reply.frames.view());
  if (log_.sequence() == 0 || !first.ok() || first->follows == log_.mark()) return false;
  return now - reply.age <= anchor_ + kLeastPause ||
         std::find(passed_.begin(), passed_.end(), reply.mark) != passed_.end();
}

Status Whereabouts::Apply(ByteView frames) {
  while (!frames.empty()) {
    Result<snapshot::FrameHeader> header = snapshot::ReadFrameHeader(frames);
    if (!header.ok()) return header.status();
    // The log says now what this client had found out itself, or it is out of date.
    if (header->sequence != log_.sequence()) ForgetOwn();
    HF_RETURN_IF_ERROR(log_.Apply(frames.first(header->frame_bytes())));
    if (passed_.empty() || passed_.back() != log_.mark()) passed_.push_back(log_.mark());
    if (passed_.size() > kMostPassed) passed_.erase(passed_.begin());
    frames = frames.subspan(header->frame_bytes());
  }
  return {};
}

void Whereabouts::BeginAnew() {
  log_ = SnapshotLog(ClusterHash(options_.cluster));
  own_.clear();
}

void Whereabouts::ForgetOwn() {
  for (; !own_.empty(); own_.pop_back()) {  // what was known first comes last
    const Own& own = own_.back();
    if (own.before) {
      log_.known().Add(own.print, *own.before);
    } else {
      log_.known().Erase(own.print, own.node);
    }
  }
}

void Whereabouts::Settle() {
  settled_ = true;
  for (auto& done : std::exchange(waiting_, {})) done();
}

Stamp Whereabouts::Now() const {
  return {log_.stamp().us + std::max<int64_t>((env_.clock->Now() - anchor_).count(), 0)};
}

// --- 2. Decisions --------------------------------------------------------------------------------

std::vector<Decision> Whereabouts::Decide(std::span<const Oid> oids) {
  std::vector<Decision> decisions(oids.size());
  if (decide_) {
    std::transform(oids.begin(), oids.end(), decisions.begin(), decide_);
    return decisions;
  }
  std::vector<Print> prints(oids.size());
  std::transform(oids.begin(), oids.end(), prints.begin(),
                 [](const Oid& oid) { return PrintOf(oid); });
  decider_.DecideMany(prints, Now(), decisions);
  return decisions;
}

Decision Whereabouts::DecideByLog(const Oid& oid) { return decider_.Decide(PrintOf(oid), Now()); }

// --- 3. Evidence ---------------------------------------------------------------------------------

void Whereabouts::Looked(const Oid& oid, const Decision& decision, Seen seen, Duration took) {
  if (seen != Seen::kNothing) {
    beliefs_.Looked(decision.situation, seen == Seen::kThere);
  }
  if (seen == Seen::kThere) return costs_.Found(took);
  costs_.Looked(took);
  if (seen == Seen::kGone) log_.known().Erase(PrintOf(oid), decision.node);
}

void Whereabouts::WentFar(const Oid& oid, NodeId home, Duration took, uint64_t bytes) {
  costs_.WentFar(
      took, options_.nano_usd_per_get + static_cast<snapshot::NanoUsd>(options_.nano_usd_per_byte *
                                                                       static_cast<double>(bytes)));
  // Without a log there is no clock by which it would grow old.
  if (home == kNoNode || log_.sequence() == 0) return;
  const std::optional<snapshot::Sighting> known = log_.known().At(PrintOf(oid), home);
  const bool own = known && known->written >= log_.stamp();  // from an earlier time
  if (!own) {
    if (own_.size() == kMaxOwn) return;
    own_.push_back({PrintOf(oid), home, known});
  }
  log_.known().Add(PrintOf(oid), {.node = home, .held = false, .written = Now()});
}

void Whereabouts::Explain(NodeId home, Explanation* why) {
  why->snapshot = log_.sequence();
  if (why->snapshot != 0) why->snapshot_age = Duration(Now().us - log_.stamp().us);
  why->look_cost = costs_.look();
  why->hit_cost = costs_.hit();
  why->far_cost = costs_.far();
  why->look_cost_per_find = costs_.overhead_per_find();
  why->threshold = costs_.Threshold();
  const Decision decision = Decide({&why->oid, 1}).front();
  why->node = decision.node;
  if (decision.node == kNoNode) return;
  const snapshot::Beliefs::Reasons reasons = beliefs_.Explain(decision.situation);
  const snapshot::Chance chance = beliefs_.At(decision.situation);
  const snapshot::Chance::Range range = chance.Credible(0.95);
  why->age = decision.situation.age;
  why->seen = decision.situation.seen;
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
  const snapshot::Costs::Band race = costs_.Race();
  const bool races = chance.mean > race.low && chance.mean < race.high;
  if (!races && chance.mean <= why->threshold) {
    why->choice = Explanation::Choice::kFar;
  } else if (decision.node == home) {
    why->choice = Explanation::Choice::kHome;
  } else {
    why->choice = races ? Explanation::Choice::kRace : Explanation::Choice::kLook;
  }
}

}  // namespace holdfast::client
