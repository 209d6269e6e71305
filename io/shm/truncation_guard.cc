// SPDX-License-Identifier: Apache-2.0
#include "io/shm/truncation_guard.h"

#include <sys/mman.h>

#include <atomic>
#include <csignal>
#include <mutex>

namespace holdfast::shm {
namespace {

struct Range {
  std::atomic<uintptr_t> begin{0};
  std::atomic<size_t> size{0};  // 0: the slot is free
};

Range ranges[kMaxGuarded];
std::mutex ranges_mutex;  // between Guard and Unguard; the handler only reads
struct sigaction previous;

void OnBusError(int signal, siginfo_t* info, void* context) {
  uintptr_t at = reinterpret_cast<uintptr_t>(info->si_addr);
  for (Range& range : ranges) {
    size_t size = range.size.load(std::memory_order_acquire);
    uintptr_t begin = range.begin.load(std::memory_order_relaxed);
    if (size == 0 || at < begin || at - begin >= size) continue;
    void* replaced = ::mmap(reinterpret_cast<void*>(begin), size, PROT_READ | PROT_WRITE,
                            MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (replaced != MAP_FAILED) return;
  }
  if ((previous.sa_flags & SA_SIGINFO) != 0) {
    previous.sa_sigaction(signal, info, context);
  } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
    previous.sa_handler(signal);
  } else {
    ::sigaction(SIGBUS, &previous,
                nullptr);  // the access repeats and ends the process as it would have
  }
}

void Install() {
  struct sigaction action = {};
  action.sa_sigaction = OnBusError;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  ::sigemptyset(&action.sa_mask);
  ::sigaction(SIGBUS, &action, &previous);
}

}  // namespace

bool Guard(ByteSpan memory) {
  static std::once_flag installed;
  std::call_once(installed, Install);
  std::lock_guard lock(ranges_mutex);
  for (Range& range : ranges) {
    if (range.size.load(std::memory_order_relaxed) != 0) continue;
    range.begin.store(reinterpret_cast<uintptr_t>(memory.data()), std::memory_order_relaxed);
    range.size.store(memory.size(), std::memory_order_release);
    return true;
  }
  return false;
}

void Unguard(ByteSpan memory) {
  std::lock_guard lock(ranges_mutex);
  for (Range& range : ranges) {
    if (range.size.load(std::memory_order_relaxed) != 0 &&
        range.begin.load(std::memory_order_relaxed) == reinterpret_cast<uintptr_t>(memory.data())) {
      range.size.store(0, std::memory_order_release);
    }
  }
}

}  // namespace holdfast::shm
