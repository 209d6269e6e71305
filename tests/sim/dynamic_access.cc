// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/dynamic_access.h"

#include <algorithm>

namespace holdfast::sim {
namespace {

constexpr size_t kWantedObjects = 400;

// What the readers want, most wanted first: objects that jobs plan, and those that none does.
std::vector<uint32_t> DrawObjects(Random* random, size_t objects) {
  std::vector<uint32_t> all(objects);
  for (size_t i = 0; i < objects; ++i) all[i] = static_cast<uint32_t>(i);
  random->Shuffle(all);
  all.resize(std::min(all.size(), kWantedObjects));
  return all;
}

DynamicSetup DrawReader(Random* random) {
  DynamicSetup setup;
  // From where waiting is all to where money is, and to where a look costs nearly as much as it can
  // save, or more: each way pays somewhere.
  constexpr MicroUsd kWaiting[] = {1'000'000, 20'000'000, 120, 120};
  constexpr snapshot::NanoUsd kMoney[] = {400, 40'000};
  const bool free = random->Chance(0.5);
  setup.prices.micro_usd_per_hour = kWaiting[random->Below(4)];
  setup.prices.nano_usd_per_get = free ? 0 : kMoney[random->Below(2)];
  setup.prices.nano_usd_per_byte = free ? 0 : 0.09;
  setup.die_share = random->Chance(0.5) ? 0 : random->Unit();
  setup.version_share = random->Chance(0.5) ? 0 : random->Unit();
  setup.timeout = Duration(4'000'000 + random->Below(26'000'000));
  setup.think = Duration(20'000 + random->Below(180'000));
  setup.most = static_cast<uint32_t>(1 + random->Below(64));
  return setup;
}

CollectorSetup DrawCollector(Random* random) {
  CollectorSetup setup;
  setup.pause = Duration(500'000 + random->Below(6'000'000));
  setup.deadline = Duration(500'000 + random->Below(3'000'000));
  setup.full_share = 0.3 * random->Unit();
  return setup;
}

}  // namespace

DynamicAccess::DynamicAccess(Fabric* fabric, FarWorld* far, const Scenario& scenario,
                             std::vector<std::unique_ptr<NodeHost>>* hosts,
                             std::function<NodeHost*(ProcessId)> host_of)
    : fabric_(fabric),
      world_(fabric->world()),
      far_(far),
      random_(world_->Stream("dynamic")),
      snapshots_(world_, std::move(host_of)) {
  if (random_.Below(4) == 0) return;
  const size_t others = scenario.nodes.size() + scenario.jobs.size();
  jobclient::JobOptions job;
  job.members = scenario.jobs.front().job.members;
  const std::vector<uint32_t> objects = DrawObjects(&random_, far->size());
  for (uint32_t index : objects) {
    const FarObject& object = far->object(index);
    wanted_.insert(object.oid);
    for (uint64_t at = 0; scenario.chunk > 0 && at < object.size + scenario.chunk;
         at += scenario.chunk) {
      for (const FarObject* range : far->RangesAt(object, at)) wanted_.insert(range->oid);
    }
  }
  for (uint64_t n = 1 + random_.Below(3); n > 0; --n) {
    DynamicSetup setup = DrawReader(&random_);
    setup.name = "reader-" + std::to_string(n);
    setup.job = job;
    setup.prices.cluster = job.cluster;
    setup.objects = objects;
    setup.chunk = scenario.chunk;
    const bool beside_a_node = random_.Chance(0.6);
    setup.host =
        static_cast<HostId>(beside_a_node ? random_.Below(hosts->size()) : others + machines_++);
    if (beside_a_node) setup.own_node = (*hosts)[setup.host].get();
    readers_.push_back({std::move(setup), nullptr});
  }
  const bool second = world_->faults().Fires(Fault::kCollectorSecond);
  for (uint64_t n = second ? 2 : 1; n > 0; --n) {
    CollectorSetup setup = DrawCollector(&random_);
    setup.name = "collector-" + std::to_string(n);
    setup.job = job;
    setup.host = static_cast<HostId>(others + machines_++);
    collectors_.push_back(std::make_unique<CollectorHost>(fabric, far, setup, &rounds_));
  }
}

DynamicAccess::~DynamicAccess() { End(); }

void DynamicAccess::Start() {
  for (auto& collector : collectors_) collector->Start();
  for (size_t slot = 0; slot < readers_.size(); ++slot) {
    world_->After(Duration(random_.Below(10'000'000)), kWorld, [this, slot] { StartReader(slot); });
  }
}

void DynamicAccess::StartReader(size_t number) {
  Slot& slot = readers_[number];
  if (slot.reader != nullptr || stopped_) return;
  const ProcessId process = world_->Spawn(slot.setup.name + "." + std::to_string(++slot.starts));
  slot.reader = std::make_unique<DynamicReader>(fabric_, far_, process, &slot.setup, &reads_);
  world_->After({}, process, [&slot] { slot.reader->Start(); });
}

// --- Faults --------------------------------------------------------------------------------------

Duration DynamicAccess::Between(Random* random, Duration low, Duration high) {
  return low + Duration(random->Below(static_cast<uint64_t>((high - low).count())));
}

void DynamicAccess::Disturb(Random* random) {
  if (!readers_.empty()) DisturbReaders(random);
  if (!collectors_.empty()) DisturbCollectors(random);
}

void DynamicAccess::DisturbReaders(Random* random) {
  Faults& faults = world_->faults();
  const size_t number = random->Below(readers_.size());
  Slot& slot = readers_[number];
  if (slot.reader == nullptr) return;
  if (faults.Fires(Fault::kJobPause))
    world_->Pause(slot.reader->process(), Between(random, 10ms, 20s));
  if (faults.Fires(Fault::kClockJump)) slot.reader->clock().JumpForward(Between(random, 10ms, 30s));
  if (!faults.Fires(Fault::kJobKill)) return;
  world_->Note("kill reader", {slot.reader->process()});
  slot.reader->Kill();
  slot.reader.reset();
  world_->After(Between(random, 10ms, 5s), kWorld, [this, number] { StartReader(number); });
}

void DynamicAccess::DisturbCollectors(Random* random) {
  Faults& faults = world_->faults();
  CollectorHost& collector = *collectors_[random->Below(collectors_.size())];
  if (!collector.up()) return;
  if (faults.Fires(Fault::kJobPause))
    world_->Pause(collector.process(), Between(random, 10ms, 20s));
  if (faults.Fires(Fault::kClockWallStep)) {
    collector.clock().StepWall(static_cast<int64_t>(random->Below(200)) - 100);
  }
  const bool forgets = collector.frames() > 0 && faults.Fires(Fault::kCollectorOldLog);
  if (!faults.Fires(Fault::kCollectorKill) && !forgets) return;
  collector.Kill(forgets ? 1 + random->Below(collector.frames()) : 0);
  world_->After(Between(random, 10ms, 5s), kWorld, [&collector] {
    if (!collector.up()) collector.Start();
  });
}

// --- The end -------------------------------------------------------------------------------------

void DynamicAccess::Stop() {
  stopped_ = true;
  for (Slot& slot : readers_) {
    if (slot.reader != nullptr) slot.reader->Stop();
  }
  for (auto& collector : collectors_) {
    if (!collector->up()) collector->Start();
    collector->Stop();
  }
}

bool DynamicAccess::done() const {
  const bool read = std::all_of(readers_.begin(), readers_.end(), [](const Slot& slot) {
    return slot.reader == nullptr || slot.reader->done();
  });
  return read && std::all_of(collectors_.begin(), collectors_.end(),
                             [](const auto& collector) { return collector->done(); });
}

// Two collectors may have clocks that are apart; the nodes keep the log of the later one.
void DynamicAccess::CollectFromAll() {
  const bool steps = world_->faults().enabled(Fault::kClockWallStep);
  if (collectors_.size() == 1 && !steps) collectors_.front()->CollectFromAll();
}

void DynamicAccess::End() {
  for (Slot& slot : readers_) {
    if (slot.reader == nullptr) continue;
    slot.reader->Kill();
    slot.reader.reset();
  }
  collectors_.clear();
}

std::string DynamicAccess::Where() const {
  std::string text;
  for (const Slot& slot : readers_) {
    if (slot.reader != nullptr && !slot.reader->done()) text += slot.reader->Where() + "; ";
  }
  for (const auto& collector : collectors_) {
    if (!collector->done()) text += "a collector's round has no end; ";
  }
  return text;
}

DynamicAccessCounts DynamicAccess::counts() const { return {reads_, rounds_, snapshots_.counts()}; }

}  // namespace holdfast::sim
