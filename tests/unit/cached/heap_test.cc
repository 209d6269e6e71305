// SPDX-License-Identifier: Apache-2.0
#include "cached/heap.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "base/units.h"

// The sanitizers bring a malloc of their own, which is not ours to tell.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

namespace holdfast::cached {
namespace {

constexpr size_t kBytes = 32 * kMiB;
constexpr long kPages = kBytes / 4096;

long Faults() {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

// Blocks of a manifest's kind, all there at once, written to.
void Use() {
  std::vector<std::unique_ptr<char[]>> blocks;
  for (size_t bytes = kBytes / 2; bytes >= 64 * kKiB; bytes /= 2) {
    blocks.emplace_back(new char[bytes]);
    std::memset(blocks.back().get(), 1, bytes);
  }
}

// Each in a process of its own, which ends with 0 when all is well.
TEST(HeapTest, WhatWasTakenNeedsNoFreshPages) {
  EXPECT_EXIT(
      {
        TakeHeap(kBytes);
        long before = Faults();
        Use();
        Use();
        std::exit(Faults() - before < kPages / 20 ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

TEST(HeapTest, WithoutItThereAreMany) {
  EXPECT_EXIT(
      {
        long before = Faults();
        Use();
        std::exit(Faults() - before > kPages / 2 ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

TEST(HeapTest, OtherThreadsUseItToo) {
  EXPECT_EXIT(
      {
        TakeHeap(kBytes);
        std::thread([] { Use(); }).join();  // a first one for the thread itself
        long before = Faults();
        std::thread([] { Use(); }).join();
        std::exit(Faults() - before < kPages / 20 ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

TEST(HeapTest, MoreThanThereIsNoError) {
  EXPECT_EXIT(
      {
        TakeHeap(UINT64_MAX / 2);
        TakeHeap(0);
        Use();
        std::exit(0);
      },
      testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace holdfast::cached

#endif
