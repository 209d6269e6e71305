// SPDX-License-Identifier: Apache-2.0
#include "bench/evict_policies.h"

#include <algorithm>
#include <deque>
#include <queue>
#include <utility>

namespace holdfast::bench {
namespace {

// Objects in an order from the newest to the oldest, of which any can be taken out.
class List {
 public:
  static constexpr uint32_t kEnd = UINT32_MAX;

  explicit List(size_t objects) : newer_(objects, kEnd), older_(objects, kEnd) {}
  uint32_t oldest() const { return oldest_; }
  uint32_t newer(uint32_t object) const { return newer_[object]; }
  void PushNewest(uint32_t object) {
    newer_[object] = kEnd;
    older_[object] = newest_;
    (newest_ == kEnd ? oldest_ : newer_[newest_]) = object;
    newest_ = object;
  }
  void Remove(uint32_t object) {
    const uint32_t newer = newer_[object], older = older_[object];
    (newer == kEnd ? newest_ : older_[newer]) = older;
    (older == kEnd ? oldest_ : newer_[older]) = newer;
  }

 private:
  std::vector<uint32_t> newer_, older_;
  uint32_t newest_ = kEnd, oldest_ = kEnd;
};

// What all have in common: which objects are there, and that they fit.
class Cache : public Policy {
 public:
  Cache(const std::vector<uint32_t>& sizes, uint64_t capacity)
      : sizes_(sizes), capacity_(capacity), here_(sizes.size(), false) {}

  bool Request(uint32_t object, uint32_t next) final {
    if (here_[object]) {
      Hit(object, next);
      return true;
    }
    if (sizes_[object] > capacity_) return false;
    while (!AdmitFirst() && used_ + sizes_[object] > capacity_) Evict();
    here_[object] = true;
    used_ += sizes_[object];
    Admit(object, next);
    while (used_ > capacity_) Evict();
    return false;
  }

 protected:
  virtual void Hit(uint32_t object, uint32_t next) = 0;
  virtual void Admit(uint32_t object, uint32_t next) = 0;
  // Ends with Gone for one object.
  virtual void Evict() = 0;
  // Whether the one that has just come may be the one to leave.
  virtual bool AdmitFirst() const { return false; }

  bool here(uint32_t object) const { return here_[object]; }
  void Gone(uint32_t object) {
    here_[object] = false;
    used_ -= sizes_[object];
  }

  const std::vector<uint32_t>& sizes_;
  const uint64_t capacity_;

 private:
  uint64_t used_ = 0;
  std::vector<bool> here_;
};

class Fifo final : public Cache {
 public:
  using Cache::Cache;

 private:
  void Hit(uint32_t, uint32_t) override {}
  void Admit(uint32_t object, uint32_t) override { queue_.push_back(object); }
  void Evict() override {
    Gone(queue_.front());
    queue_.pop_front();
  }
  std::deque<uint32_t> queue_;
};

class Lru final : public Cache {
 public:
  Lru(const std::vector<uint32_t>& sizes, uint64_t capacity)
      : Cache(sizes, capacity), list_(sizes.size()) {}

 private:
  void Hit(uint32_t object, uint32_t) override {
    list_.Remove(object);
    list_.PushNewest(object);
  }
  void Admit(uint32_t object, uint32_t) override { list_.PushNewest(object); }
  void Evict() override {
    const uint32_t object = list_.oldest();
    list_.Remove(object);
    Gone(object);
  }
  List list_;
};

class Sieve final : public Cache {
 public:
  Sieve(const std::vector<uint32_t>& sizes, uint64_t capacity)
      : Cache(sizes, capacity), list_(sizes.size()), visited_(sizes.size(), false) {}

 private:
  void Hit(uint32_t object, uint32_t) override { visited_[object] = true; }
  void Admit(uint32_t object, uint32_t) override {
    visited_[object] = false;
    list_.PushNewest(object);
  }
  void Evict() override {
    if (hand_ == List::kEnd) hand_ = list_.oldest();
    while (visited_[hand_]) {
      visited_[hand_] = false;
      hand_ = list_.newer(hand_);
      if (hand_ == List::kEnd) hand_ = list_.oldest();
    }
    const uint32_t object = std::exchange(hand_, list_.newer(hand_));
    list_.Remove(object);
    Gone(object);
  }
  List list_;
  std::vector<bool> visited_;
  uint32_t hand_ = List::kEnd;
};

class S3Fifo final : public Cache {
 public:
  S3Fifo(const std::vector<uint32_t>& sizes, uint64_t capacity)
      : Cache(sizes, capacity), reads_(sizes.size(), 0), ghost_at_(sizes.size(), 0) {}

 private:
  struct Queue {
    std::deque<uint32_t> objects;
    uint64_t bytes = 0;
  };
  void Push(Queue* queue, uint32_t object) {
    queue->objects.push_back(object);
    queue->bytes += sizes_[object];
  }
  uint32_t Pop(Queue* queue) {
    const uint32_t object = queue->objects.front();
    queue->objects.pop_front();
    queue->bytes -= sizes_[object];
    return object;
  }

  void Hit(uint32_t object, uint32_t) override {
    reads_[object] = std::min<uint8_t>(reads_[object] + 1, 3);
  }
  void Admit(uint32_t object, uint32_t) override {
    reads_[object] = 0;
    Push(std::exchange(ghost_at_[object], 0) != 0 ? &main_ : &small_, object);
  }
  void Evict() override {
    while (small_.bytes >= capacity_ / 10 || main_.objects.empty()) {
      const uint32_t object = Pop(&small_);
      if (reads_[object] > 1) {
        reads_[object] = 0;
        Push(&main_, object);
        continue;
      }
      Gone(object);
      Remember(object);
      return;
    }
    for (;;) {
      const uint32_t object = Pop(&main_);
      if (reads_[object] == 0) return Gone(object);
      --reads_[object];
      Push(&main_, object);
    }
  }
  // The ghost holds names only; a name that came back or came twice is no longer what ghost_at_ says.
  void Remember(uint32_t object) {
    ghost_at_[object] = ++ghosts_;
    ghost_.emplace_back(object, ghosts_);
    ghost_bytes_ += sizes_[object];
    while (ghost_bytes_ > capacity_ - capacity_ / 10) {
      const auto [oldest, at] = ghost_.front();
      ghost_.pop_front();
      ghost_bytes_ -= sizes_[oldest];
      if (ghost_at_[oldest] == at) ghost_at_[oldest] = 0;
    }
  }

  Queue small_, main_;
  std::vector<uint8_t> reads_;
  std::deque<std::pair<uint32_t, uint32_t>> ghost_;
  std::vector<uint32_t> ghost_at_;
  uint32_t ghosts_ = 0;
  uint64_t ghost_bytes_ = 0;
};

class Belady final : public Cache {
 public:
  Belady(const std::vector<uint32_t>& sizes, uint64_t capacity)
      : Cache(sizes, capacity), next_(sizes.size(), 0) {}

 private:
  void Hit(uint32_t object, uint32_t next) override { Expect(object, next); }
  void Admit(uint32_t object, uint32_t next) override { Expect(object, next); }
  bool AdmitFirst() const override { return true; }
  void Evict() override {
    for (;;) {
      const auto [next, object] = farthest_.top();
      farthest_.pop();
      if (here(object) && next_[object] == next) return Gone(object);  // else an older expectation
    }
  }
  void Expect(uint32_t object, uint32_t next) {
    next_[object] = next;
    farthest_.emplace(next, object);
  }
  std::priority_queue<std::pair<uint32_t, uint32_t>> farthest_;
  std::vector<uint32_t> next_;
};

template <typename P>
std::unique_ptr<Policy> Make(const std::vector<uint32_t>& sizes, uint64_t capacity) {
  return std::make_unique<P>(sizes, capacity);
}

}  // namespace

std::unique_ptr<Policy> MakeFifo(const std::vector<uint32_t>& sizes, uint64_t capacity) {
  return Make<Fifo>(sizes, capacity);
}
std::unique_ptr<Policy> MakeLru(const std::vector<uint32_t>& sizes, uint64_t capacity) {
  return Make<Lru>(sizes, capacity);
}
std::unique_ptr<Policy> MakeS3Fifo(const std::vector<uint32_t>& sizes, uint64_t capacity) {
  return Make<S3Fifo>(sizes, capacity);
}
std::unique_ptr<Policy> MakeSieve(const std::vector<uint32_t>& sizes, uint64_t capacity) {
  return Make<Sieve>(sizes, capacity);
}
std::unique_ptr<Policy> MakeBelady(const std::vector<uint32_t>& sizes, uint64_t capacity) {
  return Make<Belady>(sizes, capacity);
}

}  // namespace holdfast::bench
