// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/stream_access.h"

#include <algorithm>

namespace holdfast::sim {

StreamAccess::StreamAccess(Fabric* fabric, FarWorld* far, const Scenario& scenario,
                           std::vector<std::unique_ptr<NodeHost>>* hosts, size_t machines)
    : fabric_(fabric),
      world_(fabric->world()),
      far_(far),
      hosts_(hosts),
      random_(world_->Stream("streams")),
      others_(machines),
      oracle_(world_, [hosts](NodeId node) { return (*hosts)[node]->last_start(); }) {
  if (random_.Below(3) == 0) return;
  for (uint64_t n = 1 + random_.Below(2); n > 0; --n) AddStream(scenario, n);
}

StreamAccess::~StreamAccess() { End(); }

void StreamAccess::Place(StreamSetup* setup) {
  const bool beside_a_node = random_.Chance(0.7);
  setup->host =
      static_cast<HostId>(beside_a_node ? random_.Below(hosts_->size()) : others_ + machines_++);
  setup->own_node = beside_a_node ? (*hosts_)[setup->host].get() : nullptr;
}

void StreamAccess::AddStream(const Scenario& scenario, uint64_t number) {
  const NodeSetup& node = scenario.nodes.front();
  const uint64_t segment = node.tier.segment_bytes;
  StreamSetup setup;
  setup.name = "stream-" + std::to_string(number);
  setup.job.members = scenario.jobs.front().job.members;
  // Mostly more than one node has room for.
  setup.terms = {.stream = random_.Next() | 1,
                 .memory_bytes = random_.Below(8) == 0 ? 0 : segment * (1 + random_.Below(8)),
                 .disk_bytes = random_.Chance(0.5) ? 0 : segment * random_.Below(16),
                 .writers = static_cast<uint32_t>(1 + random_.Below(3)),
                 .copies = static_cast<uint8_t>(1 + random_.Below(2)),
                 .expires_in = Duration(15'000'000 + random_.Below(20'000'000))};
  if (setup.terms.memory_bytes + setup.terms.disk_bytes == 0) setup.terms.memory_bytes = segment;
  setup.chunk_bytes = std::min<uint64_t>(4'096 + random_.Below(8 * kKiB), segment / 4);
  setup.think = Duration(1'000 + random_.Below(30'000));
  const Duration start(random_.Below(10'000'000));
  for (uint32_t i = 0; i < setup.terms.writers; ++i) {
    setup.create = i == 0;
    setup.records = random_.Below(3'000);
    Place(&setup);
    const Duration later = setup.create ? Duration() : Duration(200'000 + random_.Below(5'000'000));
    slots_.push_back({.setup = setup, .writes = true, .start = start + later});
  }
  for (uint64_t n = 1 + random_.Below(3); n > 0; --n) {
    Place(&setup);
    slots_.push_back({.setup = setup, .start = start + Duration(random_.Below(15'000'000))});
  }
}

void StreamAccess::Start() {
  for (size_t i = 0; i < slots_.size(); ++i) {
    world_->After(slots_[i].start, kWorld, [this, i] { StartSlot(i); });
  }
}

void StreamAccess::StartSlot(size_t number) {
  Slot& slot = slots_[number];
  if (stopped_ || slot.writer != nullptr || slot.reader != nullptr) return;
  const ProcessId process =
      world_->Spawn(slot.setup.name + (slot.writes ? "-writer-" : "-reader-") +
                    std::to_string(number) + "." + std::to_string(++slot.starts));
  if (slot.writes) {
    slot.writer =
        std::make_unique<StreamWriterProcess>(fabric_, far_, process, &slot.setup, &oracle_);
    world_->After({}, process, [&slot] { slot.writer->Start(); });
  } else {
    slot.reader =
        std::make_unique<StreamReaderProcess>(fabric_, far_, process, &slot.setup, &oracle_);
    world_->After({}, process, [&slot] { slot.reader->Start(); });
  }
}

// A writer that is killed is gone for good: the others, and the readers, have to live with it.
void StreamAccess::Disturb(Random* random) {
  if (slots_.empty()) return;
  Faults& faults = world_->faults();
  const size_t number = random->Below(slots_.size());
  Slot& slot = slots_[number];
  if (slot.writer == nullptr && slot.reader == nullptr) return;
  const ProcessId process = slot.writes ? slot.writer->process() : slot.reader->process();
  if (faults.Fires(Fault::kJobPause)) {
    world_->Pause(process, Duration(10'000 + random->Below(10'000'000)));
  }
  if (!faults.Fires(Fault::kJobKill)) return;
  world_->Note("kill stream", {process});
  if (slot.writes) {
    slot.writer->Kill();
    slot.writer.reset();
    slot.starts = UINT32_MAX;
    return;
  }
  slot.reader->Kill();
  slot.reader.reset();
  world_->After(Duration(random->Below(3'000'000)), kWorld, [this, number] { StartSlot(number); });
}

bool StreamAccess::Done(const Slot& slot) const {
  return (slot.writer == nullptr || slot.writer->done()) &&
         (slot.reader == nullptr || slot.reader->done());
}

bool StreamAccess::done() const {
  return std::all_of(slots_.begin(), slots_.end(), [this](const Slot& slot) { return Done(slot); });
}

std::string StreamAccess::Where() const {
  std::string text;
  for (const Slot& slot : slots_) {
    if (!Done(slot)) {
      text += std::string(slot.writes ? "a writer" : "a reader") + " of " + slot.setup.name +
              " has no end; ";
    }
  }
  return text;
}

void StreamAccess::End() {
  for (Slot& slot : slots_) {
    if (slot.writer != nullptr) slot.writer->Kill();
    if (slot.reader != nullptr) slot.reader->Kill();
    slot.writer.reset();
    slot.reader.reset();
  }
}

}  // namespace holdfast::sim
