// SPDX-License-Identifier: Apache-2.0
// Completions on their way from the far store's threads to the deciding thread, in batches: one
// post wakes it for everything that ended meanwhile. Once closed, nothing is delivered any more.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace holdfast::far {

// Runs `run` on the deciding thread; callable from any thread.
using Post = std::function<void(std::function<void()> run)>;

class Outbox : public std::enable_shared_from_this<Outbox> {
 public:
  explicit Outbox(Post post) : post_(std::move(post)) {}

  // Any thread. `batch` is left empty.
  void Add(std::vector<std::function<void()>>& batch) {
    if (batch.empty()) return;
    {
      std::lock_guard lock(mutex_);
      if (closed_) return batch.clear();
      for (auto& run : batch) ready_.push_back(std::move(run));
      batch.clear();
      if (posted_) return;
      posted_ = true;
    }
    // The posted function may outlive the far store, hence the shared ownership.
    post_([self = shared_from_this()] { self->Deliver(); });
  }

  // Deciding thread.
  void Close() {
    std::vector<std::function<void()>> dropped;  // destroyed outside the lock
    std::lock_guard lock(mutex_);
    closed_ = true;
    dropped.swap(ready_);
  }

 private:
  void Deliver() {
    std::vector<std::function<void()>> batch;
    {
      std::lock_guard lock(mutex_);
      posted_ = false;
      batch.swap(ready_);
    }
    for (auto& run : batch) {
      if (closed_)
        return;  // by one of them: written on this thread only, so that no lock is needed
      run();
    }
  }

  const Post post_;
  std::mutex mutex_;
  std::vector<std::function<void()>> ready_;
  bool posted_ = false;
  bool closed_ = false;
};

}  // namespace holdfast::far
