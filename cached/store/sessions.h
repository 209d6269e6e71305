// SPDX-License-Identifier: Apache-2.0
// The sessions of a node as the store sees them: spans of memory that clients write and that are hostile input. io/shm
// makes the files, holds on to them, and finds out who has died.
#pragma once

#include <cstdint>
#include <map>

#include "base/bytes.h"
#include "wire/shm_layout.h"

namespace holdfast::store {

// Not thread-safe: the deciding thread's.
class Sessions {
 public:
  explicit Sessions(uint32_t segments) : segments_(segments) {}

  // `memory` is a whole session file (shm::SessionBytes(segments)); stays valid until Detach. `id` is new.
  void Attach(uint32_t id, ByteSpan memory);
  void Detach(uint32_t id);
  size_t size() const { return sessions_.size(); }

  // Does any live session pin this segment? Call only after the entries were cleared and a full fence.
  bool Pinned(uint32_t segment) const;
  // How many segments this session pins right now.
  uint32_t PinnedSegments(uint32_t id) const;
  // Calls visit(segment, offset) for each mark that came since the last drain: at most kMarkSlots per session, each
  // checked to lie inside the region (segment < segments, offset < segment_bytes) and nothing else.
  template <typename Visit>
  void DrainMarks(uint64_t segment_bytes, Visit visit);

 private:
  struct Session {
    ByteSpan memory;
    uint64_t drained = 0;
  };
  uint32_t segments_;
  std::map<uint32_t, Session> sessions_;
};

}  // namespace holdfast::store
