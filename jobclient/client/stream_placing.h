// SPDX-License-Identifier: Apache-2.0
// Where the next chunk of a stream should go: own memory, own disk, the memory of the peer with the
// most room left for this stream, then the disk of the peer with the most. Pure. A tier of a node that
// refused is asked again after a while: rooms of other streams end.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>

#include "base/ids.h"
#include "base/status.h"
#include "base/units.h"

namespace holdfast::client {

struct StreamTarget {
  NodeId node = kNoNode;
  bool on_disk = false;
  friend auto operator<=>(const StreamTarget&, const StreamTarget&) = default;
};

class StreamPlacing {
 public:
  static constexpr Duration kAskAgain = 2s;  // what refused for want of room
  static constexpr Duration kTryAgain = 5s;  // what did not answer, or could not read

  // `own` may be kNoNode. With a limit of 0 a tier is never asked.
  StreamPlacing(NodeId own, uint64_t memory_bytes, uint64_t disk_bytes)
      : own_(own), limits_{memory_bytes, disk_bytes} {}

  // For so many bytes, among `here`, but not at `except`. nullopt: nowhere now.
  std::optional<StreamTarget> Next(std::span<const NodeId> here, NodeId except, uint64_t bytes,
                                   Time now) const;
  // They are on their way there; and an answer has come, or none will.
  void Sent(const StreamTarget& target, uint64_t bytes) { tiers_[target].sent_bytes += bytes; }
  void Arrived(const StreamTarget& target, uint64_t bytes) { tiers_[target].sent_bytes -= bytes; }
  void SetRoom(const StreamTarget& target, uint64_t bytes) { tiers_[target].room_bytes = bytes; }
  void Refused(const StreamTarget& target, const Status& why, Time now);
  // The whole node.
  void Failed(NodeId node, const Status& why, Time now);
  // Why it is nowhere, for a person: the last answer of each tier.
  std::string Why() const;

 private:
  struct Tier {
    Time closed_until{};
    uint64_t room_bytes = UINT64_MAX;  // not known: there may be all
    uint64_t sent_bytes = 0;
    std::string why{};
  };
  bool Open(const StreamTarget& target, uint64_t bytes, Time now) const;
  uint64_t RoomOf(const StreamTarget& target) const;
  void Close(const StreamTarget& target, const Status& why, Time until);

  NodeId own_;
  std::array<uint64_t, 2> limits_;
  std::map<StreamTarget, Tier> tiers_;
};

}  // namespace holdfast::client
