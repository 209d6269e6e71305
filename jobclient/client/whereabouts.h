// SPDX-License-Identifier: Apache-2.0
// Where unplanned objects may be, as a client knows it: the snapshot log as its nodes keep it, the
// beliefs learned from it and from looks, and what looking and going far cost here.
//
//   1. Ready    the log's new part is fetched from a node now and then; the first time is waited for
//   2. Decide   look where, or go by way of the home
//   3. Looked, WentFar   the outcome and what it took, as evidence
//
// The log's clock is its collector's. Here it is the stamp of the last frame plus the time since a
// node got that frame, by the node's clock and by ours: no two clocks are compared.
//
// On the loop's thread.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/env.h"
#include "holdfast/explanation.h"
#include "jobclient/client/cluster_view.h"
#include "snapshot/decision.h"
#include "snapshot/log.h"

namespace holdfast::client {

struct WhereaboutsOptions {
  std::string cluster;
  // Prices of the far store.
  snapshot::NanoUsd nano_usd_per_get = 400;
  double nano_usd_per_byte = 0.09;
  MicroUsd micro_usd_per_hour = 1'000'000;  // of waiting
};

class Whereabouts {
 public:
  // Both outlive it.
  Whereabouts(const Env& env, ClusterView* cluster, const WhereaboutsOptions& options);

  // Calls `done` when the log is here, or it is clear that there is none: at once but for the first
  // time.
  void WhenReady(std::function<void()> done);

  // For all of them at once, in their order.
  std::vector<snapshot::Decision> Decide(std::span<const Oid> oids);
  // By what is learned, whatever DecideBy says.
  snapshot::Decision DecideByLog(const Oid& oid);
  // Instead of what is learned: for benchmarks that compare. An empty function ends it.
  void DecideBy(std::function<snapshot::Decision(const Oid&)> decide) {
    decide_ = std::move(decide);
  }
  // A look that was decided on came back after `took`.
  enum class Seen : uint8_t {
    kThere,
    kGone,     // the node does not have it
    kNothing,  // it did not say
  };
  void Looked(const Oid& oid, const snapshot::Decision& decision, Seen seen, Duration took);
  // It was got by way of `home`, which has it now, or from the far store itself (kNoNode).
  void WentFar(const Oid& oid, NodeId home, Duration took, uint64_t bytes);

  // Fills in all but name and OID. `home` is who is asked on the way far.
  void Explain(NodeId home, Explanation* why);

  const snapshot::SnapshotLog& log() const { return log_; }
  const snapshot::Beliefs& beliefs() const { return beliefs_; }
  const snapshot::Costs& costs() const { return costs_; }
  // The time by the log's clock.
  snapshot::Stamp Now() const;

 private:
  static constexpr Duration kFirstWait = 2s;    // of reads, for the log
  static constexpr Duration kAnswerWait = 60s;  // of the log itself: it may be long
  static constexpr Duration kLeastPause = 1s;   // between two questions for it
  static constexpr Duration kNoLogPause = 10s;
  static constexpr Duration kMostPause = 60s;
  static constexpr size_t kMaxOwn = 200'000;
  static constexpr size_t kMostPassed = 64;

  void Ask();
  void Take(NodeId node, Result<wire::Message> answer);
  bool IsBehind(const wire::LogReply& reply, Time now) const;
  Status Apply(ByteView frames);
  void BeginAnew();
  void ForgetOwn();
  void Settle();

  Env env_;
  ClusterView* cluster_;
  WhereaboutsOptions options_;
  snapshot::SnapshotLog log_;
  snapshot::Beliefs beliefs_;
  snapshot::Costs costs_;
  snapshot::Decider decider_;
  std::function<snapshot::Decision(const Oid&)> decide_;

  bool asking_ = false;
  bool settled_ = false;  // the first answer came, or was waited for long enough
  Time next_ask_{INT64_MIN / 2};
  size_t next_node_;
  Duration pause_ = kLeastPause;  // after a question that was not answered; doubles
  Time anchor_{};                 // when the last frame was made, by our clock
  size_t without_ = 0;            // nodes in a row that had no log
  std::vector<uint32_t> passed_;  // marks of the last frames
  std::vector<std::function<void()>> waiting_;
  // What this client knows better than the log, until its next frame, and what the log said.
  struct Own {
    snapshot::Print print;
    NodeId node;
    std::optional<snapshot::Sighting> before;
  };
  std::vector<Own> own_;
};

}  // namespace holdfast::client
