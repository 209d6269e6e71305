// SPDX-License-Identifier: Apache-2.0
#include "tests/torture/torture_node.h"

#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <utility>

#include "base/hash.h"
#include "io/shm/attach_server.h"
#include "io/shm/region_file.h"
#include "io/shm/session_files.h"
#include "tests/torture/torture_records.h"

namespace holdfast::torture {
namespace {

constexpr uint32_t kSegments = 128;
constexpr uint64_t kSegmentBytes = 8 * kKiB;
constexpr size_t kMaxHeld = 300;  // a quarter of the records that fit

int Failed(const Status& status) {
  std::fprintf(stderr, "torture: the node: %s\n", status.ToString().c_str());
  return 1;
}

}  // namespace

store::MemoryTierOptions TinyTier(Incarnation incarnation) {
  store::MemoryTierOptions options;
  options.memory_bytes = 2 * kMiB + kSegments * kSegmentBytes;  // the tables take the first 2 MiB
  options.segment_bytes = kSegmentBytes;
  options.index_objects = 8192;
  options.incarnation = incarnation;
  return options;
}

Time Now() {
  struct timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return {now.tv_sec * 1'000'000 + now.tv_nsec / 1000};
}

void Churn::Step() {
  for (int i = 0; i < 32; ++i) {
    Load();
    if (held_.size() > kMaxHeld || (!held_.empty() && random_.Chance(0.1))) {
      tier_->Unhold(held_.front().oid, held_.front().version);
      held_.pop_front();
    }
    if (random_.Chance(0.01)) tier_->Drop(OidOfKey(static_cast<uint32_t>(random_.Below(kKeys))), 0);
  }
  tier_->Maintain(Now(), 4 * kSegmentBytes);
  Publish();
}

void Churn::Load() {
  uint32_t key = static_cast<uint32_t>(random_.Below(kKeys));
  store::RecordSpec spec;
  spec.oid = OidOfKey(key);
  spec.version = 1 + random_.Below(1 << 20);
  spec.size = SizeOf(key, spec.version);
  spec.name = "file:///torture";
  spec.etag = "e";
  Time now = Now();
  bool hold = random_.Chance(0.1);
  std::optional<Time> until;
  if (hold) until = now + Duration(random_.Below(1'000'000'000));
  auto slot = tier_->Allocate(spec, now, until);
  if (!slot.ok()) {
    counters_->no_space.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  Fill(key, spec.version, slot->payload);
  if (random_.Chance(0.02)) return tier_->Abort(slot->id);
  tier_->Commit(slot->id, Hash64(slot->payload), hold ? 1 : 0);
  if (hold) held_.push_back({spec.oid, spec.version});
  counters_->loaded.fetch_add(1, std::memory_order_relaxed);
}

void Churn::Rest() {
  for (; !held_.empty(); held_.pop_front()) tier_->Unhold(held_.front().oid, held_.front().version);
  tier_->Maintain(Now(), 0);
  Publish();
}

void Churn::Publish() {
  store::TierStats stats = tier_->Stats();
  if (stats.waiting_segments != 0) counters_->waited.fetch_add(1, std::memory_order_relaxed);
  counters_->waiting_segments.store(stats.waiting_segments, std::memory_order_relaxed);
  uint64_t dropped = stats.dropped_objects - std::exchange(dropped_, stats.dropped_objects);
  counters_->dropped.fetch_add(dropped, std::memory_order_relaxed);
  counters_->ticks.fetch_add(1, std::memory_order_release);
}

int RunNode(const std::string& directory, uint64_t seed, Shared* shared) {
  Random random(seed);
  store::MemoryTierOptions options = TinyTier(random.Next() | 1);
  Result<shm::RegionPlan> plan = store::PlanRegion(options);
  if (!plan.ok()) return Failed(plan.status());
  auto region = shm::RegionFile::Open({.directory = directory,
                                       .group = "",
                                       .plan = *plan,
                                       .huge = shm::HugePages::kOff,
                                       .progress = {}});
  if (!region.ok()) return Failed(region.status());
  store::Sessions sessions(plan->segments);
  auto files = shm::SessionFiles::Open(
      {.directory = (*region)->session_directory(),
       .segments = plan->segments,
       .incarnation = options.incarnation,
       .attach = [&](uint32_t id, ByteSpan memory) { sessions.Attach(id, memory); },
       .detach = [&](uint32_t id) { sessions.Detach(id); }});
  if (!files.ok()) return Failed(files.status());
  shared->node.starts.fetch_add(1);
  shared->node.readopted.fetch_add((*files)->attached());
  store::MemoryTier tier((*region)->memory(), *plan, options, &sessions);
  auto server = shm::AttachServer::Open({.path = (*region)->attach_path(),
                                         .group = {},
                                         .node = 1,
                                         .incarnation = options.incarnation,
                                         .region_fd = (*region)->read_only_fd(),
                                         .region_bytes = plan->region_bytes,
                                         .sessions = files->get()});
  if (!server.ok()) return Failed(server.status());
  Churn churn(&tier, random.Next(), &shared->node);
  while (!shared->node_ends.load(std::memory_order_acquire)) {
    (*server)->OnReadable(Now());
    (*server)->OnTick(Now());
    (*files)->Sweep(Now());
    uint32_t pinned = 0;
    sessions.ForEach([&](uint32_t id) { pinned += sessions.PinnedSegments(id); });
    shared->node.sessions.store(static_cast<uint32_t>((*files)->attached()));
    shared->node.pinned_segments.store(pinned);
    bool run = shared->phase.load() == Phase::kRun;
    if (!run) churn.Rest();
    for (int i = 0; run && i < 8; ++i) churn.Step();
    if (!run || random.Chance(0.2)) ::usleep(static_cast<useconds_t>(random.Below(1000)));
  }
  server->reset();
  size_t left = (*files)->attached();
  (*region)->Remove();
  return left == 0 ? 0 : 1;
}

}  // namespace holdfast::torture
