// SPDX-License-Identifier: Apache-2.0
// A frame of the log as an envelope: header, checksums and compression, whatever is inside. Private
// to the log; docs/formats.md is the page for these bytes. Zstandard is this file's alone.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "snapshot/log.h"

namespace holdfast::snapshot {

constexpr uint64_t kMaxSequence = uint64_t{1} << 56;
constexpr Stamp kMaxStamp{int64_t{1} << 60};  // sums and differences of stamps do not overflow

// What tells a frame from every other: a difference names the one that it follows. The low half of
// the header's checksum, never 0.
uint32_t MarkOf(ByteView frame);
// Of a difference; 0 in a full frame.
uint32_t FollowsOf(ByteView frame);

// The most bytes that a body of so many compressed bytes may become. A small frame cannot make its
// reader ask for gigabytes.
constexpr uint64_t MostRawBytes(uint64_t body_bytes) {
  const uint64_t most = 16 * kMiB + 64 * body_bytes;
  return most < 2 * kGiB ? most : 2 * kGiB;
}

// `header` but for its body_bytes; `section_ends` are where bytes of one kind end in `raw`, so that
// each kind gets its own codes. Empty when it does not fit into a frame.
std::vector<std::byte> SealFrame(const FrameHeader& header, uint32_t follows, ByteView raw,
                                 std::span<const size_t> section_ends);
// The body of a frame whose header ReadFrameHeader has taken, unpacked. kCorrupt when it is not
// what was sealed.
Result<Buffer> OpenFrame(ByteView frame);

}  // namespace holdfast::snapshot
