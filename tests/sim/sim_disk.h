// SPDX-License-Identifier: Apache-2.0
// A node's disk as its process sees it, with its latency and its faults. What was on its way when the
// process dies may still arrive.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/env.h"
#include "tests/sim/disk_image.h"
#include "tests/sim/world.h"

namespace holdfast::sim {

class SimDisk : public Disk {
 public:
  // `image` outlives the world's events.
  SimDisk(World* world, ProcessId process, std::shared_ptr<DiskImage> image);

  uint32_t segments() const override { return image_->segments(); }
  uint64_t segment_bytes() const override { return image_->segment_bytes(); }
  void Read(uint32_t segment, uint64_t offset, ByteSpan into,
            std::function<void(Status, uint64_t hash)> done) override;
  void Write(uint32_t segment, uint64_t offset, std::vector<ByteView> parts,
             std::function<void(Status)> done) override;
  void Sync(uint32_t segment, std::function<void(Status)> done) override;

 private:
  Duration Delay(uint64_t bytes);

  World* world_;
  ProcessId process_;
  std::shared_ptr<DiskImage> image_;
  Random random_;
};

}  // namespace holdfast::sim
