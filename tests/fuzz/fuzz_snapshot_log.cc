// SPDX-License-Identifier: Apache-2.0
// The snapshot log takes any bytes: as a frame, and as the body of a frame whose checksums are right (else no mutation
// would come beyond them). What it takes over leaves it sound: it can be said again, and is read again as the same.
// Input: a byte that says which (bit 0: a body, bit 1: full, bit 2: onto what another frame said), then the bytes.
// LINK: hf_snapshot
#include <algorithm>

#include "snapshot/log.h"
#include "snapshot/log_body.h"
#include "snapshot/log_frame.h"
#include "tests/fuzz/fuzz.h"

namespace holdfast::fuzz {
namespace {

using namespace holdfast::snapshot;

constexpr uint64_t kCluster = 7;
constexpr Stamp kBegin{1'760'000'000'000'000};
constexpr Stamp kNext{kBegin.us + 60'000'000};
constexpr uint8_t kBody = 1, kFull = 2, kOnto = 4;

using Frame = std::vector<std::byte>;

std::vector<NodeListing> FirstListings() {
  return {{.node = 1,
           .incarnation = 5,
           .objects = {{3, 10s}, {900, 3h, true}, {Print{1} << 39, 1ms, false, Ring::kKept}}},
          {.node = 2, .incarnation = 6, .objects = {{3, 20s}}},
          {.node = 8, .answered = false}};
}

RingEvidence SomeEvidence() {
  RingEvidence evidence;
  evidence[Ring::kKept].Evicted(1s, 3h, 20);
  return evidence;
}

SnapshotLog FirstLog() {
  SnapshotLog log(kCluster);
  log.Append(kBegin, FirstListings(), SomeEvidence(), true);
  return log;
}

// The frame that the first log is made of; then a difference to it, and a full frame.
std::vector<Frame> SomeFrames() {
  SnapshotLog log(kCluster);
  std::vector<Frame> frames = {log.Append(kBegin, FirstListings(), SomeEvidence(), true)};
  std::vector<NodeListing> listings = FirstListings();
  listings[0].objects = {{4, 1s}, {900, 3h, false, Ring::kKept}};
  listings[1].answered = false;
  for (bool full : {false, true}) {
    frames.push_back(log.Append(kNext, listings, SomeEvidence(), full));
  }
  return frames;
}

Frame Seal(uint8_t how, ByteView body) {
  const bool onto = (how & kOnto) != 0, full = (how & kFull) != 0;
  const FrameHeader header{.full = full,
                           .cluster = kCluster,
                           .sequence = onto ? 2u : 1u,
                           .stamp = onto ? kNext : kBegin};
  return SealFrame(header, full ? 0 : MarkOf(SomeFrames()[0]), body, {});
}

uint64_t Objects(const SnapshotLog& log) {
  uint64_t objects = 0;
  NodeId least = 0;
  for (const SnapshotLog::Node& node : log.nodes()) {
    Require(node.node >= least && node.node != kNoNode && node.seen <= log.stamp());
    least = static_cast<NodeId>(node.node + 1);
    objects += node.objects;
  }
  return objects;
}

void RequireSound(const SnapshotLog& log) {
  Require(Objects(log) == log.known().size());
  uint64_t visited = 0;
  log.known().ForEach([&](Print print, const Sighting& s) {
    const auto known = log.known().At(print, s.node);
    Require(known && known->written == s.written && known->held == s.held && known->ring == s.ring);
    Require(s.written <= log.stamp());
    Require(log.known().SeenAt(s.node) != nullptr);
    ++visited;
  });
  Require(visited == log.known().size());
}

void RequireSame(const SnapshotLog& a, const SnapshotLog& b) {
  Require(a.known().size() == b.known().size() && a.nodes().size() == b.nodes().size());
  a.known().ForEach([&](Print print, const Sighting& s) {
    const auto there = b.known().At(print, s.node);
    Require(there && there->held == s.held && there->ring == s.ring);
  });
  for (const Ring ring : {Ring::kFresh, Ring::kKept}) {
    const auto x = a.evidence()[ring].Cells(), y = b.evidence()[ring].Cells();
    for (size_t i = 0; i < x.size(); ++i) Require(x[i].lost == y[i].lost && x[i].kept == y[i].kept);
  }
}

// Nodes that do not answer leave all as it is: a full frame says it again.
void SayAgain(SnapshotLog* log) {
  std::vector<NodeListing> listings;
  for (const SnapshotLog::Node& node : log->nodes()) {
    listings.push_back({.node = node.node, .answered = false});
  }
  const SnapshotLog before = *log;
  const Frame frame = log->Append(log->stamp(), listings, log->evidence(), true);
  Require(!frame.empty());
  Require(log->added() == 0 && log->removed() == 0);
  SnapshotLog reader(kCluster);
  Require(reader.Apply(frame).ok());
  RequireSame(reader, *log);
  RequireSound(reader);
}

void TryFrame(SnapshotLog log, ByteView frame) {
  const uint64_t sequence = log.sequence(), size = log.known().size();
  if (const Status status = log.Apply(frame); !status.ok()) {
    Require(!status.message().empty());
    Require(log.sequence() == sequence && log.known().size() == size);
    return;
  }
  RequireSound(log);
  SayAgain(&log);
}

}  // namespace

std::vector<std::vector<std::byte>> Seeds() {
  std::vector<std::vector<std::byte>> seeds;
  const std::vector<Frame> frames = SomeFrames();
  for (size_t i = 0; i < frames.size(); ++i) {
    const Frame& frame = frames[i];
    const auto how = static_cast<uint8_t>((i == 1 ? 0 : kFull) | (i == 0 ? 0 : kOnto));
    seeds.emplace_back(1, std::byte{how});
    seeds.back().insert(seeds.back().end(), frame.begin(), frame.end());
    const auto body = OpenFrame(frame);
    Require(body.ok());
    seeds.emplace_back(1, static_cast<std::byte>(how | kBody));
    seeds.back().insert(seeds.back().end(), body->view().begin(), body->view().end());
  }
  return seeds;
}

}  // namespace holdfast::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace holdfast;
  using namespace holdfast::fuzz;
  if (size == 0) return 0;
  const ByteView bytes(reinterpret_cast<const std::byte*>(data) + 1, size - 1);
  static const SnapshotLog first = FirstLog();
  const SnapshotLog log = (data[0] & kOnto) != 0 ? first : SnapshotLog(kCluster);
  if ((data[0] & kBody) == 0) {
    TryFrame(log, bytes);
  } else {
    TryFrame(log, Seal(data[0], bytes));
  }
  return 0;
}
