// SPDX-License-Identifier: Apache-2.0
// Hands what ended on other threads to the deciding thread, in order, with one post for all of that
// ended together.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace holdfast::disk {

class Deliveries {
 public:
  // Runs `run` on the deciding thread, in the order of the calls; callable from any thread.
  using Post = std::function<void(std::function<void()> run)>;

  explicit Deliveries(Post post) : post_(std::move(post)) {}
  // What has not run is dropped. On the deciding thread.
  ~Deliveries() { ended_->closed = true; }
  Deliveries(const Deliveries&) = delete;

  // Any thread.
  void Add(std::function<void()> run) {
    {
      std::lock_guard lock(ended_->mutex);
      ended_->runs.push_back(std::move(run));
      if (std::exchange(ended_->posted, true)) return;
    }
    post_([ended = ended_] { RunAll(ended.get()); });
  }

 private:
  // Shared with what was posted, which may run when this is gone.
  struct Ended {
    std::mutex mutex;
    std::vector<std::function<void()>> runs;  // guarded by mutex
    bool posted = false;                      // guarded by mutex
    bool closed = false;                      // the deciding thread's
  };
  static void RunAll(Ended* ended) {
    std::vector<std::function<void()>> runs;
    {
      std::lock_guard lock(ended->mutex);
      ended->posted = false;
      runs.swap(ended->runs);
    }
    for (auto& run : runs) {
      if (ended->closed) return;
      run();
    }
  }

  const Post post_;
  const std::shared_ptr<Ended> ended_ = std::make_shared<Ended>();
};

}  // namespace holdfast::disk
