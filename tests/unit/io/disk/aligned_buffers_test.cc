// SPDX-License-Identifier: Apache-2.0
#include "io/disk/aligned_buffers.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "wire/disk_segment.h"

namespace holdfast::disk {
namespace {

TEST(AlignedBuffers, EachBeginsWithABlockAndIsNobodyElses) {
  constexpr size_t kCount = 33;
  constexpr uint64_t kBytes = 26 * kBlock;
  const AlignedBuffers buffers(kCount, kBytes);
  for (size_t i = 0; i < kCount; ++i) {
    EXPECT_EQ(reinterpret_cast<uint64_t>(buffers[i]) % kBlock, 0u);
    std::memset(buffers[i], static_cast<int>(i), kBytes);
  }
  for (size_t i = 0; i < kCount; ++i) {
    EXPECT_EQ(buffers[i][0], static_cast<std::byte>(i));
    EXPECT_EQ(buffers[i][kBytes - 1], static_cast<std::byte>(i));
  }
}

TEST(AlignedBuffers, AForkedChildDoesNotHaveThem) {
  const AlignedBuffers buffers(1, kBlock);
  buffers[0][0] = std::byte{1};
  const pid_t child = ::fork();
  if (child == 0) {
    int pipe_ends[2];
    const bool there = ::pipe(pipe_ends) == 0 && ::write(pipe_ends[1], buffers[0], 1) == 1;
    ::_exit(there ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace holdfast::disk
