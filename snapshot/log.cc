// SPDX-License-Identifier: Apache-2.0
#include "snapshot/log.h"

#include <algorithm>
#include <span>
#include <string>
#include <utility>

#include "snapshot/log_body.h"
#include "snapshot/log_frame.h"

namespace holdfast::snapshot {
namespace {

// Prints are asked for so far ahead of their turn.
constexpr size_t kAhead = 16;

struct Remembered {
  uint64_t place = 0;  // print << 2 | kept << 1 | held
  int64_t written_us = 0;

  Print print() const { return place >> 2; }
  Ring ring() const { return (place & 2) != 0 ? Ring::kKept : Ring::kFresh; }
  bool held() const { return (place & 1) != 0; }
};

// What is known, node by node; of each sorted by print.
class Memory {
 public:
  explicit Memory(const Known& known) {
    known.ForEach([this](Print print, const Sighting& s) {
      if (s.node >= nodes_.size()) nodes_.resize(size_t{s.node} + 1);
      const uint64_t kept = s.ring == Ring::kKept ? 2 : 0;
      nodes_[s.node].push_back({print << 2 | kept | (s.held ? 1u : 0u), s.written.us});
    });
  }

  std::span<const Remembered> Of(NodeId node) const {
    return node < nodes_.size() ? nodes_[node] : std::span<const Remembered>{};
  }

 private:
  std::vector<std::vector<Remembered>> nodes_;
};

// Makes the columns of a frame, node by node.
class BodyWriter {
 public:
  BodyWriter(Stamp at, bool full) : at_(at), full_(full) {}

  // `before` is what is known of the node.
  void Answered(const NodeListing& listing, std::span<const Remembered> before) {
    const auto [removed, listed] = std::pair(body_.removed.size(), body_.listed.size());
    auto known = before.begin();
    Print least = 0;
    for (const HeldObject& object : listing.objects) {
      if (object.print + 1 == least) continue;  // two objects of one print
      HF_CHECK(object.print >= least);
      least = object.print + 1;
      for (; known != before.end() && known->print() < object.print; ++known) Remove(*known);
      const bool same = known != before.end() && known->print() == object.print;
      List(object, same ? &*known++ : nullptr);
    }
    for (; known != before.end(); ++known) Remove(*known);
    body_.nodes.push_back({.node = listing.node,
                           .answered = true,
                           .incarnation = listing.incarnation,
                           .seen = at_,
                           .removed = static_cast<uint32_t>(body_.removed.size() - removed),
                           .listed = static_cast<uint32_t>(body_.listed.size() - listed)});
  }

  // A difference says nothing of its objects, so readers keep them; a full frame says what is known.
  void Absent(const SnapshotLog::Node& node, std::span<const Remembered> before) {
    if (!full_) before = {};
    for (const Remembered& known : before) {
      Mark(known.print(), known.written_us, known.held(), known.ring());
    }
    body_.nodes.push_back({.node = node.node,
                           .answered = false,
                           .incarnation = node.incarnation,
                           .seen = node.seen,
                           .listed = static_cast<uint32_t>(before.size())});
  }

  LogBody Take() && { return std::move(body_); }

 private:
  void Remove(const Remembered& known) {
    if (!full_) body_.removed.push_back(known.print());
  }

  void List(const HeldObject& object, const Remembered* known) {
    const int64_t age_us = std::max<int64_t>(object.age.count(), 0);
    if (known != nullptr && !SameLoad({.written = {known->written_us}}, Duration(age_us), at_)) {
      known = nullptr;  // it was evicted and loaded again
    }
    const bool as_known =
        known != nullptr && known->held() == object.held && known->ring() == object.ring;
    if (as_known && !full_) return;
    // Of what is known the known age is told again, so that ages do not wander.
    Mark(object.print, known != nullptr ? known->written_us : at_.us - age_us, object.held,
         object.ring);
  }

  void Mark(Print print, int64_t written_us, bool held, Ring ring) {
    body_.listed.push_back(print);
    body_.marks.push_back(AgeMark::Of(AgeCells::CellOf(Duration(at_.us - written_us)), held, ring));
  }

  const Stamp at_;
  const bool full_;
  LogBody body_;
};

template <typename Nodes>
auto NodeIn(const Nodes& nodes, NodeId node) -> decltype(&nodes[0]) {
  auto at = std::lower_bound(nodes.begin(), nodes.end(), node,
                             [](const auto& n, NodeId number) { return n.node < number; });
  return at != nodes.end() && at->node == node ? &*at : nullptr;
}

// The sighting that a mark tells of. An age that lies in the mark's cell already is the better one.
Sighting SightingOf(NodeId node, AgeMark mark, Stamp at, const std::optional<Sighting>& known) {
  Sighting now{.node = node, .held = mark.held(), .ring = mark.ring()};
  const bool keep = known && AgeCells::CellOf(Duration(at.us - known->written.us)) == mark.cell();
  now.written = keep ? known->written : Stamp{at.us - AgeCells::MiddleOf(mark.cell()).count()};
  return now;
}

}  // namespace

bool SameLoad(const Sighting& seen, Duration age, Stamp now) {
  constexpr Duration kSlack = 2s;  // nodes answer some time after the stamp
  const Duration last = AgeCells::StartOf(AgeCells::kCells - 1);
  const Duration known = std::min(Duration(now.us - seen.written.us), last);
  const Duration told = std::min(age, last);
  const Duration apart = std::chrono::abs(known - told);
  if (apart <= kSlack) return true;
  const uint32_t end = std::min(AgeCells::CellOf(std::max(known, told)) + 1, AgeCells::kCells - 1);
  return apart <= kSlack + AgeCells::StartOf(end) - AgeCells::StartOf(end - 1);
}

const SnapshotLog::Node* SnapshotLog::NodeOf(NodeId node) const { return NodeIn(nodes_, node); }

Status SnapshotLog::Apply(ByteView frame) {
  const Result<FrameHeader> header = ReadFrameHeader(frame);
  HF_RETURN_IF_ERROR(header.status());
  if (frame.size() != header->frame_bytes()) {
    return Status::Corrupt("a snapshot frame has bytes after its end");
  }
  if (header->cluster != cluster_) {
    return Status::Denied("the snapshot log is another cluster's; use this cluster's own");
  }
  if (header->sequence <= sequence_ && !(header->full && header->stamp > stamp_)) return Status();
  if (!header->full &&
      (sequence_ == 0 || header->sequence != sequence_ + 1 || FollowsOf(frame) != mark_)) {
    return Status::NotFound("snapshot " + std::to_string(header->sequence) +
                            " does not follow what is known, which ends with snapshot " +
                            std::to_string(sequence_) + "; read from a full one on");
  }
  const Result<Buffer> raw = OpenFrame(frame);
  HF_RETURN_IF_ERROR(raw.status());
  Result<LogBody> body = DecodeBody(*header, raw->view());
  HF_RETURN_IF_ERROR(body.status());

  const Stamp at = std::max(header->stamp, stamp_);
  if (header->full) {
    ApplyFull(*body, at);
  } else {
    ApplyDifference(*body, at);
  }
  evidence_ = std::move(body->evidence);
  sequence_ = header->sequence;
  mark_ = MarkOf(frame);
  stamp_ = at;
  return Status();
}

void SnapshotLog::ApplyFull(const LogBody& body, Stamp at) {
  Known next;
  next.Reserve(body.listed.size());
  std::vector<Node> nodes;
  uint64_t kept = 0;
  size_t i = 0;
  for (const LogBody::Node& said : body.nodes) {
    for (const size_t end = i + said.listed; i < end; ++i) {
      if (i + kAhead < body.listed.size()) {
        next.Prefetch(body.listed[i + kAhead]);
        known_.Prefetch(body.listed[i + kAhead]);
      }
      const auto known = known_.At(body.listed[i], said.node);
      kept += known.has_value();
      next.Add(body.listed[i], SightingOf(said.node, body.marks[i], at, known));
    }
    nodes.push_back({.node = said.node,
                     .incarnation = said.incarnation,
                     .answered = said.answered,
                     .seen = said.answered ? at : said.seen,
                     .objects = said.listed});
    if (nodes.back().seen != Stamp{}) next.SetSeen(said.node, nodes.back().seen);
  }
  added_ = next.size() - kept;
  removed_ = known_.size() - kept;
  known_ = std::move(next);
  nodes_ = std::move(nodes);
}

void SnapshotLog::ApplyDifference(const LogBody& body, Stamp at) {
  const uint64_t at_first = known_.size();
  for (const Node& node : nodes_) {
    if (NodeIn(body.nodes, node.node) == nullptr) known_.EraseNode(node.node);
  }
  // First what goes, of all nodes, and then what comes: the table stays as small as it can. Both in
  // the table's own order, so that it may have another size only in between.
  std::vector<Node> nodes;
  size_t i = 0;
  for (const LogBody::Node& said : body.nodes) {
    const Node* before = NodeOf(said.node);
    Node now = before != nullptr ? *before : Node{.node = said.node};
    now.answered = said.answered;
    if (said.answered) now.incarnation = said.incarnation;
    const uint64_t size = known_.size();
    for (const size_t end = i + said.removed; i < end; ++i) {
      if (i + kAhead < body.removed.size()) known_.Prefetch(body.removed[i + kAhead]);
      known_.Erase(body.removed[i], said.node);
    }
    now.objects -= size - known_.size();
    nodes.push_back(now);
  }
  removed_ = at_first - known_.size();

  const uint64_t left = known_.size();
  known_.Reserve(left + body.listed.size());
  i = 0;
  for (size_t n = 0; n < nodes.size(); ++n) {
    const uint64_t size = known_.size();
    for (const size_t end = i + body.nodes[n].listed; i < end; ++i) {
      if (i + kAhead < body.listed.size()) known_.Prefetch(body.listed[i + kAhead]);
      const NodeId node = nodes[n].node;
      const auto known = known_.At(body.listed[i], node);
      known_.Add(body.listed[i], SightingOf(node, body.marks[i], at, known));
    }
    nodes[n].objects += known_.size() - size;
    if (!nodes[n].answered) continue;
    nodes[n].seen = at;
    known_.SetSeen(nodes[n].node, at);
  }
  added_ = known_.size() - left;
  known_.Fit();
  nodes_ = std::move(nodes);
}

LogBody SnapshotLog::BodyOf(Stamp at, const std::vector<NodeListing>& nodes, bool full) const {
  const Memory memory(known_);
  BodyWriter writer(at, full);
  NodeId least = 0;
  for (const NodeListing& listing : nodes) {
    HF_CHECK(listing.node >= least && listing.node != kNoNode);
    least = static_cast<NodeId>(listing.node + 1);
    if (!listing.answered) {
      const Node* before = NodeOf(listing.node);
      writer.Absent(before != nullptr ? *before : Node{.node = listing.node},
                    memory.Of(listing.node));
    } else {
      writer.Answered(listing, memory.Of(listing.node));
    }
  }
  return std::move(writer).Take();
}

std::vector<std::byte> SnapshotLog::Append(Stamp stamp, const std::vector<NodeListing>& nodes,
                                           const RingEvidence& evidence, bool full) {
  HF_CHECK(nodes.size() <= kMaxNodes);
  if (sequence_ == kMaxSequence) return {};
  const FrameHeader header{.full = full || sequence_ == 0,
                           .cluster = cluster_,
                           .sequence = sequence_ + 1,
                           // Stamp 0 is "never".
                           .stamp = std::clamp(stamp, std::max(stamp_, Stamp{1}), kMaxStamp)};
  LogBody body = BodyOf(header.stamp, nodes, header.full);
  body.evidence = evidence;
  const EncodedBody encoded = EncodeBody(body);
  std::vector<std::byte> frame =
      SealFrame(header, header.full ? 0 : mark_, encoded.bytes, encoded.section_ends);
  if (!frame.empty()) HF_CHECK(Apply(frame).ok());
  return frame;
}

}  // namespace holdfast::snapshot
