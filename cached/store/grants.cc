// SPDX-License-Identifier: Apache-2.0
#include "cached/store/grants.h"

#include <algorithm>
#include <vector>

namespace holdfast::store {
namespace {

shm::SessionGrant* SlotOf(shm::SessionGrant* grants, uint32_t session) {
  shm::SessionGrant* end = grants + shm::kMaxSessions;
  shm::SessionGrant* slot = std::find_if(grants, end, [&](const shm::SessionGrant& g) {
    return g.session.load(std::memory_order_relaxed) == session;
  });
  return slot == end ? nullptr : slot;
}

}  // namespace

void RebalanceGrants(const Region& region, const Sessions& sessions) {
  shm::SessionGrant* grants = region.grants();
  for (uint32_t i = 0; i < shm::kMaxSessions; ++i) {
    const uint32_t session = grants[i].session.load(std::memory_order_relaxed);
    if (session == 0 || sessions.Has(session)) continue;
    grants[i].view_segments.store(0, std::memory_order_relaxed);
    grants[i].session.store(0, std::memory_order_release);
  }
  std::vector<shm::SessionGrant*> slots;
  sessions.ForEach([&](uint32_t session) {
    shm::SessionGrant* slot = SlotOf(grants, session);
    if (slot == nullptr && (slot = SlotOf(grants, 0)) != nullptr) {
      slot->session.store(session, std::memory_order_release);
    }
    if (slot != nullptr) slots.push_back(slot);
  });
  if (slots.empty()) return;

  const uint32_t quarter = region.segments() / 4;
  const uint32_t count = static_cast<uint32_t>(slots.size());
  auto share = [&](uint32_t i) { return quarter / count + (i < quarter % count ? 1 : 0); };
  bool someone_lacks = false;
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t granted = slots[i]->view_segments.load(std::memory_order_relaxed);
    if (granted > share(i)) slots[i]->view_segments.store(share(i), std::memory_order_relaxed);
    someone_lacks = someone_lacks || granted < share(i);
  }
  if (!someone_lacks) return;
  uint32_t taken = 0;
  for (const shm::SessionGrant* slot : slots) {
    const uint32_t session = slot->session.load(std::memory_order_relaxed);
    taken += std::max(slot->view_segments.load(std::memory_order_relaxed),
                      sessions.PinnedSegments(session));
  }
  for (uint32_t i = 0; i < count && taken < quarter; ++i) {
    const uint32_t granted = slots[i]->view_segments.load(std::memory_order_relaxed);
    const uint32_t more = std::min(share(i) - granted, quarter - taken);
    slots[i]->view_segments.store(granted + more, std::memory_order_relaxed);
    taken += more;
  }
}

}  // namespace holdfast::store
