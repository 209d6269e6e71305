// SPDX-License-Identifier: Apache-2.0
#include "jobclient/client/snapshot_round.h"

#include <algorithm>
#include <utility>

namespace holdfast::client {
namespace {

using snapshot::AgeCells;
using snapshot::HeldObject;
using snapshot::NodeListing;
using snapshot::SnapshotLog;
using snapshot::Stamp;
using snapshot::SurvivalEvidence;

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
SurvivalEvidence EvidenceSince(const SnapshotLog& log, const Listings& replies,
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

using Takers = std::vector<NodeId>;

// Gives `frames` to `nodes`; `done` gets those of them that have the last one then.
void Give(ClusterView* cluster, const Takers& nodes, ByteView frames, uint64_t sequence,
          Time deadline, std::function<void(Takers)> done) {
  struct Round {
    Takers have;
    size_t left;
    std::function<void(Takers)> done;
  };
  auto round = std::make_shared<Round>(Round{{}, nodes.size(), std::move(done)});
  if (nodes.empty()) return round->done({});
  for (NodeId node : nodes) {
    cluster->Ask(
        node,
        [frames](uint64_t id) -> wire::Message {
          return wire::LogAppend{.id = id, .frames = Buffer::CopyOf(frames)};
        },
        deadline,
        [round, node, sequence](Result<wire::Message> answer) {
          auto* reply = answer.ok() ? std::get_if<wire::LogReply>(&*answer) : nullptr;
          if (reply != nullptr && reply->sequence == sequence) round->have.push_back(node);
          if (--round->left == 0) round->done(std::move(round->have));
        });
  }
}

}  // namespace

void AskForListings(ClusterView* cluster, const std::vector<NodeId>& nodes, uint64_t previous,
                    Time deadline, std::function<void(Listings)> done) {
  struct Round {
    Listings arrived;
    size_t left;
    std::function<void(Listings)> done;
  };
  auto round = std::make_shared<Round>(Round{{}, nodes.size(), std::move(done)});
  for (NodeId node : nodes) {
    cluster->Ask(
        node,
        [previous](uint64_t id) -> wire::Message {
          return wire::SnapshotQuery{.id = id, .sequence = previous + 1, .previous = previous};
        },
        deadline,
        [round, node](Result<wire::Message> answer) {
          auto* reply = answer.ok() ? std::get_if<wire::SnapshotReply>(&*answer) : nullptr;
          if (reply != nullptr) round->arrived.emplace(node, std::move(*reply));
          if (--round->left == 0) round->done(std::move(round->arrived));
        });
  }
}

Result<Collected> MakeFrame(const std::vector<NodeId>& nodes, const Listings& replies, Stamp stamp,
                            bool full, SnapshotLog* log) {
  if (replies.empty()) {
    return Status::Unavailable("none of " + std::to_string(nodes.size()) +
                               " nodes answered; is the cluster running?");
  }
  Collected collected;
  std::vector<NodeListing> listings;
  for (NodeId node : nodes) {
    auto reply = replies.find(node);
    if (reply == replies.end()) {
      collected.absent.push_back(node);
      listings.push_back({.node = node, .answered = false});
      continue;
    }
    listings.push_back(ListingOf(node, reply->second));
    collected.objects += listings.back().objects.size();
  }
  std::sort(listings.begin(), listings.end(),
            [](const NodeListing& a, const NodeListing& b) { return a.node < b.node; });
  collected.answered = static_cast<uint32_t>(replies.size());

  const SurvivalEvidence recent = EvidenceSince(*log, replies, listings);
  collected.evictions = recent.effective_evictions();
  SurvivalEvidence evidence = log->evidence();
  evidence.Follow(recent, Since(log->stamp(), stamp));
  collected.full = full || log->sequence() == 0;
  collected.frame = log->Append(stamp, listings, evidence, full);
  if (collected.frame.empty()) {
    return Status::NoSpace("the nodes hold more objects than a snapshot can list");
  }
  collected.added = log->added();
  collected.removed = log->removed();
  return collected;
}

void BroadcastFrame(const Env& env, ClusterView* cluster, const std::vector<NodeId>& nodes,
                    ByteView frame, uint64_t sequence,
                    std::function<std::vector<std::byte>()> since_full, Duration deadline,
                    std::function<void(uint32_t have)> done) {
  Give(cluster, nodes, frame, sequence, env.clock->Now() + deadline,
       [=, since_full = std::move(since_full), done = std::move(done)](const Takers& have) {
         Takers lack;
         for (NodeId node : nodes) {
           if (std::find(have.begin(), have.end(), node) == have.end()) lack.push_back(node);
         }
         if (lack.empty()) return done(static_cast<uint32_t>(have.size()));
         Give(cluster, lack, since_full(), sequence, env.clock->Now() + deadline,
              [done, first = have.size()](const Takers& more) {
                done(static_cast<uint32_t>(first + more.size()));
              });
       });
}

}  // namespace holdfast::client
