// SPDX-License-Identifier: Apache-2.0
// A disk tier over files of a directory, on a loop of its own, for benchmarks.
#pragma once

#include <chrono>
#include <cstdio>
#include <cstdlib>
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

inline double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

class NoLog : public Log {
 public:
  void Write(LogLevel, std::string_view line) override {
    std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data());
  }
};

[[noreturn]] inline void Fail(const Status& status) {
  std::fprintf(stderr, "bench: %s\n", status.ToString().c_str());
  std::exit(1);
}

// A disk tier over files below `directory`, on a loop of its own.
class Tier {
 public:
  Tier(const std::string& directory, uint32_t segments, uint64_t segment_bytes, uint64_t objects,
       store::TinyOptions tiny = {}, uint32_t threads = 4)
      : loop_(*net::EventLoop::Create()), random_(1) {
    Result<std::unique_ptr<disk::SegmentFiles>> files = disk::SegmentFiles::Open(
        {.directory = directory,
         .cluster = "bench",
         .node = 0,
         .segments = segments,
         .segment_bytes = segment_bytes,
         .threads = threads,
         .log = &log_},
        [this](std::function<void()> run) { loop_->Post(std::move(run)); });
    if (!files.ok()) Fail(files.status());
    files_ = *std::move(files);
    const Env env{loop_.get(), nullptr, nullptr, &random_, &log_};
    tier_ = std::make_unique<DiskTier>(
        env, files_.get(),
        store::DiskTierOptions{.identity = {0, "bench"}, .index_objects = objects, .tiny = tiny});
    const double start = Now();
    Wait([this](std::function<void()> done) {
      tier_->Recover([done](const Status& status) {
        if (!status.ok()) Fail(status);
        done();
      });
    });
    recovered_s_ = Now() - start;
  }

  // Runs the loop until what `begin` begins calls its `done`.
  void Wait(const std::function<void(std::function<void()> done)>& begin) {
    loop_->At(loop_->Now(), [&] { begin([this] { loop_->Stop(); }); });
    loop_->Run();
  }
  // And maintains the tier meanwhile.
  void WaitAndMaintain(const std::function<void(std::function<void()> done)>& begin) {
    maintains_ = true;
    loop_->At(loop_->Now(), [this] { Tick(); });
    Wait(begin);
    maintains_ = false;
  }
  void Maintain() {
    Wait([this](std::function<void()> done) {
      tier_->Maintain();
      loop_->At(loop_->Now() + 2ms, std::move(done));
    });
  }
  net::EventLoop& loop() { return *loop_; }
  DiskTier& tier() { return *tier_; }
  double recovered_s() const { return recovered_s_; }

 private:
  void Tick() {
    if (!maintains_) return;
    tier_->Maintain();
    loop_->At(loop_->Now() + 2ms, [this] { Tick(); });
  }

  NoLog log_;
  std::unique_ptr<net::EventLoop> loop_;
  Random random_;
  std::unique_ptr<disk::SegmentFiles> files_;
  std::unique_ptr<DiskTier> tier_;
  double recovered_s_ = 0;
  bool maintains_ = false;
};

}  // namespace holdfast::bench
