// SPDX-License-Identifier: Apache-2.0
// The log of virtual snapshots: what each node holds, and since when, as a collector saw it on its
// visits. docs/formats.md is the page for these bytes.
//
// A log is a sequence of frames, one a snapshot. A full frame says all; a difference says what has
// changed since the frame before it. Every frame carries the evidence that was gathered until then
// (rings.h), so whoever reads from any full frame on knows all that the log's owner knows.
//
// Frames are checked: magic, version, lengths, XXH3 of header and body. What comes from outside
// never reaches an assertion. Pure, and for one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/status.h"
#include "base/units.h"
#include "snapshot/known.h"
#include "snapshot/rings.h"

namespace holdfast::snapshot {

constexpr uint16_t kLogVersion = 3;
constexpr size_t kFrameHeaderBytes = 64;
constexpr size_t kMaxFrameBytes = 256 * kMiB;  // compressed; 2 GiB at most when it is not
constexpr size_t kMaxNodes = 4096;

struct FrameHeader {
  bool full = false;
  uint64_t cluster = 0;   // XXH3-64 of the cluster's name
  uint64_t sequence = 0;  // 1, 2, ...: each frame's is one more than that of the one before it
  Stamp stamp{};          // when the snapshot was begun
  uint64_t body_bytes = 0;
  // What tells this very frame from any other, and that of the frame which a difference follows: not
  // for those who make a header.
  uint32_t mark = 0;
  uint32_t follows = 0;

  size_t frame_bytes() const { return kFrameHeaderBytes + body_bytes; }
};
uint64_t ClusterHash(std::string_view cluster);

// The header at the start of `bytes`. kCorrupt when it is no frame's, kUnavailable when there are
// not enough bytes for the whole frame yet (a torn tail), kInvalid for another version.
Result<FrameHeader> ReadFrameHeader(ByteView bytes);
// Are a frame's bytes those that were written, whatever it follows? `frame` as its header says.
Status CheckFrame(ByteView frame);
// The checksum of its body alone: what a wire or a disk did to it. As fast as to copy it.
Status CheckBody(ByteView frame);

struct HeldObject {
  Print print = 0;
  Duration age{};  // >= 0
  bool held = false;
  Ring ring = Ring::kFresh;
};

// What one node answered.
struct NodeListing {
  NodeId node = kNoNode;
  Incarnation incarnation = 0;
  bool answered = true;  // false: nothing else is known
  // Sorted by print. Of two with the same print, which a node of 10^5 objects has once in 200 times,
  // the first one counts.
  std::vector<HeldObject> objects{};
};

// Is what a node says is of this age at `now` what was seen there before? Its age may differ by a
// cell (AgeCells) and 2 s; else it was loaded again in the meantime.
bool SameLoad(const Sighting& seen, Duration age, Stamp now);

struct LogBody;

// What the frames say together, and the making of the next one.
class SnapshotLog {
 public:
  explicit SnapshotLog(uint64_t cluster) : cluster_(cluster) {}

  // Takes over one frame, of exactly the bytes that its header says. A difference must follow the
  // very frame before it, or there is a gap: kNotFound. kDenied for a frame of another cluster,
  // kCorrupt for garbage; then everything stays as it was. A frame that is known already is kOk and
  // changes nothing. A stamp before the last frame's counts as that one's (clocks go backwards). A
  // full frame of a lower or the same number but with a later stamp begins the log anew: its owner
  // had lost it.
  Status Apply(ByteView frame);

  // The next frame, for a snapshot at `stamp`, applied too. `nodes` are sorted by number; a node
  // that is not among them is not of the cluster any more. The first frame is full, others if
  // `full` is set. Ages are kept to within 4.5 % (AgeCells), those of objects that were known
  // before as they were, as long as the node says the same but for a cell and 2 s. What is written
  // is what a reader knows: the evidence too is then as it was written. Empty, and nothing applied,
  // when it does not fit into a frame (some 50 million objects).
  std::vector<std::byte> Append(Stamp stamp, const std::vector<NodeListing>& nodes,
                                const RingEvidence& evidence, bool full);

  struct Node {
    NodeId node = kNoNode;
    Incarnation incarnation = 0;
    bool answered = false;  // the last time
    Stamp seen{};           // when it answered last; 0: never
    uint64_t objects = 0;
  };
  const std::vector<Node>& nodes() const { return nodes_; }  // sorted by number
  const Known& known() const { return known_; }
  // For who knows better than the log, until its next frame: to add and to erase sightings.
  Known& known() { return known_; }
  const RingEvidence& evidence() const { return evidence_; }
  uint64_t sequence() const { return sequence_; }  // of the last frame; 0: none
  uint32_t mark() const { return mark_; }          // likewise
  Stamp stamp() const { return stamp_; }
  // What the last frame changed.
  uint64_t added() const { return added_; }
  uint64_t removed() const { return removed_; }

 private:
  const Node* NodeOf(NodeId node) const;
  void ApplyFull(const LogBody& body, Stamp at);
  void ApplyDifference(const LogBody& body, Stamp at);
  LogBody BodyOf(Stamp at, const std::vector<NodeListing>& nodes, bool full) const;

  uint64_t cluster_;
  uint64_t sequence_ = 0;
  uint32_t mark_ = 0;  // of the last frame, for the next one (log_frame.h)
  Stamp stamp_{};
  uint64_t added_ = 0;
  uint64_t removed_ = 0;
  std::vector<Node> nodes_;
  Known known_;
  RingEvidence evidence_;
};

}  // namespace holdfast::snapshot
