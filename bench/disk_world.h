// SPDX-License-Identifier: Apache-2.0
// A disk tier over real files, past the page cache, on a loop of its own, for the benchmarks.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/random.h"
#include "cached/store/disk_tier.h"
#include "io/disk/segment_files.h"
#include "io/net/event_loop.h"

namespace holdfast::bench {

using store::DiskTier;
using store::DiskWriter;

// Seconds of a clock that only goes forward.
double Now();
// Says it and ends the program.
[[noreturn]] void Fail(const Status& status);

class DiskWorld {
 public:
  struct Options {
    std::string directory;
    uint32_t segments = 0;
    uint64_t segment_bytes = 0;
    uint64_t index_objects = 0;
    uint32_t depth = 32;
    store::TinyOptions tiny{};
  };
  // What lies in the directory is recovered.
  explicit DiskWorld(const Options& options);

  // Runs the loop until what `begin` begins calls its `done`.
  void Wait(const std::function<void(std::function<void()> done)>& begin);
  // And maintains the tier meanwhile.
  void WaitAndMaintain(const std::function<void(std::function<void()> done)>& begin);
  void Maintain();
  // Writes them, again until none is refused because others wait, and reclaims until there is room
  // for more.
  void Take(const std::vector<store::DiskWriter::Item>& items);

  store::DiskTier& tier() { return *tier_; }
  net::EventLoop& loop() { return *loop_; }
  double recovered_s() const { return recovered_s_; }

 private:
  void Tick();

  class StderrLog : public Log {
   public:
    void Write(LogLevel level, std::string_view line) override;
  };

  StderrLog log_;
  std::unique_ptr<net::EventLoop> loop_;
  Random random_;
  std::unique_ptr<disk::SegmentFiles> files_;
  std::unique_ptr<store::DiskTier> tier_;
  double recovered_s_ = 0;
  bool maintains_ = false;
};

// A record with this payload, which stays the caller's.
store::DiskWriter::Item DiskItem(const std::string& name, ByteView payload, int64_t loaded_us);

}  // namespace holdfast::bench
