// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/collector_host.h"

#include <algorithm>

namespace holdfast::sim {

CollectorHost::CollectorHost(Fabric* fabric, FarWorld* far, CollectorSetup setup,
                             CollectorCounts* counts)
    : fabric_(fabric),
      world_(fabric->world()),
      far_(far),
      setup_(std::move(setup)),
      counts_(counts),
      random_(world_->Stream(setup_.name)) {
  for (const auto& member : setup_.job.members) nodes_.push_back(member.node);
}

CollectorHost::~CollectorHost() {
  if (up()) Kill(0);
}

void CollectorHost::Start() {
  const ProcessId id = world_->Spawn(setup_.name + "." + std::to_string(++starts_));
  process_ = std::make_unique<Process>(fabric_, far_, id, setup_, RandomClock(world_, &random_));
  for (const auto& frame : disk_) {
    const Status applied = process_->log.Apply(frame);
    if (!applied.ok()) world_->Violate("logs-follow", "on its disk: " + applied.ToString());
  }
  Pause();
}

void CollectorHost::Kill(uint64_t forget) {
  world_->Note("kill collector", {process_->id, forget});
  world_->Kill(process_->id);
  process_.reset();
  collecting_ = false;
  disk_.resize(disk_.size() - std::min<uint64_t>(forget, disk_.size()));
}

void CollectorHost::Later(std::function<void()> run) {
  world_->After(Duration(random_.Below(50'000)), process_->id, std::move(run));
}

void CollectorHost::Pause() {
  const double mean = static_cast<double>(setup_.pause.count());
  world_->After(Duration(100'000 + static_cast<int64_t>(random_.Exponential(mean))), process_->id,
                [this] {
                  if (stopped_) return;
                  Collect();
                });
}

snapshot::Stamp CollectorHost::Now() const {
  return {process_->env.clock.Wall().seconds * 1'000'000 + world_->now().us % 1'000'000};
}

void CollectorHost::Collect() {
  collecting_ = true;
  client::AskForListings(&process_->cluster, nodes_, process_->log.sequence(),
                         process_->env.clock.Now() + setup_.deadline,
                         [this](client::Listings listings) {
                           auto arrived = std::make_shared<client::Listings>(std::move(listings));
                           Later([this, arrived] { Write(*arrived); });
                         });
}

void CollectorHost::Write(const client::Listings& listings) {
  Result<Collected> collected =
      client::MakeFrame(nodes_, listings, Now(), random_.Chance(setup_.full_share), &process_->log);
  if (!collected.ok()) {
    ++counts_->unanswered;
    return Ended(0);
  }
  if (all_ && !collected->absent.empty()) {
    world_->Violate("recovers", "node " + std::to_string(collected->absent.front()) +
                                    " does not say what it holds");
  }
  counts_->absent += collected->absent.size();
  counts_->objects += collected->objects;
  if (collected->full) ++counts_->full;
  disk_.push_back(std::move(collected->frame));
  Later([this] { Broadcast(); });
}

void CollectorHost::Broadcast() {
  client::BroadcastFrame(
      &process_->cluster, nodes_, disk_.back(), [this] { return SinceFull(); },
      process_->env.clock.Now() + setup_.deadline, [this](uint32_t have) { Ended(have); });
}

std::vector<std::byte> CollectorHost::SinceFull() const {
  size_t first = disk_.size();
  bool full = false;
  while (!full && first > 0) full = snapshot::ReadFrameHeader(disk_[--first])->full;
  std::vector<std::byte> frames;
  for (; first < disk_.size(); ++first) {
    frames.insert(frames.end(), disk_[first].begin(), disk_[first].end());
  }
  return frames;
}

void CollectorHost::Ended(uint32_t have) {
  world_->Note("collected", {process_->id, process_->log.sequence(), have});
  ++counts_->rounds;
  counts_->given += have;
  collecting_ = false;
  if (all_ && have < nodes_.size()) {
    world_->Violate("recovers", "only " + std::to_string(have) + " of " +
                                    std::to_string(nodes_.size()) + " nodes have the last frame");
  }
  if (!all_) Pause();
}

void CollectorHost::CollectFromAll() {
  all_ = true;
  Later([this] { Collect(); });
  collecting_ = true;
}

}  // namespace holdfast::sim
