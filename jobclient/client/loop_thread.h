// SPDX-License-Identifier: Apache-2.0
// The client's one deciding thread, and how the user's threads wait for it.
#pragma once

#include <pthread.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "io/net/event_loop.h"

namespace holdfast::client {

// A value that another thread sets once. Shared by both, because the waiting one may give up.
template <typename T>
class Promised {
 public:
  void Set(T value) {
    std::lock_guard lock(mutex_);
    value_ = std::move(value);
    set_.notify_all();
  }
  T Wait() {
    std::unique_lock lock(mutex_);
    set_.wait(lock, [this] { return value_.has_value(); });
    return std::move(*value_);
  }
  // nullopt when `time` has passed.
  std::optional<T> WaitFor(Duration time) {
    std::unique_lock lock(mutex_);
    if (!set_.wait_for(lock, time, [this] { return value_.has_value(); })) return std::nullopt;
    return std::move(value_);
  }

 private:
  std::mutex mutex_;
  std::condition_variable set_;
  std::optional<T> value_;
};

class LoopThread {
 public:
  // `loop` is the caller's until Start and after Stop.
  explicit LoopThread(net::EventLoop* loop) : loop_(loop) {}
  ~LoopThread() { Stop(); }

  void Start() {
    thread_ = std::thread([this] {
      ::pthread_setname_np(::pthread_self(), "holdfast");
      loop_->Run();
    });
  }
  // What was posted before is not lost when it was waited for.
  void Stop() {
    if (!thread_.joinable()) return;
    loop_->Stop();
    thread_.join();
  }

  void Post(std::function<void()> run) { loop_->Post(std::move(run)); }

  // Runs `run` on the loop's thread and returns what it returned. Not from the loop's own thread.
  template <typename Run>
  auto Call(Run run) {
    using Value = decltype(run());
    if constexpr (std::is_void_v<Value>) {
      Call([&run] {
        run();
        return true;
      });
    } else {
      Promised<Value> value;  // this thread waits for as long as it takes
      loop_->Post([&] { value.Set(run()); });
      return value.Wait();
    }
  }

 private:
  net::EventLoop* loop_;
  std::thread thread_;
};

}  // namespace holdfast::client
