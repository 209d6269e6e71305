// SPDX-License-Identifier: Apache-2.0
// A disk in memory for unit tests, with faults by hand, and a disk tier over it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/hash.h"
#include "cached/store/disk_tier.h"
#include "tests/sim/disk_image.h"
#include "tests/unit/cached/fixture.h"

namespace holdfast::store {

// The clock of a process: what it was to run is forgotten when it ends.
class ProcessClock : public Clock {
 public:
  explicit ProcessClock(cached::HandClock* clock) : clock_(clock) {}
  Time Now() const override { return clock_->Now(); }
  WallTime Wall() const override { return clock_->Wall(); }
  void At(Time when, std::function<void()> run) override {
    clock_->At(when, [this, process = process_, run = std::move(run)] {
      if (process == process_) run();
    });
  }
  void End() { ++process_; }

 private:
  cached::HandClock* clock_;
  uint64_t process_ = 0;
};

class FakeDisk : public Disk {
 public:
  FakeDisk(Clock* clock, sim::DiskImage* image) : clock_(clock), image_(image) {}

  uint32_t segments() const override { return image_->segments(); }
  uint64_t segment_bytes() const override { return image_->segment_bytes(); }
  void Read(uint32_t segment, uint64_t offset, ByteSpan into,
            std::function<void(Status, uint64_t)> done) override {
    ++reads;
    const bool fails = fail_reads && good_reads == 0;
    if (fail_reads && good_reads > 0) --good_reads;
    Later([this, segment, offset, into, done = std::move(done), fails] {
      if (fails) return done(Status(fail_code, "reading: Input/output error"), 0);
      image_->Read(segment, offset, into);
      done({}, Hash64(into));
    });
  }
  void Write(uint32_t segment, uint64_t offset, std::vector<ByteView> parts,
             std::function<void(Status)> done) override {
    ++writes;
    Later([this, segment, offset, parts = std::move(parts), done = std::move(done),
           fails = fail_writes] {
      if (fails) return done(Status::NoSpace("writing: No space left on device"));
      image_->Write(segment, offset, parts);
      done({});
    });
  }
  void Sync(uint32_t segment, std::function<void(Status)> done) override {
    Later([this, segment, done = std::move(done), fails = fail_syncs] {
      if (fails) return done(Status::Unavailable("syncing: Input/output error"));
      image_->Sync(segment);
      done({});
    });
  }

  bool fail_reads = false;
  Code fail_code = Code::kUnavailable;  // of reads
  uint64_t good_reads = 0;  // before those that fail
  bool fail_writes = false;
  bool fail_syncs = false;
  uint64_t reads = 0;
  uint64_t writes = 0;

 private:
  void Later(std::function<void()> run) { clock_->At(clock_->Now() + 100us, std::move(run)); }

  Clock* clock_;
  sim::DiskImage* image_;
};

// Objects of cached::NameOfObject, payloads of bytes that depend on their number.
class DiskWorld {
 public:
  static constexpr uint64_t kSegmentBytes = 256 * kKiB;

  explicit DiskWorld(uint32_t segments = 8)
      : network(&clock),
        far(&clock),
        random(1),
        image(segments, kSegmentBytes),
        process(&clock),
        disk(&process, &image) {
    env = {&process, &network, &far, &random, &log};
    HF_CHECK(Start().ok());
  }
  // As a daemon that starts. What Recover said.
  Status Start(NodeId node = 1, const std::string& cluster = "c") {
    process.End();
    tier = std::make_unique<DiskTier>(env, &disk,
                                      DiskTierOptions{.identity = {node, cluster},
                                                      .index_objects = 20'000,
                                                      .tiny = tiny,
                                                      .copies = copies,
                                                      .reclaim_reads_copies = reclaim_reads_copies,
                                                      .mover = mover});
    std::optional<Status> recovered;
    tier->Recover([&](Status status) { recovered = std::move(status); });
    clock.RunFor(1s);
    HF_CHECK(recovered.has_value());
    return *recovered;
  }

  static std::string PayloadOf(uint32_t n, uint64_t size) {
    std::string bytes(size, '\0');
    for (uint64_t i = 0; i < size; ++i)
      bytes[i] = static_cast<char>(Mix64(n + i / 8) >> (i % 8 * 8));
    return bytes;
  }
  cached::ObjectKey Key(uint32_t n, uint64_t size) const { return cached::KeyOfObject(n, size); }

  // Takes objects [first, first + count) and waits.
  void Take(uint32_t first, uint32_t count, uint64_t size) {
    std::vector<std::string> payloads;
    std::vector<DiskWriter::Item> items;
    for (uint32_t n = first; n < first + count; ++n) payloads.push_back(PayloadOf(n, size));
    for (uint32_t n = first; n < first + count; ++n) {
      const cached::ObjectKey key = Key(n, size);
      const std::string name = cached::NameOfObject(n), etag = cached::EtagOfObject(n);
      const ByteView payload = AsBytes(payloads[n - first]);
      items.push_back({.head = {.entry = {.oid = key.oid,
                                          .version = key.version,
                                          .size = size,
                                          .loaded_us = tier->Stamp({}),
                                          .name_bytes = static_cast<uint16_t>(name.size()),
                                          .etag_bytes = static_cast<uint16_t>(etag.size())},
                                .payload_hash = Hash64(payload),
                                .name = name,
                                .etag = etag,
                                .expires_s = expires_s},
                       .payload = payload});
    }
    bool taken = false;
    tier->Take(std::move(items), [&] { taken = true; });
    Run();
    for (int i = 0; i < 20 && !taken; ++i) Run();
    HF_CHECK(taken);
  }
  void Run() {
    for (int i = 0; i < 50; ++i) {
      tier->Maintain();
      clock.RunFor(2ms);
    }
  }
  // Until nothing is merged any more.
  void Settle() {
    for (int i = 0; i < 50; ++i) Run();
  }
  Result<DiskTier::Found> Look(const Oid& oid, VersionHash version, uint64_t record_bytes = 0) {
    std::optional<Result<DiskTier::Found>> found;
    tier->Look(oid, version, record_bytes,
               [&](Result<DiskTier::Found> r) { found = std::move(r); });
    Run();
    HF_CHECK(found.has_value());
    return *std::move(found);
  }
  Result<std::string> Read(uint32_t n, uint64_t size, uint64_t record_bytes = 0) {
    Result<DiskTier::Found> found = Look(Key(n, size).oid, Key(n, size).version, record_bytes);
    if (!found.ok()) return found.status();
    std::string bytes(found->head.entry.size, '\0');
    std::optional<Status> read;
    tier->Read(*found, {reinterpret_cast<std::byte*>(bytes.data()), bytes.size()},
               [&](Status status) { read = std::move(status); });
    Run();
    HF_CHECK(read.has_value());
    if (!read->ok()) return *read;
    return bytes;
  }
  // Of [first, first + count): how many are there with the right bytes; a wrong one is an error.
  Result<uint32_t> CountRight(uint32_t first, uint32_t count, uint64_t size) {
    uint32_t right = 0;
    for (uint32_t n = first; n < first + count; ++n) {
      Result<std::string> bytes = Read(n, size);
      if (bytes.ok() && *bytes != PayloadOf(n, size)) {
        return Status::Corrupt("object " + std::to_string(n) + " has other bytes");
      }
      right += bytes.ok() ? 1 : 0;
    }
    return right;
  }

  TinyOptions tiny{};      // of the next start
  uint32_t expires_s = 0;  // of what is taken

  cached::HandClock clock;
  cached::RecordingNetwork network;
  cached::CountingFarStore far;
  Random random;
  cached::QuietLog log;
  Env env{};
  sim::DiskImage image;
  ProcessClock process;
  FakeDisk disk;
  SegmentReader* copies = nullptr;    // from the next Start on
  bool reclaim_reads_copies = false;  // likewise
  SegmentMover* mover = nullptr;      // likewise
  std::unique_ptr<DiskTier> tier;
};

}  // namespace holdfast::store
