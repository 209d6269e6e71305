// SPDX-License-Identifier: Apache-2.0
#include "io/bulk/mailbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <ctime>

namespace holdfast::bulk {

Mailbox::Mailbox() : event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  HF_CHECK(static_cast<bool>(event_));  // out of descriptors at start: nothing can work
}

bool Mailbox::Post(std::function<void()> run) {
  bool was_empty = false;
  {
    std::lock_guard lock(mutex_);
    if (closed_) return false;
    was_empty = queue_.empty();
    queue_.push_back(std::move(run));
  }
  // A queue that was not empty has its wake-up still to come.
  if (was_empty) {
    uint64_t one = 1;
    // Fails only when the counter is full, and then the descriptor is readable anyway.
    [[maybe_unused]] ssize_t n = write(event_.get(), &one, sizeof(one));
  }
  return true;
}

void Mailbox::RunAll() {
  uint64_t count = 0;
  [[maybe_unused]] ssize_t n = read(event_.get(), &count, sizeof(count));
  std::vector<std::function<void()>> taken;
  {
    std::lock_guard lock(mutex_);
    taken.swap(queue_);
  }
  for (auto& run : taken) run();
}

void Mailbox::Close() {
  std::vector<std::function<void()>> dropped;
  std::lock_guard lock(mutex_);
  closed_ = true;
  dropped.swap(queue_);
}

int64_t MonotonicUs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000 + now.tv_nsec / 1000;
}

}  // namespace holdfast::bulk
