// SPDX-License-Identifier: Apache-2.0
#include "tests/torture/torture_reader.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <memory>
#include <thread>

#include "io/shm/attach.h"
#include "tests/torture/torture_records.h"

namespace holdfast::torture {
namespace {

constexpr size_t kBatch = 64;
constexpr size_t kKeptViews = 6;

void Add(std::atomic<uint64_t>* counter, uint64_t n) {
  counter->fetch_add(n, std::memory_order_relaxed);
}

std::unique_ptr<shm::LocalAttachment> Attach(const std::string& path, Shared* shared,
                                             ReaderCounters* counters) {
  while (shared->phase.load() == Phase::kRun) {
    auto attachment = shm::AttachLocal({.path = path, .timeout = 2s, .populate = true});
    if (attachment.ok()) {
      Add(&counters->attached, 1);
      return std::move(*attachment);
    }
    // The daemon is dead or stopped: that is the sport. Anything else is a fault.
    Code code = attachment.status().code();
    if (code != Code::kUnavailable && code != Code::kTimeout) {
      std::fprintf(stderr, "torture: attaching: %s\n", attachment.status().ToString().c_str());
      Add(&counters->wrong, 1);
      return nullptr;
    }
    ::usleep(1000);
  }
  return nullptr;
}

// The child reads through a session of its own, after the parent's has been of no use to it.
int RunChild(const std::string& path, ReadLoop* inherited, uint64_t seed, Shared* shared,
             ReaderCounters* counters) {
  inherited->ActAsChild();
  auto attachment = Attach(path, shared, counters);
  if (attachment == nullptr) return 0;
  ReadLoop loop(&attachment->reader(), seed, counters);
  for (int i = 0; i < 20; ++i) loop.Step();
  return 0;
}

void Fork(const std::string& path, ReadLoop* loop, uint64_t seed, Shared* shared,
          ReaderCounters* counters) {
  pid_t child = ::fork();
  if (child == 0) ::_exit(RunChild(path, loop, seed, shared, counters));
  Add(&counters->forked, 1);
  // Reading goes on beside the child.
  int status = 0;
  while (::waitpid(child, &status, WNOHANG) == 0) loop->Step();
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    std::fprintf(stderr, "torture: a forked child ended with status %d\n", status);
    Add(&counters->wrong, 1);
  }
}

}  // namespace

ReadLoop::ReadLoop(LocalReader* reader, uint64_t seed, ReaderCounters* counters)
    : reader_(reader),
      random_(seed),
      counters_(counters),
      buffer_(kBatch * kMaxPayload),
      kept_(kKeptViews),
      requests_(kBatch),
      outcomes_(kBatch) {}

void ReadLoop::Step() {
  CopyBatch();
  CopySome();
  for (int i = 0; i < 24; ++i) TakeView();
}

void ReadLoop::CopySome() {
  for (int i = 0; i < 16; ++i) {
    uint32_t key = AnyKey();
    // Now and then too small: then the size is told and nothing is written.
    uint64_t room = random_.Chance(0.1) ? random_.Below(64) : kMaxPayload;
    LocalRequest request{.oid = OidOfKey(key), .version = 0, .into = buffer_.span().first(room)};
    Check(key, reader_->Copy(request), request.into);
  }
  Add(&counters_->lookups, 16);
}

void ReadLoop::CopyBatch() {
  uint32_t keys[kBatch];
  for (size_t i = 0; i < kBatch; ++i) {
    keys[i] = AnyKey();
    requests_[i] = {.oid = OidOfKey(keys[i]),
                    .version = 0,
                    .into = buffer_.span().subspan(i * kMaxPayload, kMaxPayload)};
  }
  reader_->CopyMany(requests_, outcomes_);
  for (size_t i = 0; i < kBatch; ++i) Check(keys[i], outcomes_[i], requests_[i].into);
  Add(&counters_->lookups, kBatch);
}

void ReadLoop::Check(uint32_t key, const LocalOutcome& outcome, ByteView bytes) {
  if (outcome.code == Code::kNotFound) return;
  Add(&counters_->hits, 1);
  if (outcome.code == Code::kNoSpace) {
    if (outcome.size != SizeOf(key, outcome.version) || outcome.size <= bytes.size()) {
      Wrong("size of a copy", key, outcome.version);
    }
  } else if (outcome.code != Code::kOk || outcome.size > bytes.size() ||
             !Right(key, outcome.version, bytes.first(outcome.size))) {
    Wrong("copy", key, outcome.version);
  }
}

void ReadLoop::TakeView() {
  Kept& kept = kept_[random_.Below(kept_.size())];
  if (kept.view) CheckView(kept);
  kept.view.Release();
  kept.key = AnyKey();
  bool over_grant = false;
  kept.view = random_.Chance(0.1) ? reader_->Pin(OidOfKey(kept.key), 0)
                                  : reader_->View(OidOfKey(kept.key), 0, &over_grant);
  Add(&counters_->lookups, 1);
  if (over_grant) Add(&counters_->over_grant, 1);
  if (!kept.view) return;
  Add(&counters_->views, 1);
  CheckView(kept);
}

void ReadLoop::CheckView(const Kept& kept) {
  if (kept.view.name() != "file:///torture" || kept.view.etag() != "e") {
    Wrong("name of a view", kept.key, kept.view.version());
  }
  if (!Right(kept.key, kept.view.version(), kept.view.payload())) {
    Wrong("view", kept.key, kept.view.version());
  }
}

void ReadLoop::ReleaseViews() {
  for (Kept& kept : kept_) {
    if (kept.view) CheckView(kept);
    kept.view.Release();
  }
}

void ReadLoop::ActAsChild() {
  bool over_grant = false;
  for (uint32_t key = 0; key < 100; ++key) {
    LocalRequest request{.oid = OidOfKey(key), .version = 0, .into = buffer_.span()};
    if (reader_->Copy(request).code != Code::kNotFound ||
        reader_->View(request.oid, 0, &over_grant) || reader_->Pin(request.oid, 0)) {
      Wrong("a child's use of its parent's session", key, 0);
    }
  }
  for (Kept& kept : kept_) kept.view.Release();
}

void ReadLoop::Wrong(const char* how, uint32_t key, VersionHash version) {
  // The first few are enough to look into.
  if (counters_->wrong.fetch_add(1) < 5) {
    std::fprintf(stderr, "torture: process %d: wrong %s: key %" PRIu32 ", version %" PRIu64 "\n",
                 ::getpid(), how, key, version);
  }
}

// Half of all reads go to few keys, so that segments are pinned by several at once.
uint32_t ReadLoop::AnyKey() {
  return static_cast<uint32_t>(random_.Below(random_.Next() % 2 == 0 ? kKeys : kKeys / 50));
}

int RunReader(const std::string& directory, uint64_t seed, Shared* shared,
              ReaderCounters* counters) {
  Random random(seed);
  std::string path = directory + "/attach.sock";
  while (true) {
    auto attachment = Attach(path, shared, counters);
    if (attachment == nullptr) break;
    std::atomic<bool> stop{false};
    auto read = [&](uint64_t loop_seed) {
      ReadLoop loop(&attachment->reader(), loop_seed, counters);
      while (!stop.load() && shared->phase.load() == Phase::kRun) loop.Step();
      loop.ReleaseViews();
    };
    std::vector<std::thread> others;
    for (uint64_t n = random.Below(3); n > 0; --n) others.emplace_back(read, random.Next());
    {
      ReadLoop loop(&attachment->reader(), random.Next(), counters);
      for (uint64_t steps = 1000 + random.Below(20'000);
           steps > 0 && shared->phase.load() == Phase::kRun; --steps) {
        loop.Step();
        if (random.Chance(0.0005)) Fork(path, &loop, random.Next(), shared, counters);
      }
      loop.ReleaseViews();
    }
    stop.store(true);
    for (std::thread& other : others) other.join();
    while (shared->phase.load() == Phase::kLetGo) ::usleep(1000);
  }
  return 0;
}

}  // namespace holdfast::torture
