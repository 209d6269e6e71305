// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/sim_memory.h"

#include <sys/mman.h>

#include <cstring>
#include <utility>

#include "base/status.h"

namespace holdfast::sim {

Pages::Pages(size_t size) : size_(size) {
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  HF_CHECK(memory != MAP_FAILED);
  data_ = static_cast<std::byte*>(memory);
}

Pages::~Pages() { munmap(data_, size_); }

SessionFile::SessionFile(std::shared_ptr<RegionFile> region, uint32_t number)
    : region_(std::move(region)),
      number_(number),
      pages_(shm::SessionBytes(region_->plan.segments)) {}

std::shared_ptr<SessionFile> SessionFile::Make(std::shared_ptr<RegionFile> region, uint32_t number,
                                               WallClock wall) {
  std::shared_ptr<SessionFile> session(new SessionFile(std::move(region), number));
  const auto incarnation =
      reinterpret_cast<const shm::RegionHeader*>(session->region_->pages.span().data())
          ->incarnation;
  FormatSession(session->memory(), number, session->region_->plan.segments, incarnation, 0);
  Result<std::unique_ptr<LocalReader>> reader = LocalReader::Open(
      session->region_->pages.span(), session->memory(), nullptr, std::move(wall));
  HF_CHECK(reader.ok());
  session->reader_ = std::move(*reader);
  return session;
}

void SessionFile::EndAsKilled(const std::function<void()>& release) {
  Buffer before = Buffer::CopyOf(memory());
  release();
  std::memcpy(memory().data(), before.data(), before.size());
}

}  // namespace holdfast::sim
