// SPDX-License-Identifier: Apache-2.0
// Stands for the tmpfs files of a host: a region, and the sessions of the processes that read it.
// Files outlive the daemon and the readers, so whoever maps one shares it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/bytes.h"
#include "base/env.h"
#include "wire/local_reader.h"
#include "wire/shm_layout.h"

namespace holdfast::sim {

// Zero pages from the kernel, touched only where they are used.
class Pages {
 public:
  explicit Pages(size_t size);
  ~Pages();
  Pages(const Pages&) = delete;
  ByteSpan span() const { return {data_, size_}; }

 private:
  std::byte* data_;
  size_t size_;
};

struct RegionFile {
  explicit RegionFile(const shm::RegionPlan& p) : plan(p), pages(p.region_bytes) {}
  shm::RegionPlan plan;
  Pages pages;
};

// A process's session on a region, with its reader. Views hold on to it by shared_ptr.
class SessionFile {
 public:
  // `number` from 1, not used before on this region. The region has been formatted.
  static std::shared_ptr<SessionFile> Make(std::shared_ptr<RegionFile> region, uint32_t number,
                                           WallClock wall = {});

  uint32_t number() const { return number_; }
  LocalReader& reader() { return *reader_; }
  ByteSpan memory() const { return pages_.span(); }
  const std::shared_ptr<RegionFile>& region() const { return region_; }
  // Runs `release`, which lets go of the process's views, and puts the session's memory back as it
  // was: a killed process would have let go of nothing.
  void EndAsKilled(const std::function<void()>& release);

 private:
  SessionFile(std::shared_ptr<RegionFile> region, uint32_t number);

  std::shared_ptr<RegionFile> region_;
  uint32_t number_;
  Pages pages_;
  std::unique_ptr<LocalReader> reader_;
};

}  // namespace holdfast::sim
