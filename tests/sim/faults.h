// SPDX-License-Identifier: Apache-2.0
// What can go wrong in a simulated cluster: one name, one rate and one counter for each kind. A
// kind that never fired in a campaign has not been tested, so the campaign counts as failed
// (campaign.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/random.h"

namespace holdfast::sim {

enum class Fault : uint8_t {
  kNetDrop,             // a control message is lost
  kNetDelay,            // ... comes up to two seconds late
  kNetDuplicate,        // ... comes twice
  kNetReorder,          // ... is overtaken by later ones
  kNetGarble,           // ... arrives with other bytes
  kNetQueueFull,        // ... meets a full queue and is lost
  kNetPartition,        // two halves of the hosts do not hear each other
  kNetPartitionOneWay,  // ... only one of them
  kBulkBreak,           // a bulk connection breaks in the middle of a batch
  kBulkStall,           // a bulk answer takes seconds
  kBulkCorrupt,         // a payload changes on its way
  kNodeKillWarm,        // kill -9, restarted over the same region
  kNodeKillCold,        // kill -9, restarted with an empty region
  kNodePause,           // stopped for a while, up to beyond a lease
  kNodeLeave,           // killed, comes back only when the faults are over
  kJobKill,             // kill -9, started again as a new job
  kJobAbandon,          // kill -9, never comes back: its lease has to end
  kJobPause,            // stopped for a while
  kClockJump,           // a monotonic clock jumps forward
  kClockWallStep,       // a wall clock is set back or forward
  kSlowProcessor,       // looking at the clock costs time, so that work is cut into slices
  kFarUnavailable,      // 503 until the retries were used up
  kFarSlow,             // seconds instead of milliseconds
  kFarTruncated,        // fewer bytes than announced, retries used up
  kFarWrongRange,       // other bytes than asked for, noticed by the far store's checks
  kFarHang,             // no answer until the deadline
  kFarOutage,           // everybody gets 503 for a while
  kFarChanged,          // the object is another version by now
  kFarMissing,          // the object was deleted after it was listed
  kFarDenied,           // no permission
  kDiskSlow,            // seconds instead of microseconds
  kDiskReadError,       // EIO
  kDiskWriteError,      // a disk that is full, or broken
  kDiskFlip,            // a bit changes
  kDiskCrash,           // the host goes down: what was not synced is lost or torn
  kSessionGarbage,      // a client fills its session with garbage
  kCollectorSecond,     // two collect snapshots, each with a log of its own
  kCollectorKill,       // kill -9 of a collector, between any two steps
  kCollectorOldLog,     // ... and it starts again with a log from before
  kJournalSlow,         // a journal takes seconds instead of microseconds
  kJournalFails,        // it fails, and goes on failing until the node is started again
  kJournalCrash,        // the host goes down: records that were not synced are lost
  kJournalLost,         // ... and the disk that it was on
  kFarExpires,          // the far store ends the object at a time that it has told
  kCount,
};

constexpr size_t kFaultKinds = static_cast<size_t>(Fault::kCount);

// "net-drop", "node-kill-warm", ...
std::string_view NameOf(Fault fault);

using FaultCounts = std::array<uint64_t, kFaultKinds>;

// One seed's plan: which kinds happen and how often. About one seed in eight has none at all, so
// that what must hold exactly (every object is fetched once) is checked, too; the others get a
// random half of the kinds, because faults that always come together hide each other.
class Faults {
 public:
  explicit Faults(uint64_t seed);

  bool none() const { return none_; }
  bool enabled(Fault fault) const { return rates_[Index(fault)] > 0; }
  // Does it happen now? Counts when it does.
  bool Fires(Fault fault);
  void Count(Fault fault) { ++counts_[Index(fault)]; }
  // Nothing fires any more from now on: the cluster has to recover.
  void Stop() { stopped_ = true; }
  bool stopped() const { return stopped_; }
  const FaultCounts& counts() const { return counts_; }

 private:
  static size_t Index(Fault fault) { return static_cast<size_t>(fault); }

  Random random_;
  bool none_ = false;
  bool stopped_ = false;
  std::array<double, kFaultKinds> rates_{};
  FaultCounts counts_{};
};

}  // namespace holdfast::sim
