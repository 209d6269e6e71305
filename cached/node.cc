// SPDX-License-Identifier: Apache-2.0
#include "cached/node.h"

#include <algorithm>
#include <map>
#include <utility>

#include "cached/call_flow.h"
#include "cached/commitments.h"
#include "cached/context.h"
#include "cached/drop_flow.h"
#include "cached/home.h"
#include "cached/loader.h"
#include "cached/log_keeper.h"
#include "cached/manifests.h"
#include "cached/membership.h"
#include "cached/promise_log.h"
#include "cached/restore_flow.h"
#include "cached/snapshot_flow.h"
#include "cached/status_json.h"
#include "cached/streams.h"

namespace holdfast::cached {
namespace {

constexpr Duration kBusyMaintenance = 2ms;
constexpr Duration kIdleMaintenance = 50ms;
constexpr uint64_t kReclaimBudget = 32 * kMiB;
constexpr uint32_t kMaxCallsPerJob = 64;
constexpr size_t kMaxDrops = 16;
constexpr size_t kMaxEarlyMessages = 4'096;  // while the node starts
constexpr uint64_t kMaxEarlyBytes = 64 * kMiB;
constexpr size_t kMaxSnapshots = 4;  // at a time
constexpr uint64_t kLogPart = 4;     // of the planning memory, for the snapshot log

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
        commitments(&context, &manifests, &calendar),
        membership(&context),
        home(&context, &membership),
        log(context.options.cluster, context.options.max_planning_bytes / kLogPart),
        streams(&context, &calendar),
        loader(&context, &commitments, &membership, &home),
        journal(j),
        promise_log(&context, &commitments, journal,
                    [this](const Commitment& commitment, uint32_t first, uint32_t last) {
                      return NamesOf(commitment, first, last);
                    }),
        restore(&context, &manifests, &commitments, &loader),
        planning{&manifests,
                 &calendar,
                 &commitments,
                 &loader,
                 &promise_log,
                 [this](JobId job, uint32_t call) {
                   auto it = flows.find({job, call});
                   return it == flows.end() ? nullptr : &it->second;
                 },
                 [this](JobId job) { return TentativeBytesOf(job); },
                 [this] { return PlanningBytes(); }} {}

  void Start();
  void Begin();
  void OnMessage(PeerId from, Frames frames);
  void Tick();
  void Maintain();

  void On(PeerId from, wire::Hello& hello);
  void On(PeerId from, wire::Call& call);
  void On(PeerId from, wire::Manifest& manifest);
  void On(PeerId from, wire::Confirm& confirm);
  void On(PeerId from, wire::EndJob& end);
  void On(PeerId from, wire::Drop& drop);
  void On(PeerId from, wire::HelloReply& reply);
  void On(PeerId from, wire::Heartbeat& beat) { commitments.Heartbeat(beat, from); }
  void On(PeerId from, wire::Ask& ask) {
    context.Send(from, home.OnAsk(membership.NodeOf(from), ask));
  }
  void On(PeerId from, wire::Answer& answer) { loader.OnAnswer(from, answer); }
  void On(PeerId from, wire::Fetched& fetched) { home.OnFetched(membership.NodeOf(from), fetched); }
  void On(PeerId from, wire::StatusQuery& query);
  void On(PeerId from, wire::SnapshotQuery& query);
  void On(PeerId from, wire::LogAppend& append);
  void On(PeerId from, wire::LogQuery& query) {
    context.Send(from, log.Answer(query, context.Now()));
  }
  void On(PeerId from, wire::LogReply& reply);
  template <typename Message>
  requires requires(Streams& s, Message& m) { s.On(PeerId(), m); }
  void On(PeerId from, Message& message) { streams.On(from, message); }
  // What only jobs and tools understand does not come to a node; a node that gets it does nothing.
  template <typename Other>
  void On(PeerId, Other&) {}

  void Bid(JobId job, uint32_t call);
  void StepDrop(uint64_t id);
  void StepSnapshot(uint64_t id);
  void Refuse(PeerId peer, const wire::Call& call, Status status);
  void RefuseWaiting(const ManifestDigest& digest, const Status& status);
  NodeState State() const;
  uint64_t TentativeBytes() const;
  uint64_t TentativeBytesOf(JobId job) const;
  uint64_t PlanningBytes() const;
  std::vector<entry::Name> NamesOf(const Commitment& commitment, uint32_t first,
                                   uint32_t last) const;

  Context context;
  Manifests manifests;
  planner::Calendar calendar;
  Commitments commitments;
  Membership membership;
  Home home;
  LogKeeper log;
  Streams streams;
  Loader loader;
  Journal* journal;
  PromiseLog promise_log;
  RestoreFlow restore;
  bool started = false;  // what was promised before has been taken up
  std::vector<std::pair<bulk::ReadMiss, std::function<void(Status)>>> early;  // misses before that
  std::vector<std::pair<PeerId, Frames>> early_messages;
  uint64_t early_bytes = 0;
  Planning planning;
  std::map<std::pair<JobId, uint32_t>, CallFlow> flows;
  std::map<uint64_t, DropFlow> drops;
  EvictionHistory evictions;
  std::map<uint64_t, SnapshotFlow> snapshots;
  uint64_t last_flow = 0;  // of drops and snapshots
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
  HF_RETURN_IF_ERROR(
      parts.commitments.CheckBooks(parts.TentativeBytes(), parts.streams.reserved_bytes()));
  HF_RETURN_IF_ERROR(parts.streams.CheckBooks());
  if (parts.calendar.reserved() > parts.calendar.capacity())
    return Status::NoSpace("the calendar is overbooked");
  store::TierStats stats = parts.context.tier->Stats();
  if (stats.held_bytes > stats.live_bytes || stats.live_bytes > stats.object_bytes) {
    return Status::NoSpace("the tier holds more than it has");
  }
  return parts.log.CheckFrames();
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
  commitments.OnEnd([this](JobId job, uint32_t call) { loader.Forget(job, call); });
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
  auto flow = flows.find({commitment.job, commitment.call});
  if (flow != flows.end()) flow->second.NamesOf(commitment, first, last, &names);
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
  context.Send(from, wire::HelloReply{.node = options.node,
                                      .incarnation = options.incarnation,
                                      .capacity_bytes = context.tier->Stats().object_bytes,
                                      .free_bytes = calendar.Room(),
                                      .max_object_bytes = context.tier->max_object_bytes(),
                                      .far_bytes_per_s = options.far_bytes_per_s,
                                      .far_objects_per_s = options.far_objects_per_s,
                                      .bulk_endpoint = options.bulk_endpoint,
                                      .far_identity = options.far_identity});
}

void Node::Parts::Refuse(PeerId peer, const wire::Call& call, Status status) {
  context.Send(peer, wire::Bids{.job = call.job,
                                .call = call.call,
                                .incarnation = context.options.incarnation,
                                .status = std::move(status)});
}

void Node::Parts::On(PeerId from, wire::Call& call) {
  std::pair<JobId, uint32_t> id{call.job, call.call};
  auto it = flows.find(id);
  if (it == flows.end()) {
    if (!promise_log.failure().ok() && !call.dry_run)
      return Refuse(from, call, promise_log.failure());
    if (call.call > kMaxCallsPerJob) {
      return Refuse(
          from, call,
          Status::NoSpace("a job may call " + std::to_string(kMaxCallsPerJob) + " times"));
    }
    uint64_t need = CallFlow::kFixedBytes + call.count;
    if (PlanningBytes() + need > context.options.max_planning_bytes) {
      return Refuse(from, call,
                    Status::NoSpace(
                        "the plans of jobs take " + FormatBytes(PlanningBytes()) +
                        " of memory.planning = " + FormatBytes(context.options.max_planning_bytes) +
                        " on node " + std::to_string(context.options.node) +
                        "; raise it there or wait for a job to end"));
    }
    if (!call.dry_run) {
      Result<Commitments::Job*> job = commitments.Open(call.job, from, call.lease);
      if (!job.ok()) return Refuse(from, call, job.status());
    }
    it = flows.try_emplace(id, &context, &planning, from, std::move(call)).first;
  }
  it->second.Begin(from);
  Bid(id.first, id.second);
}

// One chunk now, the next one after what is queued meanwhile: heartbeats and reads go on.
void Node::Parts::Bid(JobId job, uint32_t call) {
  auto it = flows.find({job, call});
  if (it == flows.end() || !it->second.BidSlice()) return;
  context.env.clock->At(context.Now(), [this, job, call] { Bid(job, call); });
}

void Node::Parts::On(PeerId from, wire::Manifest& message) {
  wire::ManifestColumns& columns = message.columns;
  Result<planner::Manifest> manifest = planner::Manifest::FromColumns(
      columns.count, columns.size_width, std::move(columns.oids), std::move(columns.sizes),
      std::move(columns.versions), message.digest);
  Status status = manifest.ok() ? manifests.Add(*std::move(manifest)) : manifest.status();
  if (!status.ok()) {
    context.Send(from, wire::ErrorReply{.about = "Manifest", .job = 0, .status = status});
    if (status.code() == Code::kNoSpace) RefuseWaiting(message.digest, status);
    return;
  }
  for (auto& [id, flow] : flows) {
    if (!flow.waits_for_manifest() || flow.digest() != message.digest) continue;
    flow.Begin(flow.peer());  // other jobs wait for it, too
    Bid(id.first, id.second);
  }
}

// There is no room for a manifest: whoever waits for it is told. (One with a wrong digest is no
// reason: another connection may bring the right one.)
void Node::Parts::RefuseWaiting(const ManifestDigest& digest, const Status& status) {
  for (auto& [id, flow] : flows) {
    if (flow.waits_for_manifest() && flow.digest() == digest) flow.Refuse(status);
  }
}

void Node::Parts::On(PeerId from, wire::Confirm& confirm) {
  auto it = flows.find({confirm.job, confirm.call});
  if (it != flows.end() && confirm.incarnation == context.options.incarnation) {
    return it->second.OnConfirm(from, std::move(confirm));
  }
  Bitmap all(confirm.count, true);
  context.Send(from, wire::Ack{.job = confirm.job,
                               .call = confirm.call,
                               .incarnation = context.options.incarnation,
                               .first = confirm.first,
                               .count = confirm.count,
                               .refused = Buffer::CopyOf(all.bytes()),
                               .why = wire::Refusal::kUnknownCall});
}

void Node::Parts::On(PeerId, wire::EndJob& end) {
  flows.erase(flows.lower_bound({end.job, 0}), flows.upper_bound({end.job, UINT32_MAX}));
  commitments.End(end.job);
}

void Node::Parts::On(PeerId from, wire::StatusQuery& query) {
  context.Send(from, wire::StatusReply{.id = query.id, .json = ToJson(State())});
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
  uint64_t id = ++last_flow;
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

void Node::Parts::On(PeerId from, wire::SnapshotQuery& query) {
  if (snapshots.size() == kMaxSnapshots ||
      PlanningBytes() + SnapshotFlow::BytesFor(context) > context.options.max_planning_bytes) {
    const std::string node = std::to_string(context.options.node);
    context.Send(from, wire::ErrorReply{.about = "SnapshotQuery",
                                        .job = 0,
                                        .status = Status::NoSpace("node " + node +
                                                                  " has no memory.planning left "
                                                                  "for a listing; try again")});
    return;
  }
  const uint64_t id = ++last_flow;
  snapshots.try_emplace(id, &context, &evictions, from, query);
  StepSnapshot(id);
}

void Node::Parts::StepSnapshot(uint64_t id) {
  auto it = snapshots.find(id);
  switch (it->second.Step([this, id] { StepSnapshot(id); })) {
    case SnapshotFlow::Next::kAgain:
      context.env.clock->At(context.Now(), [this, id] { StepSnapshot(id); });
      break;
    case SnapshotFlow::Next::kWait:
      break;
    case SnapshotFlow::Next::kDone:
      snapshots.erase(it);
      break;
  }
}

void Node::Parts::On(PeerId from, wire::LogAppend& append) {
  Status taken = PlanningBytes() + append.frames.size() > context.options.max_planning_bytes
                     ? Status::NoSpace(
                           "the plans of jobs leave no room for the snapshot log in "
                           "memory.planning")
                     : log.Append(append.frames.view(), context.Now());
  if (!taken.ok()) {
    context.Send(from, wire::ErrorReply{.about = "LogAppend", .job = 0, .status = taken});
  }
  context.Send(from,
               wire::LogReply{.id = append.id, .sequence = log.sequence(), .mark = log.mark()});
}

// A node that was started again has no log until somebody greets it who has.
void Node::Parts::On(PeerId from, wire::HelloReply& reply) {
  membership.OnHelloReply(from, reply);
  if (log.sequence() == 0) context.Send(from, wire::LogQuery{});
}

void Node::Parts::On(PeerId from, wire::LogReply& reply) {
  const bool has_room = PlanningBytes() + reply.frames.size() <= context.options.max_planning_bytes;
  if (reply.frames.empty() || !has_room) return;
  const Status taken = log.Append(reply.frames.view(), context.Now() - reply.age);
  if (!taken.ok()) return context.env.log->Warn("a peer's snapshot log: " + taken.message());
  if (log.sequence() < reply.sequence) {  // the rest of a long one
    context.Send(from, wire::LogQuery{.after = log.sequence(), .mark = log.mark()});
  }
}

// --- Time ----------------------------------------------------------------------------------------

void Node::Parts::Tick() {
  membership.Greet();
  commitments.Expire();
  home.Expire();
  loader.Tick();
  streams.Expire();
  Time now = context.Now();
  for (auto it = flows.begin(); it != flows.end();) {
    CallFlow& flow = it->second;
    if (flow.expires() <= now) flow.Expire();
    // A flow answers late confirms as long as its job lives.
    bool over = flow.expires() <= now && commitments.Find(it->first.first) == nullptr;
    it = over ? flows.erase(it) : std::next(it);
  }
  context.env.clock->At(now + 1s, [this] { Tick(); });
}

void Node::Parts::Maintain() {
  Time now = context.Now();
  context.tier->Maintain(now, kReclaimBudget);
  if (context.disk != nullptr) context.disk->Maintain();
  Duration pause = loader.active() > 0 ? kBusyMaintenance : kIdleMaintenance;
  context.env.clock->At(now + pause, [this] { Maintain(); });
}

// --- State ---------------------------------------------------------------------------------------

uint64_t Node::Parts::TentativeBytes() const {
  uint64_t bytes = 0;
  for (const auto& [id, flow] : flows) bytes += flow.tentative_bytes();
  return bytes;
}

uint64_t Node::Parts::TentativeBytesOf(JobId job) const {
  uint64_t bytes = 0;
  for (auto it = flows.lower_bound({job, 0}); it != flows.end() && it->first.first == job; ++it) {
    bytes += it->second.tentative_bytes();
  }
  return bytes;
}

uint64_t Node::Parts::PlanningBytes() const {
  uint64_t bytes = manifests.bytes() + loader.queue().memory_bytes() + commitments.memory_bytes() +
                   home.memory_bytes() + loader.first_bytes() + promise_log.memory_bytes();
  for (const auto& [id, flow] : flows) bytes += flow.memory_bytes();
  for (const auto& [id, drop] : drops) bytes += drop.memory_bytes();
  for (const auto& [id, snapshot] : snapshots) bytes += snapshot.memory_bytes();
  bytes += log.memory_bytes() + streams.memory_bytes();
  return bytes;
}

NodeState Node::Parts::State() const {
  NodeState state{.options = &context.options,
                  .tier = context.tier->Stats(),
                  .disk = {},
                  .journal = {},
                  .calendar_capacity = calendar.capacity(),
                  .calendar_reserved = calendar.reserved(),
                  .tentative_bytes = TentativeBytes(),
                  .planning_bytes = PlanningBytes(),
                  .jobs = commitments.jobs().size(),
                  .pending_objects = commitments.pending_objects(),
                  .promises_broken = commitments.promises_broken(),
                  .loads_active = loader.active(),
                  .loads = loader.counters(),
                  .grants = home.under_way(),
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
