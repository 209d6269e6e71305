// SPDX-License-Identifier: Apache-2.0
// The pieces of a node's region and of a session (wire/shm_layout.h), found in mapped memory after
// their headers were checked against its size: what a view leads to lies inside the memory.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/status.h"
#include "wire/shm_layout.h"

namespace holdfast::shm {

struct RegionView {
  const RegionHeader* header = nullptr;
  const SessionGrant* grants = nullptr;  // kMaxSessions
  const Bucket* buckets = nullptr;
  const std::byte* segments_begin = nullptr;
  uint64_t segment_bytes = 0;
  uint32_t bucket_count = 0;
  uint32_t segments = 0;

  // True when the entry leads to a place inside the region where a record's header fits.
  bool InBounds(Entry e) const {
    return e != 0 && SegmentOf(e) < segments && OffsetOf(e) + kRecordAlign <= segment_bytes;
  }
  const RecordHeader* RecordAt(Entry e) const {
    return reinterpret_cast<const RecordHeader*>(segments_begin + SegmentOf(e) * segment_bytes +
                                                 OffsetOf(e));
  }
};

struct SessionView {
  SessionHeader* header = nullptr;
  std::atomic<uint32_t>* pins = nullptr;  // kPinLanes × segments
  std::atomic<Mark>* marks = nullptr;     // kMarkSlots
};

// kCorrupt for what is no region, or whose header disagrees with its size; kInvalid for another
// layout version.
Result<RegionView> ViewRegion(ByteView memory);
// The same; kCorrupt, too, for the session of a region with another number of segments.
Result<SessionView> ViewSession(ByteSpan memory, uint32_t segments);

}  // namespace holdfast::shm
