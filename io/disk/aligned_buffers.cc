// SPDX-License-Identifier: Apache-2.0
#include "io/disk/aligned_buffers.h"

#include <sys/mman.h>

#include "base/status.h"
#include "base/units.h"
#include "wire/disk_segment.h"

namespace holdfast::disk {
namespace {

constexpr uint64_t kHugePage = 2 * kMiB;

}  // namespace

AlignedBuffers::AlignedBuffers(size_t count, uint64_t bytes) : bytes_(bytes) {
  HF_CHECK(count > 0 && bytes > 0 && bytes % kBlock == 0);
  const uint64_t used = shm::AlignUp(count * bytes, kHugePage);
  mapped_ = used + kHugePage;
  mapping_ = ::mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  HF_CHECK(mapping_ != MAP_FAILED);
  const auto at = reinterpret_cast<uint64_t>(mapping_);
  first_ = static_cast<std::byte*>(mapping_) + (shm::AlignUp(at, kHugePage) - at);
  ::madvise(first_, used, MADV_HUGEPAGE);  // else they are ordinary pages
  // A device that writes to memory and a fork that copies it do not go together (open(2), O_DIRECT).
  ::madvise(mapping_, mapped_, MADV_DONTFORK);
}

AlignedBuffers::~AlignedBuffers() { ::munmap(mapping_, mapped_); }

}  // namespace holdfast::disk
