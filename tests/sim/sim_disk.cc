// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/sim_disk.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/hash.h"

namespace holdfast::sim {
namespace {

constexpr uint64_t kBytesPerUs = 500;

}  // namespace

SimDisk::SimDisk(World* world, ProcessId process, std::shared_ptr<DiskImage> image)
    : world_(world),
      process_(process),
      image_(std::move(image)),
      random_(world->Stream("disk " + world->NameOf(process))) {}

Duration SimDisk::Delay(uint64_t bytes) {
  Duration delay = 50us + Duration(static_cast<int64_t>(random_.Exponential(100))) +
                   Duration(bytes / kBytesPerUs);
  if (world_->faults().Fires(Fault::kDiskSlow)) delay += Duration(random_.Below(2'000'000));
  return delay;
}

void SimDisk::Read(uint32_t segment, uint64_t offset, ByteSpan into,
                   std::function<void(Status, uint64_t hash)> done) {
  const bool fails = world_->faults().Fires(Fault::kDiskReadError);
  world_->After(Delay(into.size()), process_,
                [this, segment, offset, into, done = std::move(done), fails] {
                  if (fails) return done(Status::Unavailable("reading: Input/output error"), 0);
                  if (world_->faults().Fires(Fault::kDiskFlip)) image_->FlipBit(&random_);
                  image_->Read(segment, offset, into);
                  done({}, Hash64(into));
                });
}

void SimDisk::Write(uint32_t segment, uint64_t offset, std::vector<ByteView> parts,
                    std::function<void(Status)> done) {
  const bool fails = world_->faults().Fires(Fault::kDiskWriteError);
  auto bytes = std::make_shared<std::vector<std::byte>>();
  for (const ByteView& part : parts) bytes->insert(bytes->end(), part.begin(), part.end());
  const Duration delay = Delay(bytes->size());
  // It arrives, whether or not the process lives to hear of it.
  world_->After(delay, kWorld, [image = image_, segment, offset, fails, bytes] {
    if (!fails) image->Write(segment, offset, {*bytes});
  });
  world_->After(delay, process_,
                [this, parts = std::move(parts), done = std::move(done), fails, bytes] {
                  if (fails) return done(Status::NoSpace("writing: No space left on device"));
                  auto at = bytes->begin();
                  for (const ByteView& part : parts) {
                    if (!std::equal(part.begin(), part.end(), at))
                      world_->Violate("disk-writes", "what is on its way to a disk changed");
                    at += static_cast<ptrdiff_t>(part.size());
                  }
                  done({});
                });
}

void SimDisk::Sync(uint32_t segment, std::function<void(Status)> done) {
  const Duration delay = Delay(0);
  world_->After(delay, process_, [this, segment, done = std::move(done)] {
    image_->Sync(segment);
    done({});
  });
}

}  // namespace holdfast::sim
