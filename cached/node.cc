// SPDX-License-Identifier: Apache-2.0
#include "cached/node.h"

#include <algorithm>
#include <map>
#include <utility>

#include "cached/calls.h"
#include "cached/commitments.h"
#include "cached/context.h"
#include "cached/drop_flow.h"
#include "cached/home.h"
#include "cached/loader.h"
#include "cached/manifests.h"
#include "cached/membership.h"
#include "cached/promise_log.h"
#include "cached/restore_flow.h"
#include "cached/snapshots.h"
#include "cached/spill.h"
#include "cached/status_json.h"
#include "cached/streams.h"

namespace holdfast::cached {
namespace {

constexpr Duration kBusyMaintenance = 2ms;
constexpr Duration kIdleMaintenance = 50ms;
constexpr uint64_t kReclaimBudget = 32 * kMiB;
constexpr size_t kMaxDrops = 16;
constexpr size_t kMaxEarlyMessages = 4'096;  // while the node starts
constexpr uint64_t kMaxEarlyBytes = 64 * kMiB;

// A tenth of the index is left to what nobody has a promise for.
uint64_t LeastRecordBytes(const store::MemoryTier& tier) {
  return tier.PromisableBytes() / std::max<uint64_t>(tier.Stats().index_objects / 10 * 9, 1);
}

}  // namespace

struct Node::Parts {
  Parts(const Env& env, store::MemoryTier* tier, NodeOptions options, store::DiskTier* disk,
        Journal* j)
      : context{env, tier, disk, std::move(options), LeastRecordBytes(*tier)},
        manifests(context.options.max_planning_bytes),
        calendar(tier->PromisableBytes()),
        below(disk == nullptr ? 0 : disk->PromisableBytes()),
        commitments(&context, &manifests, &calendar, &below),
        membership(&context),
        home(&context, &membership),
        snapshots(&context, [this] { return PlanningBytes(); }),
        streams(&context, &calendar, &below),
        loader(&context, &commitments, &membership, &home),
        spill(&context, &membership, &home, &commitments, &calendar,
              [this] { return loader.active() > context.options.max_loads / 2; }),
        journal(j),
        promise_log(&context, &commitments, journal,
                    [this](const Commitment& commitment, uint32_t first, uint32_t last) {
                      return NamesOf(commitment, first, last);
                    }),
        restore(&context, &manifests, &commitments, &loader),
        calls(&context, &manifests, &calendar, &below, &commitments, &loader, &promise_log,
              [this] { return PlanningBytes(); }) {}

  void Start();
  void Begin();
  void OnMessage(PeerId from, Frames frames);
  void Tick();
  void Maintain();

  void On(PeerId from, wire::Hello& hello);
  void On(PeerId from, wire::HelloReply& reply) {
    membership.OnHelloReply(from, reply);
    snapshots.OnGreeted(from);
  }
  void On(PeerId, wire::EndJob& end) {
    calls.End(end.job);
    commitments.End(end.job);
  }
  void On(PeerId from, wire::Heartbeat& beat) { commitments.Heartbeat(beat, from); }
  void On(PeerId from, wire::Ask& ask) {
    context.Send(from, home.OnAsk(membership.NodeOf(from), ask));
  }
  void On(PeerId from, wire::Answer& answer) { loader.OnAnswer(from, answer); }
  void On(PeerId from, wire::Fetched& fetched) { home.OnFetched(membership.NodeOf(from), fetched); }
  void On(PeerId from, wire::StatusQuery& query) {
    context.Send(from, wire::StatusReply{.id = query.id, .json = ToJson(State())});
  }
  void On(PeerId from, wire::Drop& drop);
  template <typename Message>
  requires requires(Calls& c, Message& m) { c.On(PeerId(), m); }
  void On(PeerId from, Message& message) { calls.On(from, message); }
  template <typename Message>
  requires requires(Snapshots& s, Message& m) { s.On(PeerId(), m); }
  void On(PeerId from, Message& message) { snapshots.On(from, message); }
  template <typename Message>
  requires requires(Streams& s, Message& m) { s.On(PeerId(), m); }
  void On(PeerId from, Message& message) { streams.On(from, message); }
  template <typename Message>
  requires requires(Spill& s, Message& m) { s.On(PeerId(), m); }
  void On(PeerId from, Message& message) { spill.On(from, message); }
  // What only jobs and tools understand does not come to a node; a node that gets it does nothing.
  template <typename Other>
  void On(PeerId, Other&) {}

  void StepDrop(uint64_t id);
  NodeState State() const;
  uint64_t PlanningBytes() const;
  std::vector<entry::Name> NamesOf(const Commitment& commitment, uint32_t first,
                                   uint32_t last) const;

  Context context;
  Manifests manifests;
  planner::Calendar calendar;  // of the memory
  planner::Calendar below;     // of the disk
  Commitments commitments;
  Membership membership;
  Home home;
  Snapshots snapshots;
  Streams streams;
  Loader loader;
  Spill spill;
  Journal* journal;
  PromiseLog promise_log;
  RestoreFlow restore;
  bool started = false;  // what was promised before has been taken up
  std::vector<std::pair<bulk::ReadMiss, std::function<void(Status)>>> early;  // misses before that
  std::vector<std::pair<PeerId, Frames>> early_messages;
  uint64_t early_bytes = 0;
  Calls calls;
  std::map<uint64_t, DropFlow> drops;
  uint64_t last_drop = 0;
};

Node::Node(const Env& env, store::MemoryTier* tier, NodeOptions options, store::DiskTier* disk,
           Journal* journal)
    : parts_(std::make_unique<Parts>(env, tier, std::move(options), disk, journal)) {
  if (disk != nullptr) tier->SetBelow(disk);
}
Node::~Node() = default;

void Node::Start() { parts_->Start(); }

void Node::OnMiss(bulk::ReadMiss miss, std::function<void(Status)> done) {
  if (parts_->streams.OnMiss({miss.oid, miss.version}, done)) return;
  if (parts_->started) return parts_->loader.OnMiss(std::move(miss), std::move(done));
  if (parts_->early.size() < Loader::kMaxUrgent) {
    parts_->early.emplace_back(std::move(miss), std::move(done));
    return;
  }
  parts_->context.env.clock->At(parts_->context.Now(), [done = std::move(done)] {
    done(Status::Unavailable("the node is starting; too many reads wait for it"));
  });
}

std::string Node::StatusJson() const { return ToJson(parts_->State()); }

Status Node::CheckInvariants() const {
  const Parts& parts = *parts_;
  const Room tentative = parts.calls.Tentative();
  HF_RETURN_IF_ERROR(
      parts.commitments.CheckBooks({tentative.memory, parts.streams.reserved_bytes(),
                                    tentative.disk + parts.streams.reserved_disk_bytes()}));
  HF_RETURN_IF_ERROR(parts.streams.CheckBooks());
  HF_RETURN_IF_ERROR(parts.spill.guests().CheckBooks());
  if (parts.calendar.reserved() > parts.calendar.capacity() ||
      parts.below.reserved() > parts.below.capacity()) {
    return Status::NoSpace("the calendar is overbooked");
  }
  store::TierStats stats = parts.context.tier->Stats();
  if (stats.held_bytes > stats.live_bytes || stats.live_bytes > stats.object_bytes) {
    return Status::NoSpace("the tier holds more than it has");
  }
  return parts.snapshots.log().CheckFrames();
}

// --- Start ---------------------------------------------------------------------------------------

// What comes too early waits, or is lost where that is too much, as if the node had not been there yet.
void Node::Parts::Start() {
  context.env.network->OnMessage([this](PeerId from, Frames frames) {
    if (started) return OnMessage(from, std::move(frames));
    early_bytes += frames.bytes();
    if (early_messages.size() < kMaxEarlyMessages && early_bytes <= kMaxEarlyBytes)
      early_messages.emplace_back(from, std::move(frames));
  });
  context.tier->SetHoldUntil([this](const Oid& oid, VersionHash version) {
    return std::max(commitments.HeldUntil({oid, version}), streams.HeldUntil({oid, version}));
  });
  commitments.OnEnd([this](const Commitment& ended) { loader.Forget(ended); });
  commitments.OnJob([this](JobId job, uint64_t tenancy, std::optional<Duration> lease,
                           std::function<void()> known) {
    promise_log.OnJob(job, tenancy, lease, std::move(known));
  });
  if (journal == nullptr) return Begin();
  restore.Begin(journal, [this](const Status& restored) {
    const bool damaged = restored.code() == Code::kCorrupt;
    if (damaged) {
      context.env.log->Error("the promises of earlier starts are void: the journal: " +
                             restored.message());
    }
    if (restored.ok() || damaged) return promise_log.Begin(restore.life(), [this] { Begin(); });
    promise_log.Fail(restored);
    Begin();
  });
}

void Node::Parts::Begin() {
  started = true;
  membership.Start();
  spill.Start();
  Tick();
  Maintain();
  for (auto& [from, frames] : std::exchange(early_messages, {})) OnMessage(from, std::move(frames));
  for (auto& [miss, done] : std::exchange(early, {}))
    loader.OnMiss(std::move(miss), std::move(done));
}

// Sorted by index, one of each.
std::vector<entry::Name> Node::Parts::NamesOf(const Commitment& commitment, uint32_t first,
                                              uint32_t last) const {
  std::vector<entry::Name> names;
  calls.NamesOf(commitment, first, last, &names);
  loader.NamesOf(commitment, first, last, &names);
  std::stable_sort(names.begin(), names.end(),
                   [](const auto& a, const auto& b) { return a.index < b.index; });
  auto same = [](const auto& a, const auto& b) { return a.index == b.index; };
  names.erase(std::unique(names.begin(), names.end(), same), names.end());
  return names;
}

// --- Messages ------------------------------------------------------------------------------------

void Node::Parts::OnMessage(PeerId from, Frames frames) {
  Result<wire::Message> message = wire::Decode(std::move(frames));
  if (!message.ok()) {
    context.Send(from, wire::ErrorReply{.about = "message", .job = 0, .status = message.status()});
    return;
  }
  std::visit([&](auto& body) { On(from, body); }, *message);
}

void Node::Parts::On(PeerId from, wire::Hello& hello) {
  const NodeOptions& options = context.options;
  if (hello.cluster != options.cluster) {
    context.Send(from, wire::ErrorReply{
                           .about = "Hello",
                           .job = hello.job,
                           .status = Status::Invalid("node " + std::to_string(options.node) +
                                                     " belongs to cluster \"" + options.cluster +
                                                     "\", not to \"" + hello.cluster + "\"")});
    return;
  }
  membership.OnHello(from, hello);
  const Room room = spill.guests().FreeRoom();
  context.Send(from, wire::HelloReply{.node = options.node,
                                      .incarnation = options.incarnation,
                                      .capacity_bytes = context.tier->Stats().object_bytes,
                                      .free_bytes = calendar.Room() + below.Room(),
                                      .max_object_bytes = context.tier->max_object_bytes(),
                                      .far_bytes_per_s = options.far_bytes_per_s,
                                      .far_objects_per_s = options.far_objects_per_s,
                                      .bulk_endpoint = options.bulk_endpoint,
                                      .far_identity = options.far_identity,
                                      .guest_bytes = room.memory,
                                      .guest_disk_bytes = room.disk});
}

void Node::Parts::On(PeerId from, wire::Drop& drop) {
  if (drops.size() == kMaxDrops ||
      PlanningBytes() + drop.oids.size() > context.options.max_planning_bytes) {
    context.Send(
        from,
        wire::ErrorReply{.about = "Drop",
                         .job = 0,
                         .status = Status::NoSpace("node " + std::to_string(context.options.node) +
                                                   " is busy with other drops; try again")});
    return;
  }
  uint64_t id = ++last_drop;
  drops.try_emplace(id, &context, from, std::move(drop));
  StepDrop(id);
}

void Node::Parts::StepDrop(uint64_t id) {
  auto it = drops.find(id);
  if (!it->second.Step()) {
    drops.erase(it);
    return;
  }
  context.env.clock->At(context.Now(), [this, id] { StepDrop(id); });
}

// --- Time ----------------------------------------------------------------------------------------

void Node::Parts::Tick() {
  membership.Greet();
  commitments.Expire();
  home.Expire();
  loader.Tick();
  streams.Expire();
  spill.Expire();
  calls.Expire();
  commitments.TellExpired();
  context.env.clock->At(context.Now() + 1s, [this] { Tick(); });
}

void Node::Parts::Maintain() {
  Time now = context.Now();
  context.tier->Maintain(now, kReclaimBudget);
  if (context.disk != nullptr) context.disk->Maintain();
  commitments.TellLostBelow();
  Duration pause = loader.active() > 0 ? kBusyMaintenance : kIdleMaintenance;
  context.env.clock->At(now + pause, [this] { Maintain(); });
}

// --- State ---------------------------------------------------------------------------------------

uint64_t Node::Parts::PlanningBytes() const {
  uint64_t bytes = manifests.bytes() + loader.queue().memory_bytes() + commitments.memory_bytes() +
                   home.memory_bytes() + loader.first_bytes() + loader.copy_bytes() +
                   promise_log.memory_bytes() + calls.memory_bytes() + snapshots.memory_bytes() +
                   streams.memory_bytes() + spill.memory_bytes();
  for (const auto& [id, drop] : drops) bytes += drop.memory_bytes();
  return bytes;
}

NodeState Node::Parts::State() const {
  NodeState state{.options = &context.options,
                  .tier = context.tier->Stats(),
                  .disk = {},
                  .journal = {},
                  .calendar_capacity = calendar.capacity(),
                  .calendar_reserved = calendar.reserved(),
                  .tentative_bytes = calls.Tentative().memory,
                  .disk_capacity = below.capacity(),
                  .disk_reserved = below.reserved(),
                  .planning_bytes = PlanningBytes(),
                  .jobs = commitments.jobs().size(),
                  .pending_objects = commitments.pending_objects(),
                  .promises_broken = commitments.promises_broken(),
                  .loads_active = loader.active(),
                  .loads = loader.counters(),
                  .grants = home.under_way(),
                  .spill = {.given = spill.out().counters(),
                            .lifts = spill.lifts().counters(),
                            .guests = spill.guests().counters(),
                            .under_way = spill.under_way(),
                            .lodgings = home.lodgings().size(),
                            .sent_to_lodgings = home.sent_to_lodgings()},
                  .far = context.env.far->Counters(),
                  .peers = {}};
  if (context.disk != nullptr) state.disk = context.disk->Stats();
  if (journal != nullptr) {
    state.journal = {promise_log.counters(), promise_log.used_bytes(), !promise_log.failure().ok(),
                     restore.counters()};
  }
  for (const auto& [node, peer] : membership.peers()) {
    state.peers.push_back({node, membership.Reachable(node) != nullptr});
  }
  return state;
}

}  // namespace holdfast::cached
