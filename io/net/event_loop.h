// SPDX-License-Identifier: Apache-2.0
// The deciding thread's loop: epoll, timers, and work handed over from other threads. One pass is
//   1. wait for I/O (not at all when something is due), and run the callbacks of ready descriptors;
//   2. run what other threads posted;
//   3. run the timers that are due.
// Steps 2 and 3 stop after kSliceBudget, to the kernel's tick, and go on in the next pass, so that
// work that is cut into slices, however much of it there is, never keeps I/O waiting.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "base/env.h"
#include "base/status.h"
#include "base/units.h"

namespace holdfast::net {

// Every method belongs to the thread that runs the loop (before Run, to the thread that will),
// except Post and Stop, which any thread may call.
class EventLoop : public Clock {
 public:
  static constexpr Duration kSliceBudget = 5ms;

  // kNoSpace when there are not enough descriptors left for what a node or client opens at its
  // start.
  static Result<std::unique_ptr<EventLoop>> Create();
  ~EventLoop() override;
  EventLoop(const EventLoop&) = delete;

  // CLOCK_MONOTONIC in microseconds.
  Time Now() const override;
  WallTime Wall() const override;
  void At(Time when, std::function<void()> run) override;

  // Runs `run` on the loop's thread; in the order of the calls of one thread. What is posted after
  // Run has returned waits for the next Run, or is dropped with the loop.
  void Post(std::function<void()> run);

  // Calls `ready` with the epoll events that are there, level-triggered, until Unwatch; `events` as
  // for epoll_ctl. One watch per descriptor. The descriptor stays the caller's, who unwatches it
  // before closing it.
  Status Watch(int fd, uint32_t events, std::function<void(uint32_t events)> ready);
  // After it `ready` does not run again, also when it was called by `ready` itself or its events
  // are in this pass.
  void Unwatch(int fd);

  // Blocks the signals in this thread and hands them to `on_signal` as ordinary events. Call it
  // once, and before other threads start: they inherit the mask, and a thread without it would
  // still take the signal the usual way.
  Status OnSignals(const std::vector<int>& signals, std::function<void(int signal)> on_signal);

  // Returns after Stop. May be called again.
  void Run();
  // Safe in a signal handler. A Stop before Run ends that Run at once.
  void Stop();

 private:
  struct Timer {
    Time when;
    uint64_t order;
    std::function<void()> run;
  };
  struct Watched {
    int fd;
    std::function<void(uint32_t)> ready;
  };

  EventLoop() = default;
  Status Open();
  void Pass();
  Duration UntilNext();
  bool IsOver(Time pass_end);
  void RunPosted(Time pass_end);
  void RunDue(Time pass_end);
  void Wake();
  int Wait(void* events, int capacity, Duration wait);

  bool pwait2_ = true;  // epoll_pwait2 works here
  int epoll_fd_ = -1;
  int wake_fd_ = -1;
  int signal_fd_ = -1;
  std::atomic<bool> stop_{false};

  std::vector<Timer> timers_;  // a heap, the earliest at the front
  Time pass_{};                // when this pass began
  int64_t tick_ = 0;           // of the kernel's, that IsOver saw last
  uint64_t next_order_ = 0;

  std::map<uint64_t, std::unique_ptr<Watched>> watches_;  // by an id that epoll carries
  std::map<int, uint64_t> watch_of_fd_;
  uint64_t next_watch_ = 1;
  std::vector<std::unique_ptr<Watched>> unwatched_;  // kept until the pass ends: one may be running

  std::deque<std::function<void()>> running_;  // taken from posted_, on the loop's thread
  std::mutex mutex_;
  std::deque<std::function<void()>> posted_;  // guarded by mutex_
};

}  // namespace holdfast::net
