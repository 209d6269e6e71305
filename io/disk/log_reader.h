// SPDX-License-Identifier: Apache-2.0
// Reading a journal's ring: where it ends after a crash, what is in it, and one record of it.
#pragma once

#include <deque>
#include <functional>
#include <optional>

#include "base/bytes.h"
#include "base/status.h"
#include "io/disk/block_file.h"
#include "io/disk/log_format.h"

namespace holdfast::disk {

// Runs part(offset in the file, offset in [at, at + bytes), bytes) for the one or two pieces of the
// ring.
Status ForRingParts(uint64_t ring_bytes, uint64_t position, uint64_t bytes,
                    const std::function<Status(uint64_t, size_t, size_t)>& part);

// Of one thread. Keeps the last 4 MiB that it read, so that small groups do not cost a read each.
class LogReader {
 public:
  // `file` outlives it.
  LogReader(BlockFile* file, uint64_t log_id, uint64_t ring_bytes);

  // Positions of the whole groups from the head's first one on, in order, and then the position where
  // the next one goes. kCorrupt when a later group shows that what ends them is damage and not a
  // tear.
  Result<std::deque<uint64_t>> FindGroups(const LogHeads& heads);
  // Visits the records of the group at `position`, in order. kCorrupt when it is damaged.
  Status VisitGroup(uint64_t position,
                    const std::function<void(uint64_t sequence, ByteView record)>& visit,
                    uint64_t* next);

 private:
  // `bytes` of the ring from `position` on, valid until the next call.
  Result<ByteView> At(uint64_t position, uint64_t bytes);
  Result<std::optional<GroupHeader>> HeaderAt(uint64_t position);
  Result<bool> BodyIsWhole(const GroupHeader& header);
  Status LookForLaterGroup(uint64_t end, uint64_t bytes);
  Status Damaged(uint64_t position, const std::string& why) const;

  BlockFile* file_;
  uint64_t log_id_;
  uint64_t ring_bytes_;
  Buffer window_;
  uint64_t window_at_ = 0;
  bool loaded_ = false;
};

}  // namespace holdfast::disk
