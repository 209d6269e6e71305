// SPDX-License-Identifier: Apache-2.0
#include "cached/heap.h"

#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>

namespace holdfast::cached {

void TakeHeap(uint64_t bytes) {
  // One heap for all threads, and everything in it: what one of them frees is there for the others.
  // Messages are received by one thread, and kept and freed by another.
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, -1);
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  void* block = std::malloc(bytes);
  if (block == nullptr || bytes < 2 * page) return std::free(block);
  const uintptr_t first = (reinterpret_cast<uintptr_t>(block) + page - 1) / page * page;
  // Before Linux 5.14 there is no such advice: then the pages come one by one, and stay.
  ::madvise(reinterpret_cast<void*>(first), (bytes - page) / page * page, MADV_POPULATE_WRITE);
  std::free(block);
}

}  // namespace holdfast::cached
