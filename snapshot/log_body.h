// SPDX-License-Identifier: Apache-2.0
// What a frame of the log says, as columns, and as the bytes that are sealed (log_frame.h). Private
// to the log; docs/formats.md is the page for these bytes.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "snapshot/log.h"

namespace holdfast::snapshot {

// The cell of an object's age, whether it was held, and in which ring it was.
struct AgeMark {
  static constexpr uint16_t kHeld = 0x8000, kKept = 0x4000;
  uint16_t bits = 0;

  static AgeMark Of(uint32_t cell, bool held, Ring ring) {
    return {static_cast<uint16_t>(cell | (held ? kHeld : 0u) | (ring == Ring::kKept ? kKept : 0u))};
  }
  uint32_t cell() const { return bits & ~uint32_t{kHeld | kKept}; }
  bool held() const { return (bits & kHeld) != 0; }
  Ring ring() const { return (bits & kKept) != 0 ? Ring::kKept : Ring::kFresh; }
};

struct LogBody {
  struct Node {
    NodeId node = kNoNode;
    bool answered = false;
    Incarnation incarnation = 0;
    Stamp seen{};
    uint32_t removed = 0;  // so many of the columns below are its own
    uint32_t listed = 0;
  };
  std::vector<Node> nodes;  // sorted by number
  RingEvidence evidence;
  // Of the first node, then of the second, ...: of each sorted, none twice.
  std::vector<Print> removed;
  std::vector<Print> listed;  // all of its objects in a full frame; in a difference new ones, and
  std::vector<AgeMark>
      marks;  // those whose age, hold or ring is not what it was; each with its mark
};

struct EncodedBody {
  std::vector<std::byte> bytes;
  std::vector<size_t> section_ends;
};
EncodedBody EncodeBody(const LogBody& body);

// kCorrupt for whatever EncodeBody does not make.
Result<LogBody> DecodeBody(const FrameHeader& header, ByteView bytes);

}  // namespace holdfast::snapshot
