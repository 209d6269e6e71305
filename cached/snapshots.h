// SPDX-License-Identifier: Apache-2.0
// What a node says of what it holds, and what it keeps of what all of them said: listings for
// collectors (snapshot_flow.h), and the end of their log (log_keeper.h).
#pragma once

#include <functional>
#include <map>

#include "cached/log_keeper.h"
#include "cached/snapshot_flow.h"

namespace holdfast::cached {

class Snapshots {
 public:
  static constexpr size_t kMax = 4;  // listings at a time

  // `planning_bytes` is what is in use of max_planning_bytes.
  Snapshots(const Context* context, std::function<uint64_t()> planning_bytes);

  void On(PeerId from, wire::SnapshotQuery& query);
  void On(PeerId from, wire::LogAppend& append);
  void On(PeerId from, wire::LogQuery& query) {
    context_->Send(from, log_.Answer(query, context_->Now()));
  }
  void On(PeerId from, wire::LogReply& reply);
  // Another node, which may have what this one lacks.
  void OnGreeted(PeerId from);

  const LogKeeper& log() const { return log_; }
  uint64_t memory_bytes() const;

 private:
  void Step(uint64_t id);

  const Context* context_;
  std::function<uint64_t()> planning_bytes_;
  LogKeeper log_;
  EvictionHistory evictions_;
  std::map<uint64_t, SnapshotFlow> flows_;
  uint64_t last_flow_ = 0;
};

}  // namespace holdfast::cached
