// SPDX-License-Identifier: Apache-2.0
#include "cached/snapshots.h"

#include <utility>

namespace holdfast::cached {
namespace {

constexpr uint64_t kLogPart = 4;  // of the planning memory, for the snapshot log

}  // namespace

Snapshots::Snapshots(const Context* context, std::function<uint64_t()> planning_bytes)
    : context_(context),
      planning_bytes_(std::move(planning_bytes)),
      log_(context->options.cluster, context->options.max_planning_bytes / kLogPart) {}

void Snapshots::On(PeerId from, wire::SnapshotQuery& query) {
  if (flows_.size() == kMax || planning_bytes_() + SnapshotFlow::BytesFor(*context_) >
                                   context_->options.max_planning_bytes) {
    const std::string node = std::to_string(context_->options.node);
    context_->Send(from, wire::ErrorReply{.about = "SnapshotQuery",
                                          .job = 0,
                                          .status = Status::NoSpace("node " + node +
                                                                    " has no memory.planning left "
                                                                    "for a listing; try again")});
    return;
  }
  const uint64_t id = ++last_flow_;
  flows_.try_emplace(id, context_, &evictions_, from, query);
  Step(id);
}

void Snapshots::Step(uint64_t id) {
  auto it = flows_.find(id);
  switch (it->second.Step([this, id] { Step(id); })) {
    case SnapshotFlow::Next::kAgain:
      context_->env.clock->At(context_->Now(), [this, id] { Step(id); });
      break;
    case SnapshotFlow::Next::kWait:
      break;
    case SnapshotFlow::Next::kDone:
      flows_.erase(it);
      break;
  }
}

void Snapshots::On(PeerId from, wire::LogAppend& append) {
  Status taken = planning_bytes_() + append.frames.size() > context_->options.max_planning_bytes
                     ? Status::NoSpace(
                           "the plans of jobs leave no room for the snapshot log in "
                           "memory.planning")
                     : log_.Append(append.frames.view(), context_->Now());
  if (!taken.ok()) {
    context_->Send(from, wire::ErrorReply{.about = "LogAppend", .job = 0, .status = taken});
  }
  context_->Send(from,
                 wire::LogReply{.id = append.id, .sequence = log_.sequence(), .mark = log_.mark()});
}

// A node that was started again has no log until somebody greets it who has.
void Snapshots::OnGreeted(PeerId from) {
  if (log_.sequence() == 0) context_->Send(from, wire::LogQuery{});
}

void Snapshots::On(PeerId from, wire::LogReply& reply) {
  const bool has_room =
      planning_bytes_() + reply.frames.size() <= context_->options.max_planning_bytes;
  if (reply.frames.empty() || !has_room) return;
  const Status taken = log_.Append(reply.frames.view(), context_->Now() - reply.age);
  if (!taken.ok()) return context_->env.log->Warn("a peer's snapshot log: " + taken.message());
  if (log_.sequence() < reply.sequence) {  // the rest of a long one
    context_->Send(from, wire::LogQuery{.after = log_.sequence(), .mark = log_.mark()});
  }
}

uint64_t Snapshots::memory_bytes() const {
  uint64_t bytes = log_.memory_bytes();
  for (const auto& [id, flow] : flows_) bytes += flow.memory_bytes();
  return bytes;
}

}  // namespace holdfast::cached
