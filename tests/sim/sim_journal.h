// SPDX-License-Identifier: Apache-2.0
// A node's journal as its process sees it: group commit, with its latency and its faults. What was on
// its way when the process dies may still arrive, until the next process opens the journal.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/env.h"
#include "tests/sim/journal_image.h"
#include "tests/sim/world.h"

namespace holdfast::sim {

class SimJournal : public Journal {
 public:
  // `image` outlives the world's events.
  SimJournal(World* world, ProcessId process, std::shared_ptr<JournalImage> image);

  void Append(ByteView record, std::function<void(Status, uint64_t sequence)> done) override;
  Status Truncate(uint64_t before) override;
  void Replay(std::function<void(uint64_t sequence, ByteView record)> each,
              std::function<void(Status)> done) override;

 private:
  Status Failed() const;

  World* world_;
  ProcessId process_;
  std::shared_ptr<JournalImage> image_;
  uint32_t life_;
  Random random_;
  uint64_t on_its_way_ = 0;  // bytes
  Time written_{};           // when the last record arrives
  Time synced_{};            // when the last group is synced
  bool failed_ = false;
  bool replayed_ = false;
};

}  // namespace holdfast::sim
