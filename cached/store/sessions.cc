// SPDX-License-Identifier: Apache-2.0
#include "cached/store/sessions.h"

#include "base/status.h"

namespace holdfast::store {

void Sessions::Attach(uint32_t id, ByteSpan memory) {
  HF_CHECK(id != 0 && memory.size() == shm::SessionBytes(segments_));
  const auto* header = reinterpret_cast<const shm::SessionHeader*>(memory.data());
  const uint64_t drained = header->mark_head.load(std::memory_order_relaxed);
  HF_CHECK(sessions_.emplace(id, Session{memory, drained}).second);
}

void Sessions::Detach(uint32_t id) { sessions_.erase(id); }

bool Sessions::SeemsPinned(uint32_t segment) const {
  for (const auto& [id, session] : sessions_) {
    for (uint32_t lane = 0; lane < shm::kPinLanes; ++lane) {
      // Acquire: what the last reader read comes before what is written next.
      if (Pins(session)[lane * segments_ + segment].load(std::memory_order_acquire) != 0)
        return true;
    }
  }
  return false;
}

uint32_t Sessions::PinnedSegments(uint32_t id) const {
  auto it = sessions_.find(id);
  if (it == sessions_.end()) return 0;
  const std::atomic<uint32_t>* pins = Pins(it->second);
  uint32_t pinned = 0;
  for (uint32_t segment = 0; segment < segments_; ++segment) {
    uint32_t sum = 0;
    for (uint32_t lane = 0; lane < shm::kPinLanes; ++lane) {
      sum |= pins[lane * segments_ + segment].load(std::memory_order_relaxed);
    }
    if (sum != 0) ++pinned;
  }
  return pinned;
}

}  // namespace holdfast::store
