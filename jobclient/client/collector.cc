// SPDX-License-Identifier: Apache-2.0
#include "jobclient/client/collector.h"

#include <algorithm>
#include <map>
#include <utility>

#include "jobclient/client/parts.h"

namespace holdfast {
namespace {

using snapshot::AgeCells;
using snapshot::HeldObject;
using snapshot::NodeListing;
using snapshot::SnapshotLog;
using snapshot::Stamp;
using snapshot::SurvivalEvidence;

using Replies = std::map<NodeId, wire::SnapshotReply>;

Duration Since(Stamp then, Stamp now) { return Duration(std::max<int64_t>(now.us - then.us, 0)); }

NodeListing ListingOf(NodeId node, const wire::SnapshotReply& reply) {
  NodeListing listing{.node = node, .incarnation = reply.incarnation, .answered = true};
  ColumnView<uint64_t> prints(reply.prints.view());
  ColumnView<uint32_t> ages(reply.ages.view());
  ColumnView<uint64_t> held(reply.held.view());
  listing.objects.reserve(prints.size());
  for (size_t i = 0; i < prints.size(); ++i) {
    listing.objects.push_back({.print = snapshot::PrintOf(prints[i]),
                               .age = std::chrono::milliseconds(ages[i]),
                               .held = (held[i / 64] >> (i % 64) & 1) != 0});
  }
  std::sort(listing.objects.begin(), listing.objects.end(),
            [](const HeldObject& a, const HeldObject& b) { return a.print < b.print; });
  const auto twice = [](const HeldObject& a, const HeldObject& b) { return a.print == b.print; };
  listing.objects.erase(std::unique(listing.objects.begin(), listing.objects.end(), twice),
                        listing.objects.end());
  return listing;
}

// Whole lives, from the ages at which they ended: what was lost in a cell was kept in all before.
SurvivalEvidence LivesOf(const wire::SnapshotReply& reply) {
  SurvivalEvidence lives;
  ColumnView<uint64_t> lost(reply.evicted.view());
  ColumnView<uint64_t> squares(reply.evicted_squares.view());
  double kept = 0;
  for (size_t cell = std::min<size_t>(lost.size(), AgeCells::kCells); cell-- > 0;) {
    lives.Add(static_cast<uint32_t>(cell), {.kept = kept,
                                            .lost = static_cast<double>(lost[cell]),
                                            .lost_squares = static_cast<double>(squares[cell])});
    kept += static_cast<double>(lost[cell]);
  }
  return lives;
}

// What happened at the nodes whose evictions since the snapshot before are known: the lives that
// ended since, and those that go on, less what of both was known then. What promises hold tells
// nothing of how long objects stay without one.
SurvivalEvidence EvidenceSince(const SnapshotLog& log, const Replies& replies,
                               const std::vector<NodeListing>& listings) {
  SurvivalEvidence recent;
  std::map<NodeId, bool> watched;
  for (const SnapshotLog::Node& node : log.nodes()) {
    auto reply = replies.find(node.node);
    watched[node.node] = reply != replies.end() && node.answered &&
                         !reply->second.evicted.empty() &&
                         reply->second.incarnation == node.incarnation;
  }
  for (const auto& [node, reply] : replies) {
    if (watched[node]) recent += LivesOf(reply);
  }
  for (const NodeListing& listing : listings) {
    if (!watched[listing.node]) continue;
    for (const HeldObject& object : listing.objects) {
      if (!object.held) recent.StillThere(Duration(0), object.age, 1);
    }
  }
  SurvivalEvidence before;
  log.known().ForEach([&](snapshot::Print, const snapshot::Sighting& seen) {
    if (!seen.held && watched[seen.node]) {
      before.StillThere(Duration(0), Since(seen.written, log.stamp()), 1);
    }
  });
  recent -= before;
  return recent;
}

}  // namespace

Result<Collected> SnapshotCollector::Collect(Stamp stamp, Duration deadline, bool full) {
  Client::Parts& parts = *client_->parts_;
  const std::vector<ClientOptions::Node>& nodes = parts.options.nodes;
  if (nodes.empty()) return Status::Invalid("no nodes are configured: there is nothing to collect");
  const Time started = parts.loop->Now();
  const uint64_t previous = log_->sequence();
  client::Promised<Replies> arrived;
  Replies gathered;
  size_t left = nodes.size();
  parts.thread->Post([&] {
    for (const ClientOptions::Node& node : nodes) {
      parts.cluster->Ask(
          node.id,
          [&](uint64_t id) -> wire::Message {
            return wire::SnapshotQuery{.id = id, .sequence = previous + 1, .previous = previous};
          },
          started + deadline,
          [&, id = node.id](Result<wire::Message> answer) {
            auto* reply = answer.ok() ? std::get_if<wire::SnapshotReply>(&*answer) : nullptr;
            if (reply != nullptr) gathered.emplace(id, std::move(*reply));
            if (--left == 0) arrived.Set(std::move(gathered));
          });
    }
  });
  const Replies replies = arrived.Wait();
  if (replies.empty()) {
    return Status::Unavailable("none of " + std::to_string(nodes.size()) +
                               " nodes answered; is the cluster running?");
  }
  Collected collected;
  collected.took = parts.loop->Now() - started;
  std::vector<NodeListing> listings;
  for (const ClientOptions::Node& node : nodes) {
    auto reply = replies.find(node.id);
    if (reply == replies.end()) {
      collected.absent.push_back(node.id);
      listings.push_back({.node = node.id, .answered = false});
      continue;
    }
    listings.push_back(ListingOf(node.id, reply->second));
    collected.objects += listings.back().objects.size();
  }
  std::sort(listings.begin(), listings.end(),
            [](const NodeListing& a, const NodeListing& b) { return a.node < b.node; });
  collected.answered = static_cast<uint32_t>(replies.size());

  const SurvivalEvidence recent = EvidenceSince(*log_, replies, listings);
  collected.evictions = recent.effective_evictions();
  SurvivalEvidence evidence = log_->evidence();
  evidence.Follow(recent, Since(log_->stamp(), stamp));
  collected.full = full || previous == 0;
  collected.frame = log_->Append(stamp, listings, evidence, full);
  if (collected.frame.empty()) {
    return Status::NoSpace("the nodes hold more objects than a snapshot can list");
  }
  collected.added = log_->added();
  collected.removed = log_->removed();
  return collected;
}

uint32_t SnapshotCollector::Broadcast(ByteView frame,
                                      const std::function<std::vector<std::byte>()>& since_full,
                                      Duration deadline) {
  Client::Parts& parts = *client_->parts_;
  const uint64_t sequence = log_->sequence();
  // Gives `frames` to `nodes`; those of them that have the last one then.
  auto give = [&](const std::vector<NodeId>& nodes, ByteView frames) {
    std::vector<NodeId> have;
    if (nodes.empty()) return have;
    size_t left = nodes.size();
    client::Promised<bool> all;
    const Time until = parts.loop->Now() + deadline;
    parts.thread->Post([&] {
      for (NodeId node : nodes) {
        parts.cluster->Ask(
            node,
            [&](uint64_t id) -> wire::Message {
              return wire::LogAppend{.id = id, .frames = Buffer::CopyOf(frames)};
            },
            until,
            [&, node](Result<wire::Message> answer) {
              auto* reply = answer.ok() ? std::get_if<wire::LogReply>(&*answer) : nullptr;
              if (reply != nullptr && reply->sequence == sequence) have.push_back(node);
              if (--left == 0) all.Set(true);
            });
      }
    });
    all.Wait();
    return have;
  };
  std::vector<NodeId> nodes;
  for (const ClientOptions::Node& node : parts.options.nodes) nodes.push_back(node.id);
  const std::vector<NodeId> have = give(nodes, frame);
  std::vector<NodeId> lack;
  for (NodeId node : nodes) {
    if (std::find(have.begin(), have.end(), node) == have.end()) lack.push_back(node);
  }
  if (lack.empty()) return static_cast<uint32_t>(have.size());
  const std::vector<std::byte> all = since_full();
  return static_cast<uint32_t>(have.size() + give(lack, all).size());
}

}  // namespace holdfast
