// SPDX-License-Identifier: Apache-2.0
#include "bench/disk_world.h"

#include <sys/epoll.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "base/hash.h"

namespace holdfast::bench {

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void Fail(const Status& status) {
  std::fprintf(stderr, "bench: %s\n", status.ToString().c_str());
  std::exit(1);
}

void DiskWorld::StderrLog::Write(LogLevel, std::string_view line) {
  std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data());
}

DiskWorld::DiskWorld(const Options& options) : loop_(*net::EventLoop::Create()), random_(1) {
  Result<std::unique_ptr<disk::SegmentFiles>> files = disk::SegmentFiles::Open(
      {.directory = options.directory,
       .cluster = "bench",
       .node = 0,
       .segments = options.segments,
       .segment_bytes = options.segment_bytes,
       .depth = options.depth,
       .log = &log_},
      [this](std::function<void()> run) { loop_->Post(std::move(run)); },
      disk::Watcher{[this](int fd, std::function<void()> ready) {
                      return loop_->Watch(fd, EPOLLIN,
                                          [ready = std::move(ready)](uint32_t) { ready(); });
                    },
                    [this](int fd) { loop_->Unwatch(fd); }});
  if (!files.ok()) Fail(files.status());
  files_ = *std::move(files);
  const Env env{loop_.get(), nullptr, nullptr, &random_, &log_};
  tier_ = std::make_unique<store::DiskTier>(
      env, files_.get(),
      store::DiskTierOptions{
          .identity = {0, "bench"}, .index_objects = options.index_objects, .tiny = options.tiny});
  const double start = Now();
  Wait([this](std::function<void()> done) {
    tier_->Recover([done](const Status& status) {
      if (!status.ok()) Fail(status);
      done();
    });
  });
  recovered_s_ = Now() - start;
}

void DiskWorld::Wait(const std::function<void(std::function<void()> done)>& begin) {
  loop_->At(loop_->Now(), [&] { begin([this] { loop_->Stop(); }); });
  loop_->Run();
}

void DiskWorld::WaitAndMaintain(const std::function<void(std::function<void()> done)>& begin) {
  maintains_ = true;
  loop_->At(loop_->Now(), [this] { Tick(); });
  Wait(begin);
  maintains_ = false;
}

void DiskWorld::Tick() {
  if (!maintains_) return;
  tier_->Maintain();
  loop_->At(loop_->Now() + 2ms, [this] { Tick(); });
}

void DiskWorld::Maintain() {
  Wait([this](std::function<void()> done) {
    tier_->Maintain();
    loop_->At(loop_->Now() + 2ms, std::move(done));
  });
}

void DiskWorld::Take(const std::vector<store::DiskWriter::Item>& items) {
  for (uint64_t refused = UINT64_MAX; refused != tier_->Stats().tiny.refused_objects;) {
    refused = tier_->Stats().tiny.refused_objects;
    WaitAndMaintain([&](std::function<void()> done) { tier_->Take(items, std::move(done)); });
  }
  while (tier_->Stats().free_segments < store::DiskReclaim::kLeastFree) Maintain();
}

store::DiskWriter::Item DiskItem(const std::string& name, ByteView payload, int64_t loaded_us) {
  return {.head = {.entry = {.oid = Hash128(AsBytes(name)),
                             .version = HashVersion("e", payload.size()),
                             .size = payload.size(),
                             .loaded_us = loaded_us,
                             .name_bytes = static_cast<uint16_t>(name.size()),
                             .etag_bytes = 1},
                   .payload_hash = Hash64(payload),
                   .name = name,
                   .etag = "e"},
          .payload = payload};
}

}  // namespace holdfast::bench
