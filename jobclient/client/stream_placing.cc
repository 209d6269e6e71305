// SPDX-License-Identifier: Apache-2.0
#include "jobclient/client/stream_placing.h"

#include <algorithm>

namespace holdfast::client {

bool StreamPlacing::Open(const StreamTarget& target, uint64_t bytes, Time now) const {
  const uint64_t limit = limits_[target.on_disk ? 1 : 0];
  if (limit == 0) return false;
  auto it = tiers_.find(target);
  if (it == tiers_.end()) return true;
  const Tier& tier = it->second;
  // The first one always goes: only the node knows.
  const uint64_t room = std::min(limit, tier.room_bytes);
  return tier.closed_until <= now && (tier.sent_bytes == 0 || tier.sent_bytes + bytes <= room);
}

uint64_t StreamPlacing::RoomOf(const StreamTarget& target) const {
  auto it = tiers_.find(target);
  return it == tiers_.end() ? UINT64_MAX : it->second.room_bytes;
}

std::optional<StreamTarget> StreamPlacing::Next(std::span<const NodeId> here, NodeId except,
                                                uint64_t bytes, Time now) const {
  const bool own_is_here = std::find(here.begin(), here.end(), own_) != here.end();
  for (bool on_disk : {false, true}) {
    const StreamTarget own{own_, on_disk};
    if (own_is_here && own_ != except && Open(own, bytes, now)) return own;
  }
  for (bool on_disk : {false, true}) {
    std::optional<StreamTarget> best;
    for (NodeId node : here) {
      const StreamTarget target{node, on_disk};
      if (node == own_ || node == except || !Open(target, bytes, now)) continue;
      if (!best || RoomOf(target) > RoomOf(*best)) best = target;
    }
    if (best) return best;
  }
  return std::nullopt;
}

void StreamPlacing::Close(const StreamTarget& target, const Status& why, Time until) {
  Tier& tier = tiers_[target];
  tier.closed_until = until;
  tier.why = why.message();
}

void StreamPlacing::Refused(const StreamTarget& target, const Status& why, Time now) {
  Close(target, why, now + kAskAgain);
}

void StreamPlacing::Failed(NodeId node, const Status& why, Time now) {
  for (bool on_disk : {false, true}) Close({node, on_disk}, why, now + kTryAgain);
}

std::string StreamPlacing::Why() const {
  std::string text;
  for (const auto& [target, tier] : tiers_) {
    if (tier.why.empty() || limits_[target.on_disk ? 1 : 0] == 0) continue;
    text += (text.empty() ? "" : "; ") + std::string("node ") + std::to_string(target.node) +
            (target.on_disk ? ", disk: " : ", memory: ") + tier.why;
  }
  return text.empty() ? "no node answers" : text;
}

}  // namespace holdfast::client
