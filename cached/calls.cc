// SPDX-License-Identifier: Apache-2.0
#include "cached/calls.h"

#include <utility>

namespace holdfast::cached {

Calls::Calls(const Context* context, Manifests* manifests, planner::Calendar* calendar,
             planner::Calendar* below, Commitments* commitments, Loader* loader, PromiseLog* log,
             std::function<uint64_t()> planning_bytes)
    : context_(context),
      manifests_(manifests),
      commitments_(commitments),
      log_(log),
      planning_{manifests,
                calendar,
                below,
                commitments,
                loader,
                log,
                [this](JobId job, uint32_t call) {
                  auto it = flows_.find({job, call});
                  return it == flows_.end() ? nullptr : &it->second;
                },
                [this](JobId job) { return TentativeOf(job); },
                std::move(planning_bytes)} {}

void Calls::Refuse(PeerId peer, const wire::Call& call, Status status) {
  context_->Send(peer, wire::Bids{.job = call.job,
                                  .call = call.call,
                                  .incarnation = context_->options.incarnation,
                                  .status = std::move(status)});
}

void Calls::On(PeerId from, wire::Call& call) {
  std::pair<JobId, uint32_t> id{call.job, call.call};
  auto it = flows_.find(id);
  if (it == flows_.end()) {
    if (!log_->failure().ok() && !call.dry_run) return Refuse(from, call, log_->failure());
    if (call.call > kMaxPerJob) {
      return Refuse(from, call,
                    Status::NoSpace("a job may call " + std::to_string(kMaxPerJob) + " times"));
    }
    uint64_t need = CallFlow::kFixedBytes + CallFlow::BitmapBytes(call.count);
    if (planning_.planning_bytes() + need > context_->options.max_planning_bytes) {
      return Refuse(
          from, call,
          Status::NoSpace(
              "the plans of jobs take " + FormatBytes(planning_.planning_bytes()) +
              " of memory.planning = " + FormatBytes(context_->options.max_planning_bytes) +
              " on node " + std::to_string(context_->options.node) +
              "; raise it there or wait for a job to end"));
    }
    if (!call.dry_run) {
      Result<Commitments::Job*> job = commitments_->Open(call.job, from, call.lease);
      if (!job.ok()) return Refuse(from, call, job.status());
    }
    it = flows_.try_emplace(id, context_, &planning_, from, std::move(call)).first;
  }
  it->second.Begin(from);
  Bid(id.first, id.second);
}

// One chunk now, the next one after what is queued meanwhile: heartbeats and reads go on.
void Calls::Bid(JobId job, uint32_t call) {
  auto it = flows_.find({job, call});
  if (it == flows_.end() || !it->second.BidSlice()) return;
  context_->env.clock->At(context_->Now(), [this, job, call] { Bid(job, call); });
}

void Calls::On(PeerId from, wire::Manifest& message) {
  wire::ManifestColumns& columns = message.columns;
  Result<planner::Manifest> manifest = planner::Manifest::FromColumns(
      columns.count, columns.size_width, std::move(columns.oids), std::move(columns.sizes),
      std::move(columns.versions), message.digest);
  Status status = manifest.ok() ? manifests_->Add(*std::move(manifest)) : manifest.status();
  if (!status.ok()) {
    context_->Send(from, wire::ErrorReply{.about = "Manifest", .job = 0, .status = status});
    if (status.code() == Code::kNoSpace) RefuseWaiting(message.digest, status);
    return;
  }
  for (auto& [id, flow] : flows_) {
    if (!flow.waits_for_manifest() || flow.digest() != message.digest) continue;
    flow.Begin(flow.peer());  // other jobs wait for it, too
    Bid(id.first, id.second);
  }
}

// There is no room for a manifest: whoever waits for it is told. (One with a wrong digest is no
// reason: another connection may bring the right one.)
void Calls::RefuseWaiting(const ManifestDigest& digest, const Status& status) {
  for (auto& [id, flow] : flows_) {
    if (flow.waits_for_manifest() && flow.digest() == digest) flow.Refuse(status);
  }
}

void Calls::On(PeerId from, wire::Confirm& confirm) {
  auto it = flows_.find({confirm.job, confirm.call});
  if (it != flows_.end() && confirm.incarnation == context_->options.incarnation) {
    return it->second.OnConfirm(from, std::move(confirm));
  }
  Bitmap all(confirm.count, true);
  context_->Send(from, wire::Ack{.job = confirm.job,
                                 .call = confirm.call,
                                 .incarnation = context_->options.incarnation,
                                 .first = confirm.first,
                                 .count = confirm.count,
                                 .refused = Buffer::CopyOf(all.bytes()),
                                 .why = wire::Refusal::kUnknownCall});
}

void Calls::End(JobId job) {
  flows_.erase(flows_.lower_bound({job, 0}), flows_.upper_bound({job, UINT32_MAX}));
}

void Calls::Expire() {
  const Time now = context_->Now();
  for (auto it = flows_.begin(); it != flows_.end();) {
    CallFlow& flow = it->second;
    if (flow.expires() <= now) flow.Expire();
    // A flow answers late confirms as long as its job lives.
    const bool over = flow.expires() <= now && commitments_->Find(it->first.first) == nullptr;
    it = over ? flows_.erase(it) : std::next(it);
  }
}

void Calls::NamesOf(const Commitment& commitment, uint32_t first, uint32_t last,
                    std::vector<entry::Name>* names) const {
  auto flow = flows_.find({commitment.job, commitment.call});
  if (flow != flows_.end()) flow->second.NamesOf(commitment, first, last, names);
}

Room Calls::Tentative() const {
  Room room;
  for (const auto& [id, flow] : flows_) room += flow.tentative();
  return room;
}

Room Calls::TentativeOf(JobId job) const {
  Room room;
  for (auto it = flows_.lower_bound({job, 0}); it != flows_.end() && it->first.first == job; ++it) {
    room += it->second.tentative();
  }
  return room;
}

uint64_t Calls::memory_bytes() const {
  uint64_t bytes = 0;
  for (const auto& [id, flow] : flows_) bytes += flow.memory_bytes();
  return bytes;
}

}  // namespace holdfast::cached
