// SPDX-License-Identifier: Apache-2.0
#include "jobclient/client/snapshot_round.h"

#include <algorithm>
#include <array>
#include <bit>
#include <numeric>
#include <utility>

namespace holdfast::client {
namespace {

using snapshot::AgeCells;
using snapshot::HeldObject;
using snapshot::kRings;
using snapshot::NodeListing;
using snapshot::Print;
using snapshot::Ring;
using snapshot::RingEvidence;
using snapshot::Sighting;
using snapshot::SnapshotLog;
using snapshot::Stamp;

Duration TimeBetween(Stamp then, Stamp now) {
  return Duration(std::max<int64_t>(now.us - then.us, 0));
}

bool ComesBefore(const HeldObject& a, const HeldObject& b) { return a.print < b.print; }

// By print. Prints are spread evenly, so their first bits say already about where each belongs.
std::vector<HeldObject> Sorted(const std::vector<HeldObject>& objects) {
  const auto bits = static_cast<uint32_t>(std::bit_width(objects.size() / 4));
  auto bucket = [bits](Print print) { return print >> (snapshot::kPrintBits - bits); };
  std::vector<uint32_t> ends((size_t{1} << bits) + 1);
  for (const HeldObject& object : objects) ++ends[bucket(object.print) + 1];
  std::partial_sum(ends.begin(), ends.end(), ends.begin());
  std::vector<HeldObject> sorted(objects.size());
  for (const HeldObject& object : objects) sorted[ends[bucket(object.print)]++] = object;
  auto first = sorted.begin();
  for (size_t i = 0; i + 1 < ends.size(); ++i) {
    const auto end = sorted.begin() + ends[i];
    std::sort(std::exchange(first, end), end, ComesBefore);
  }
  return sorted;
}

NodeListing ListingOf(NodeId node, const wire::SnapshotReply& reply) {
  NodeListing listing{.node = node, .incarnation = reply.incarnation, .answered = true};
  ColumnView<uint64_t> prints(reply.prints.view());
  ColumnView<uint32_t> ages(reply.ages.view());
  ColumnView<uint64_t> held(reply.held.view());
  ColumnView<uint64_t> kept(reply.kept.view());
  const auto bit = [](ColumnView<uint64_t>& column, size_t i) {
    return (column[i / 64] >> (i % 64) & 1) != 0;
  };
  listing.objects.reserve(prints.size());
  for (size_t i = 0; i < prints.size(); ++i) {
    listing.objects.push_back({.print = snapshot::PrintOf(prints[i]),
                               .age = std::chrono::milliseconds(ages[i]),
                               .held = bit(held, i),
                               .ring = bit(kept, i) ? Ring::kKept : Ring::kFresh});
  }
  listing.objects = Sorted(listing.objects);
  const auto twice = [](const HeldObject& a, const HeldObject& b) { return a.print == b.print; };
  listing.objects.erase(std::unique(listing.objects.begin(), listing.objects.end(), twice),
                        listing.objects.end());
  return listing;
}

// What happened between a snapshot and the one before it at the nodes whose evictions are known: the
// lives that ended, and those that go on, less what of both was known then.
class Since {
 public:
  Since(const SnapshotLog& log, Stamp stamp)
      : log_(log), passed_(TimeBetween(log.stamp(), stamp)), stamp_(stamp) {}

  RingEvidence Of(const Listings& replies, const std::vector<NodeListing>& listings) {
    for (const SnapshotLog::Node& node : log_.nodes()) {
      auto reply = replies.find(node.node);
      watched_[node.node] = reply != replies.end() && node.answered &&
                            !reply->second.evicted.empty() &&
                            reply->second.incarnation == node.incarnation;
    }
    for (const auto& [node, reply] : replies) {
      if (watched_[node]) AddLives(reply);
    }
    for (const NodeListing& listing : listings) {
      if (watched_[listing.node]) AddListed(listing);
    }
    SubtractBefore();
    return std::move(recent_);
  }

 private:
  void AddLives(const wire::SnapshotReply& reply) {
    ColumnView<uint64_t> lost(reply.evicted.view());
    ColumnView<uint64_t> squares(reply.evicted_squares.view());
    ColumnView<uint64_t> moved(reply.moved.view());
    if (lost.size() != kRings * AgeCells::kCells) return;
    for (size_t ring = 0; ring < kRings; ++ring) {
      AddLivesOf(static_cast<Ring>(ring), lost, squares, ring * AgeCells::kCells);
    }
    for (uint32_t cell = 0; cell < AgeCells::kCells; ++cell) {
      if (moved[cell] == 0) continue;
      recent_.Moved(AgeCells::MiddleOf(cell), moved[cell]);
      ended_[kFresh] += static_cast<double>(moved[cell]) * ShareKnown(cell);
    }
  }

  // Of the lives that ended at this age, those that had begun before the snapshot then: all, if they are
  // older than what has passed since; in doubt, too.
  double ShareKnown(uint32_t cell) const {
    if (cell + 1 == AgeCells::kCells || AgeCells::StartOf(cell + 1) > passed_) return 1;
    return static_cast<double>(AgeCells::StartOf(cell + 1).count()) /
           static_cast<double>(passed_.count());
  }

  // Whole lives, from the ages at which they ended: what was lost in a cell was kept in all before.
  // The ring's columns begin at `first`.
  void AddLivesOf(Ring ring, const ColumnView<uint64_t>& lost, const ColumnView<uint64_t>& squares,
                  size_t first) {
    double kept = 0;
    for (uint32_t cell = AgeCells::kCells; cell-- > 0;) {
      const auto ended = static_cast<double>(lost[first + cell]);
      const auto square = static_cast<double>(squares[first + cell]);
      recent_[ring].Add(cell, {.kept = kept, .lost = ended, .lost_squares = square});
      kept += ended;
      ended_[static_cast<size_t>(ring)] += ended * ShareKnown(cell);
    }
  }

  // What promises hold tells nothing of how long objects stay without one: what is held now stops
  // to count, and what was held then begins. What was kept and is fresh now came up from a disk.
  void AddListed(const NodeListing& listing) {
    for (const HeldObject& object : listing.objects) {
      const std::optional<Sighting> known = log_.known().At(object.print, listing.node);
      if (known && !known->held && snapshot::SameLoad(*known, object.age, stamp_)) {
        const Duration before = TimeBetween(known->written, log_.stamp());
        --gone_[static_cast<size_t>(known->ring)];
        // It ended in the one ring, and is not gone.
        if (known->ring == Ring::kFresh && object.ring == Ring::kKept) --ended_[kFresh];
        stayed_[known->ring].StillThere(Duration(0), before, 1);
        AddStayed(*known, before, object);
      } else if (!object.held) {
        const Duration since = std::max(object.age - passed_, Duration(0));
        recent_[object.ring].StillThere(since, object.age, 1);
      }
    }
  }

  void AddStayed(const Sighting& known, Duration before, const HeldObject& object) {
    const bool came_up = known.ring == Ring::kKept && object.ring == Ring::kFresh;
    if (object.held || came_up) recent_[known.ring].StillThere(Duration(0), before, 1);
    if (object.held) return;
    recent_[object.ring].StillThere(came_up ? before : Duration(0), object.age, 1);
  }

  // Of what is gone only so much was evicted as lives ended that had been there; what was dropped by
  // name, say, is as if it had never been seen.
  void SubtractBefore() {
    RingEvidence gone;
    log_.known().ForEach([&](snapshot::Print, const Sighting& seen) {
      if (seen.held || !watched_[seen.node]) return;
      gone[seen.ring].StillThere(Duration(0), TimeBetween(seen.written, log_.stamp()), 1);
      ++gone_[static_cast<size_t>(seen.ring)];
    });
    gone -= stayed_;
    for (size_t ring = 0; ring < kRings; ++ring) {
      const double ended = std::max(ended_[ring], 0.0);
      if (gone_[ring] > ended) gone[static_cast<Ring>(ring)].Forget(ended / gone_[ring]);
    }
    recent_ -= stayed_;
    recent_ -= gone;
  }

  const SnapshotLog& log_;
  const Duration passed_;
  const Stamp stamp_;
  std::map<NodeId, bool> watched_;
  RingEvidence recent_;
  RingEvidence stayed_;  // what was known of those that are there still
  // By ring: lives that had begun before and ended there, and what was known and is not there any more.
  static constexpr auto kFresh = static_cast<size_t>(Ring::kFresh);
  std::array<double, kRings> ended_{};
  std::array<double, kRings> gone_{};
};

using Takers = std::vector<NodeId>;

// Gives `frames`, of which the last is `last`, to `nodes`; `done` gets those that have it then, and
// those that answered and do not.
void Give(ClusterView* cluster, const Takers& nodes, ByteView frames,
          const snapshot::FrameHeader& last, Time deadline,
          std::function<void(Takers have, Takers lack)> done) {
  struct Round {
    Takers have, lack;
    size_t left;
    std::function<void(Takers, Takers)> done;
  };
  auto round = std::make_shared<Round>(Round{{}, {}, nodes.size(), std::move(done)});
  if (nodes.empty()) return round->done({}, {});
  for (NodeId node : nodes) {
    cluster->Ask(
        node,
        [frames](uint64_t id) -> wire::Message {
          return wire::LogAppend{.id = id, .frames = Buffer::CopyOf(frames)};
        },
        deadline,
        [round, node, sequence = last.sequence, mark = last.mark](Result<wire::Message> answer) {
          if (auto* reply = answer.ok() ? std::get_if<wire::LogReply>(&*answer) : nullptr) {
            const bool has = reply->sequence == sequence && reply->mark == mark;
            (has ? round->have : round->lack).push_back(node);
          }
          if (--round->left == 0) round->done(std::move(round->have), std::move(round->lack));
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
  if (nodes.size() > snapshot::kMaxNodes) {
    return Status::Invalid("a snapshot is of at most " + std::to_string(snapshot::kMaxNodes) +
                           " nodes, the configuration has " + std::to_string(nodes.size()));
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

  const RingEvidence recent = Since(*log, stamp).Of(replies, listings);
  collected.evictions = recent.effective_evictions();
  RingEvidence evidence = log->evidence();
  evidence.Follow(recent, TimeBetween(log->stamp(), stamp));
  collected.full = full || log->sequence() == 0;
  collected.frame = log->Append(stamp, listings, evidence, full);
  if (collected.frame.empty()) {
    return Status::NoSpace("the nodes hold more objects than a snapshot can list");
  }
  collected.added = log->added();
  collected.removed = log->removed();
  return collected;
}

void BroadcastFrame(ClusterView* cluster, const std::vector<NodeId>& nodes, ByteView frame,
                    std::function<std::vector<std::byte>()> since_full, Time deadline,
                    std::function<void(uint32_t have)> done) {
  const Result<snapshot::FrameHeader> header = snapshot::ReadFrameHeader(frame);
  HF_CHECK(header.ok());
  Give(cluster, nodes, frame, *header, deadline,
       [=, last = *header, since_full = std::move(since_full), done = std::move(done)](
           const Takers& have, const Takers& lack) {
         if (lack.empty()) return done(static_cast<uint32_t>(have.size()));
         Give(cluster, lack, since_full(), last, deadline,
              [done, first = have.size()](const Takers& more, const Takers&) {
                done(static_cast<uint32_t>(first + more.size()));
              });
       });
}

}  // namespace holdfast::client
