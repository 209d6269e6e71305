// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "bench/evict_holdfast.h"

namespace holdfast::bench {
namespace {

constexpr uint32_t kReaders = 2;
constexpr size_t kBatch = 64;  // requests that a reader has under way
constexpr auto kBetweenMaintenance = std::chrono::milliseconds(2);  // as in a busy node

// What readers miss, and the deciding thread that loads it.
class Loading {
 public:
  Loading(TraceTier* node) : node_(node) {}

  // A reader's: returns when these have been loaded.
  void Load(std::vector<uint32_t> objects) {
    std::unique_lock lock(mutex_);
    missed_.insert(missed_.end(), objects.begin(), objects.end());
    const uint64_t round = round_;
    wake_.notify_all();
    done_.wait(lock, [&] { return round_ > round; });
  }
  void ReaderDone() {
    const std::lock_guard lock(mutex_);
    --readers_;
    wake_.notify_all();
  }

  // The deciding thread's: until all readers are done. How many objects were loaded.
  uint64_t Run() {
    auto maintain = std::chrono::steady_clock::now();
    uint64_t loads = 0;
    Time now{};
    std::unique_lock lock(mutex_);
    while (readers_ > 0) {
      wake_.wait_until(lock, maintain, [&] { return !missed_.empty() || readers_ == 0; });
      for (const uint32_t object : missed_) {
        if (node_->Has(object)) continue;  // another reader missed it too
        ++loads;
        now = now + 10ms;
        (void)node_->Load(object, now, {});
      }
      missed_.clear();
      ++round_;
      done_.notify_all();
      if (std::chrono::steady_clock::now() < maintain) continue;
      lock.unlock();
      node_->Maintain(now);
      maintain = std::chrono::steady_clock::now() + kBetweenMaintenance;
      lock.lock();
    }
    return loads;
  }

 private:
  TraceTier* node_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable done_;
  std::vector<uint32_t> missed_;
  uint64_t round_ = 0;
  uint32_t readers_ = kReaders;
};

void ReadAll(const Trace& trace, LocalReader& reader, std::atomic<size_t>* cursor,
             Loading* loading) {
  const size_t end = trace.requests.size();
  std::vector<uint32_t> missed;
  for (size_t at; (at = cursor->fetch_add(kBatch)) < end;) {
    for (size_t i = at; i < std::min(at + kBatch, end); ++i) {
      if (!TraceTier::Read(reader, trace.requests[i])) missed.push_back(trace.requests[i]);
    }
    if (!missed.empty()) loading->Load(missed);
    for (const uint32_t object : missed) TraceTier::Read(reader, object);
    missed.clear();
  }
  loading->ReaderDone();
}

}  // namespace

MappedResult ReplayMapped(const Trace& trace, uint64_t capacity) {
  TraceTier node(trace.sizes, capacity, kReaders);
  Loading loading(&node);
  std::atomic<size_t> cursor{0};
  std::vector<std::jthread> readers;
  for (uint32_t i = 0; i < kReaders; ++i) {
    readers.emplace_back([&, i] { ReadAll(trace, node.reader(i), &cursor, &loading); });
  }
  const auto requests = static_cast<double>(trace.requests.size());
  const uint64_t loads = loading.Run();
  return {.hit_ratio = 1 - static_cast<double>(loads) / requests,
          .marks = static_cast<double>(node.tier().Stats().marks) / requests};
}

}  // namespace holdfast::bench
