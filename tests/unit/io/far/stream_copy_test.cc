// SPDX-License-Identifier: Apache-2.0
#include "io/far/stream_copy.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/bytes.h"

namespace holdfast::far {
namespace {

TEST(StreamCopy, CopiesAnyLengthToAnyAddressAndNothingBeside) {
  constexpr size_t kMost = 5'000;
  Buffer from(kMost + 64), to(kMost + 192);
  for (size_t i = 0; i < from.size(); ++i) from.data()[i] = static_cast<std::byte>(i * 7 + i / 256);
  for (size_t size :
       {0u, 1u, 63u, 64u, 65u, 1'000u, 1'023u, 1'024u, 1'025u, 1'100u, 4'096u, 5'000u}) {
    for (size_t offset : {0u, 1u, 16u, 63u}) {
      for (size_t shift : {0u, 3u}) {
        std::memset(to.data(), 0xee, to.size());
        StreamCopy(to.data() + 64 + offset, from.data() + shift, size);
        EXPECT_EQ(std::memcmp(to.data() + 64 + offset, from.data() + shift, size), 0)
            << size << " bytes to " << offset;
        EXPECT_EQ(to.data()[64 + offset - 1], std::byte{0xee});
        EXPECT_EQ(to.data()[64 + offset + size], std::byte{0xee});
      }
    }
  }
}

}  // namespace
}  // namespace holdfast::far
