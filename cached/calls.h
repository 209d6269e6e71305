// SPDX-License-Identifier: Apache-2.0
// The calls of jobs that are under way at this node (call_flow.h), from a Call to the last of its
// confirms, however late.
#pragma once

#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "cached/call_flow.h"

namespace holdfast::cached {

class Calls {
 public:
  static constexpr uint32_t kMaxPerJob = 64;

  // The parts outlive it; `planning_bytes` is what is in use of max_planning_bytes.
  Calls(const Context* context, Manifests* manifests, planner::Calendar* calendar,
        planner::Calendar* below, Commitments* commitments, Loader* loader, PromiseLog* log,
        std::function<uint64_t()> planning_bytes);

  void On(PeerId from, wire::Call& call);
  void On(PeerId from, wire::Manifest& manifest);
  void On(PeerId from, wire::Confirm& confirm);
  void End(JobId job);
  // Once a second: offers that nobody confirmed.
  void Expire();

  // As CallFlow::NamesOf.
  void NamesOf(const Commitment& commitment, uint32_t first, uint32_t last,
               std::vector<entry::Name>* names) const;
  // Reserved for bids that were not confirmed yet.
  Room Tentative() const;
  uint64_t memory_bytes() const;

 private:
  void Bid(JobId job, uint32_t call);
  void Refuse(PeerId peer, const wire::Call& call, Status status);
  void RefuseWaiting(const ManifestDigest& digest, const Status& status);
  Room TentativeOf(JobId job) const;

  const Context* context_;
  Manifests* manifests_;
  Commitments* commitments_;
  PromiseLog* log_;
  Planning planning_;
  std::map<std::pair<JobId, uint32_t>, CallFlow> flows_;
};

}  // namespace holdfast::cached
