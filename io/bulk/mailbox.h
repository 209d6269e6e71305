// SPDX-License-Identifier: Apache-2.0
// How other threads hand work to an I/O thread: a queue of calls and a descriptor that becomes
// readable.
#pragma once

#include <functional>
#include <mutex>
#include <vector>

#include "io/bulk/socket.h"

namespace holdfast::bulk {

// Shared between its I/O thread and whoever posts: callbacks may outlive the thread, so they share
// ownership.
class Mailbox {
 public:
  Mailbox();

  // From any thread. Dropped, and false, once closed.
  bool Post(std::function<void()> run);
  // The I/O thread's: runs what was posted, in order.
  void RunAll();
  // Nothing is accepted from now on, and what was not run is destroyed.
  void Close();
  // Becomes readable when there is something to run.
  int fd() const { return event_.get(); }

 private:
  Fd event_;
  std::mutex mutex_;
  std::vector<std::function<void()>> queue_;
  bool closed_ = false;
};

// CLOCK_MONOTONIC in microseconds.
int64_t MonotonicUs();

}  // namespace holdfast::bulk
