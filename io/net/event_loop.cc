// SPDX-License-Identifier: Apache-2.0
#include "io/net/event_loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <utility>

#include "io/bulk/descriptors.h"

namespace holdfast::net {
namespace {

Status Errno(const char* what) {
  return Status::Unavailable(std::string(what) + ": " + std::strerror(errno));
}

// What a node or a client opens at its start, beside connections. ZeroMQ aborts where it cannot.
constexpr uint32_t kDescriptors = 40;

// std::push_heap keeps the largest in front, so "larger" means earlier.
constexpr auto kLater = [](const auto& a, const auto& b) {
  return std::pair(a.when, a.order) > std::pair(b.when, b.order);
};

}  // namespace

Result<std::unique_ptr<EventLoop>> EventLoop::Create() {
  std::unique_ptr<EventLoop> loop(new EventLoop());
  HF_RETURN_IF_ERROR(loop->Open());
  return loop;
}

Status EventLoop::Open() {
  HF_RETURN_IF_ERROR(bulk::CheckDescriptors(kDescriptors));
  pass_ = Now();
  epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_fd_ < 0) return Errno("epoll_create1");
  wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_fd_ < 0) return Errno("eventfd");
  return Watch(wake_fd_, EPOLLIN, [this](uint32_t) {
    uint64_t count = 0;
    (void)!read(wake_fd_, &count, sizeof(count));
  });
}

EventLoop::~EventLoop() {
  for (int fd : {epoll_fd_, wake_fd_, signal_fd_}) {
    if (fd >= 0) close(fd);
  }
}

Time EventLoop::Now() const {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return {t.tv_sec * 1'000'000 + t.tv_nsec / 1000};
}

WallTime EventLoop::Wall() const { return {std::time(nullptr)}; }

void EventLoop::At(Time when, std::function<void()> run) {
  // However long before this pass that was, not before what is queued and due now.
  if (when < pass_) when = Now();
  timers_.push_back({when, next_order_++, std::move(run)});
  std::push_heap(timers_.begin(), timers_.end(), kLater);
}

void EventLoop::Post(std::function<void()> run) {
  bool first;
  {
    std::lock_guard lock(mutex_);
    first = posted_.empty();
    posted_.push_back(std::move(run));
  }
  if (first) Wake();
}

void EventLoop::Wake() {
  uint64_t one = 1;
  (void)!write(wake_fd_, &one, sizeof(one));  // full means that a wake-up is already there
}

Status EventLoop::Watch(int fd, uint32_t events, std::function<void(uint32_t)> ready) {
  HF_CHECK(!watch_of_fd_.contains(fd));
  epoll_event event{};
  event.events = events;
  event.data.u64 = next_watch_;
  if (epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) != 0) return Errno("epoll_ctl");
  watches_[next_watch_] = std::make_unique<Watched>(Watched{fd, std::move(ready)});
  watch_of_fd_[fd] = next_watch_++;
  return {};
}

void EventLoop::Unwatch(int fd) {
  auto at = watch_of_fd_.find(fd);
  if (at == watch_of_fd_.end()) return;
  epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, nullptr);
  auto watch = watches_.find(at->second);
  unwatched_.push_back(std::move(watch->second));
  watches_.erase(watch);
  watch_of_fd_.erase(at);
}

Status EventLoop::OnSignals(const std::vector<int>& signals, std::function<void(int)> on_signal) {
  HF_CHECK(signal_fd_ < 0);
  sigset_t set;
  sigemptyset(&set);
  for (int s : signals) sigaddset(&set, s);
  if (int error = pthread_sigmask(SIG_BLOCK, &set, nullptr); error != 0) {
    errno = error;
    return Errno("pthread_sigmask");
  }
  signal_fd_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signal_fd_ < 0) return Errno("signalfd");
  return Watch(signal_fd_, EPOLLIN, [this, on_signal = std::move(on_signal)](uint32_t) {
    signalfd_siginfo info{};
    while (read(signal_fd_, &info, sizeof(info)) == sizeof(info)) {
      on_signal(static_cast<int>(info.ssi_signo));
    }
  });
}

void EventLoop::Run() {
  while (!stop_.load(std::memory_order_acquire)) Pass();
  stop_.store(false, std::memory_order_release);
}

void EventLoop::Stop() {
  stop_.store(true, std::memory_order_release);
  Wake();
}

void EventLoop::Pass() {
  std::array<epoll_event, 64> events;
  int n = Wait(events.data(), static_cast<int>(events.size()), UntilNext());
  pass_ = Now();
  for (int i = 0; i < n; ++i) {
    auto watch = watches_.find(events[static_cast<size_t>(i)].data.u64);
    if (watch != watches_.end()) watch->second->ready(events[static_cast<size_t>(i)].events);
  }
  const Time end = Now() + kSliceBudget;
  RunPosted(end);
  RunDue(end);
  unwatched_.clear();
}

// Kernels and sandboxes without epoll_pwait2 get whole milliseconds, rounded up.
int EventLoop::Wait(void* events, int capacity, Duration wait) {
  auto* out = static_cast<epoll_event*>(events);
  if (pwait2_) {
    timespec spec{static_cast<time_t>(wait.count() / 1'000'000), wait.count() % 1'000'000 * 1000};
    int n = epoll_pwait2(epoll_fd_, out, capacity, &spec, nullptr);
    if (n >= 0 || (errno != ENOSYS && errno != EPERM)) return n;
    pwait2_ = false;
  }
  return epoll_wait(epoll_fd_, out, capacity, static_cast<int>((wait.count() + 999) / 1000));
}

Duration EventLoop::UntilNext() {
  constexpr Duration kLongest = std::chrono::hours(1);
  if (!running_.empty()) return Duration(0);
  {
    // A batch that was posted while an older one was running has used up its wake-up by now.
    std::lock_guard lock(mutex_);
    if (!posted_.empty()) return Duration(0);
  }
  if (timers_.empty()) return kLongest;
  return std::clamp(timers_.front().when - Now(), Duration(0), kLongest);
}

// After each of thousands of small things: to look at the exact clock waits for all that the
// processor has under way, so it does that once in a tick.
bool EventLoop::IsOver(Time pass_end) {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
  const int64_t tick = t.tv_sec * 1'000'000'000 + t.tv_nsec;
  return std::exchange(tick_, tick) != tick && Now() >= pass_end;
}

void EventLoop::RunPosted(Time pass_end) {
  if (running_.empty()) {
    std::lock_guard lock(mutex_);
    running_.swap(posted_);
  }
  while (!running_.empty() && !stop_.load(std::memory_order_relaxed)) {
    std::function<void()> run = std::move(running_.front());
    running_.pop_front();
    run();
    if (IsOver(pass_end)) break;
  }
}

void EventLoop::RunDue(Time pass_end) {
  Time now = Now();
  uint64_t newer = next_order_;  // made during this pass: for the next one
  while (!timers_.empty() && timers_.front().when <= now && timers_.front().order < newer &&
         !stop_.load(std::memory_order_relaxed)) {
    std::pop_heap(timers_.begin(), timers_.end(), kLater);
    std::function<void()> run = std::move(timers_.back().run);
    timers_.pop_back();
    run();
    if (IsOver(pass_end)) break;
  }
}

}  // namespace holdfast::net
