// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/snapshots.h"

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "base/hash.h"
#include "snapshot/log.h"

namespace holdfast::sim {
namespace {

// Of an age, for the work between looking at the clock and sending, and the rounding.
constexpr int64_t kSlackMs = 1'000;

struct Listed {
  uint64_t print;
  bool held;
  bool kept;
  int64_t age_ms;
};

bool ByPrint(const Listed& a, const Listed& b) { return a.print < b.print; }

}  // namespace

void Snapshots::Observe(const Delivery& delivery) {
  if (!delivery.sent || delivery.message == nullptr) return;
  NodeHost* host = host_of_(delivery.from);
  if (host == nullptr) return;
  if (auto* listing = std::get_if<wire::SnapshotReply>(delivery.message))
    OnListing(*host, *listing);
  if (auto* log = std::get_if<wire::LogReply>(delivery.message)) OnLog(*host, *log);
}

// The simulated indexes are smaller than what a node lists in one step, so the answer is what was
// there at that step.
void Snapshots::OnListing(NodeHost& host, const wire::SnapshotReply& reply) {
  ++counts_.listings;
  // Where a disk was listed after it, memory is not what it was.
  if (host.disk() != nullptr) return;
  std::vector<Listed> here, said;
  const Time now = host.clock().Peek();
  host.tier().ListSlots(0, host.tier().slots(), [&](const store::MemoryTier::Listed& l) {
    const bool kept = l.ring == snapshot::Ring::kKept;
    const int64_t age_ms = std::max<int64_t>((now - l.since).count(), 0) / 1000;
    here.push_back({l.oid.hi, l.held, kept, age_ms});
  });
  ColumnView<uint64_t> prints(reply.prints.view());
  ColumnView<uint32_t> ages(reply.ages.view());
  ColumnView<uint64_t> held(reply.held.view()), kept(reply.kept.view());
  for (size_t i = 0; i < prints.size(); ++i) {
    said.push_back({prints[i], (held[i / 64] >> (i % 64) & 1) != 0,
                    (kept[i / 64] >> (i % 64) & 1) != 0, ages[i]});
  }
  std::stable_sort(here.begin(), here.end(), ByPrint);
  std::stable_sort(said.begin(), said.end(), ByPrint);
  const bool same = std::equal(
      here.begin(), here.end(), said.begin(), said.end(), [](const Listed& a, const Listed& b) {
        return a.print == b.print && a.held == b.held && a.kept == b.kept &&
               std::abs(a.age_ms - b.age_ms) <= kSlackMs;
      });
  if (same) return;
  world_->Violate("listings", "node " + std::to_string(host.node()) + " lists " +
                                  std::to_string(said.size()) + " objects, which are not the " +
                                  std::to_string(here.size()) + " that it holds");
}

void Snapshots::OnLog(NodeHost& host, const wire::LogReply& reply) {
  ByteView frames = reply.frames.view();
  if (frames.empty() || !read_.insert(Hash64(frames)).second) return;
  const std::string who = "node " + std::to_string(host.node()) + " gives a log ";
  snapshot::SnapshotLog log(snapshot::ClusterHash(cached::NodeOptions{}.cluster));
  uint64_t sequence = 0;
  while (!frames.empty()) {
    Result<snapshot::FrameHeader> header = snapshot::ReadFrameHeader(frames);
    if (!header.ok())
      return world_->Violate("logs-follow", who + "that " + header.status().ToString());
    const ByteView frame = frames.first(header->frame_bytes());
    const Status sound = snapshot::CheckFrame(frame);
    if (!sound.ok()) return world_->Violate("logs-follow", who + "that " + sound.ToString());
    // A part begins with a difference, for somebody who has what comes before it.
    if (sequence == 0) sequence = header->full ? 0 : header->sequence - 1;
    const bool whole = header->full || log.sequence() != 0;
    const Status applied = whole ? log.Apply(frame) : Status();
    if (!applied.ok() || (sequence != 0 && header->sequence != sequence + 1)) {
      return world_->Violate("logs-follow", who + "whose frame " +
                                                std::to_string(header->sequence) +
                                                " does not follow: " + applied.ToString());
    }
    sequence = header->sequence;
    frames = frames.subspan(frame.size());
  }
  ++counts_.logs;
  if (sequence > reply.sequence)
    world_->Violate("logs-follow", who + "beyond the number that it names");
}

}  // namespace holdfast::sim
