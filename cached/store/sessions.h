// SPDX-License-Identifier: Apache-2.0
// The sessions of a node as the store sees them: spans of memory that clients write and that are
// hostile input. io/shm makes the files, holds on to them, and finds out who has died.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>

#include "base/bytes.h"
#include "wire/shm_layout.h"

namespace holdfast::store {

// Not thread-safe: the deciding thread's.
class Sessions {
 public:
  explicit Sessions(uint32_t segments) : segments_(segments) {}

  // `memory` is a whole session file (shm::SessionBytes(segments)); stays valid until Detach. `id`
  // is new.
  void Attach(uint32_t id, ByteSpan memory);
  void Detach(uint32_t id);
  size_t size() const { return sessions_.size(); }
  bool Has(uint32_t id) const { return sessions_.contains(id); }

  // Does any live session pin this segment? Once the entries that lead there were cleared before
  // the fence, a "no" stays one, and the segment may be written.
  bool Pinned(uint32_t segment, shm::Fenced) const { return SeemsPinned(segment); }
  // The same without a fence: of a moment ago, to choose by.
  bool SeemsPinned(uint32_t segment) const;
  // How many segments this session pins right now.
  uint32_t PinnedSegments(uint32_t id) const;
  // Calls visit(segment, offset) for each mark that came since the last drain: at most kMarkSlots
  // per session and `limit` over all, going on with the session where it stopped; each checked to
  // lie inside the region (segment < segments, offset < segment_bytes) and nothing else.
  template <typename Visit>
  void DrainMarks(uint64_t segment_bytes, uint64_t limit, Visit visit);

  // Calls visit(id) for every session in the order of their ids.
  template <typename Visit>
  void ForEach(Visit visit) const {
    for (const auto& [id, session] : sessions_) visit(id);
  }

 private:
  struct Session {
    ByteSpan memory;
    uint64_t drained = 0;
  };
  std::atomic<uint32_t>* Pins(const Session& session) const {
    return reinterpret_cast<std::atomic<uint32_t>*>(session.memory.data() + shm::PinsOffset());
  }

  uint32_t segments_;
  std::map<uint32_t, Session> sessions_;
  uint32_t drain_next_ = 0;  // id of the session where the next drain begins
};

template <typename Visit>
void Sessions::DrainMarks(uint64_t segment_bytes, uint64_t limit, Visit visit) {
  auto it = sessions_.lower_bound(drain_next_);
  for (size_t left = sessions_.size(); left > 0 && limit > 0; --left) {
    if (it == sessions_.end()) it = sessions_.begin();
    Session& session = it->second;
    const auto* header = reinterpret_cast<const shm::SessionHeader*>(session.memory.data());
    const auto* marks = reinterpret_cast<const std::atomic<shm::Mark>*>(
        session.memory.data() + shm::MarksOffset(segments_));
    // The head is the client's word: whatever it says, no more than a ring is visited. It steps back
    // when two threads of a client advance it at once.
    const uint64_t head = header->mark_head.load(std::memory_order_acquire);
    if (static_cast<int64_t>(head - session.drained) < 0) session.drained = head;
    if (head - session.drained > shm::kMarkSlots) session.drained = head - shm::kMarkSlots;
    for (; session.drained != head && limit > 0; ++session.drained, --limit) {
      const shm::Mark mark =
          marks[session.drained % shm::kMarkSlots].load(std::memory_order_relaxed);
      const uint32_t segment = shm::SegmentOf(mark);
      const uint64_t offset = shm::OffsetOf(mark);
      if (segment < segments_ && offset < segment_bytes) visit(segment, offset);
    }
    if (session.drained == head) ++it;
    drain_next_ = it == sessions_.end() ? 0 : it->first;
  }
}

}  // namespace holdfast::store
