// SPDX-License-Identifier: Apache-2.0
// The shared memory of a node, and the rule of local reading.
//
// Region (one file; written by the daemon alone, mapped read-only by clients, never truncated while
// it lives):
//
//   [RegionHeader][SegmentState × segments][SessionGrant × kMaxSessions][Bucket × buckets] pad [segment 0][segment 1]...
//
// Session (one file per client process; the client writes it, the daemon reads it as hostile input;
// the client holds an fcntl record lock on its first byte as long as it lives):
//
//   [SessionHeader][pins: kPinLanes × segments × u32][marks: kMarkSlots × u64]
//
// A record is found through the index: an 8-byte entry (tag, segment, offset) in one of two
// cache-line buckets. The OID and the version are checked in the record itself.
//
// The rule of local reading, for copies and views alike.
//   Reader: load the entry; add 1 to its segment's pin (sequentially consistent); load the same entry again; if it has
//           changed, subtract 1 and start over; else the record's bytes stay as they are until the pin is taken away.
//   Daemon: to reuse a segment: clear every entry that leads to it; add 1 to its generation; full fence; read the pins
//           of every live session; reuse it only when all are zero (else try later; it leads nowhere meanwhile).
// Why it is enough: if the second load still sees the entry, then the pin was stored before the
// entry was cleared in the one order of the sequentially consistent operations, so the daemon's
// later read of the pins sees it. If the daemon read the pin as zero, the pin came after the entry
// was cleared, and the second load sees the change. An entry that was cleared and set again to the
// same value leads to a valid record again. tests/unit/wire/local_reading_model_test.cc enumerates
// the interleavings.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/ids.h"
#include "base/units.h"

namespace holdfast::shm {

constexpr uint64_t kRegionMagic = 0x31524d5344464c48;   // "HLFDSMR1"
constexpr uint64_t kSessionMagic = 0x3153534c44464c48;  // "HLFDLSS1"
constexpr uint32_t kLayoutVersion = 2;
constexpr uint32_t kRecordMagic = 0x44524648;  // "HFRD"

constexpr uint32_t kRecordAlign = 64;  // records and payloads start at multiples of this
constexpr uint32_t kMaxSessions = 256;
constexpr uint32_t kPinLanes = 4;  // threads of a client spread over the lanes
constexpr uint32_t kMarkSlots = 8192;
constexpr uint32_t kBucketEntries = 8;

struct RegionHeader {
  uint64_t magic;
  uint32_t layout_version;
  uint32_t node;
  uint64_t incarnation;   // of the daemon that runs now
  uint64_t region_bytes;  // of the whole file
  uint64_t segment_bytes;
  uint32_t segments;
  uint32_t buckets;
  uint64_t bucket_offset;   // from the start of the file; all three offsets are multiples of 64
  uint64_t segment_offset;  // a multiple of 2 MiB
  char padding[64];
};

// Per segment. `generation` is odd while the segment leads nowhere (free, or waiting for its
// readers), even while it may be found through the index.
struct SegmentState {
  std::atomic<uint64_t> generation;
};

// Per session: how many segments its views may pin at a time (a copy pins for the time of the copy
// and does not count). Written by the daemon; a client whose number is in no slot has no grant.
struct SessionGrant {
  std::atomic<uint32_t> view_segments;
  std::atomic<uint32_t> session;  // number of the session that owns this slot, 0 when free
};

// tag:22 | segment:16 | offset/64:26; 0 is empty (offset 0 is never a record).
using Entry = uint64_t;
constexpr int kTagBits = 22;
constexpr int kSegmentBits = 16;
constexpr int kOffsetBits = 26;
constexpr Entry MakeEntry(uint32_t tag, uint32_t segment, uint64_t offset) {
  return (static_cast<uint64_t>(tag) << (kSegmentBits + kOffsetBits)) |
         (static_cast<uint64_t>(segment) << kOffsetBits) | (offset / kRecordAlign);
}
constexpr uint32_t TagOf(Entry e) {
  return static_cast<uint32_t>(e >> (kSegmentBits + kOffsetBits));
}
constexpr uint32_t SegmentOf(Entry e) { return static_cast<uint32_t>(e >> kOffsetBits) & 0xffff; }
constexpr uint64_t OffsetOf(Entry e) {
  return (e & ((uint64_t{1} << kOffsetBits) - 1)) * kRecordAlign;
}

struct alignas(64) Bucket {
  std::atomic<Entry> entries[kBucketEntries];
};

// Bit i is set when entry i has this tag (or is empty and the tag is 0). Without a branch: which
// one it is nobody can predict.
inline uint32_t TagMask(const Bucket& bucket, uint32_t tag) {
  uint32_t mask = 0;
#pragma GCC unroll 8
  for (uint32_t i = 0; i < kBucketEntries; ++i) {
    mask |= uint32_t{TagOf(bucket.entries[i].load(std::memory_order_relaxed)) == tag} << i;
  }
  return mask;
}

// Where an OID may be: bucket FirstBucket or SecondBucket, with tag TagFor.
constexpr uint32_t TagFor(const Oid& oid) {
  return static_cast<uint32_t>(oid.lo >> (64 - kTagBits));
}
constexpr uint32_t ReduceTo(uint32_t hash, uint32_t n) {  // Lemire's multiply-and-shift
  return static_cast<uint32_t>((uint64_t{hash} * n) >> 32);
}
constexpr uint32_t FirstBucket(const Oid& oid, uint32_t buckets) {
  return ReduceTo(static_cast<uint32_t>(oid.lo), buckets);
}
// Symmetric, for any number of buckets: the two buckets of a tag add up to a number that the tag
// gives, so the other one follows without reading the record (the partial-key cuckoo hashing of Fan
// et al., 2014, with + instead of xor).
constexpr uint32_t OtherBucket(uint32_t bucket, uint32_t tag, uint32_t buckets) {
  uint32_t sum = ReduceTo((tag + 1) * 0x9e3779b1u, buckets);
  return sum >= bucket ? sum - bucket : sum + buckets - bucket;
}

// A record: this header, the payload at the next multiple of 64, then the name and the ETag; the
// next record starts at the next multiple of 64 after them. Written before its entry is set, never
// changed after.
struct RecordHeader {
  uint32_t magic;
  uint16_t name_bytes;
  uint16_t etag_bytes;
  Oid oid;
  VersionHash version;
  uint32_t size;           // of the payload
  uint32_t expires_s;      // since 1970; from then on nobody reads it. 0: never
  uint64_t payload_hash;   // XXH3-64
  int64_t written_us = 0;  // the daemon's own clock when it was loaded
  uint64_t header_hash;    // XXH3-64 of this header with that of name and ETag in this field
};

constexpr uint64_t AlignUp(uint64_t n, uint64_t to) { return (n + to - 1) / to * to; }
// Bytes that a record takes in a segment.
constexpr uint64_t RecordBytes(uint64_t size, uint64_t name_bytes, uint64_t etag_bytes) {
  return AlignUp(kRecordAlign + size + name_bytes + etag_bytes, kRecordAlign);
}

struct SessionHeader {
  uint64_t magic;
  uint32_t layout_version;
  uint32_t session;                 // number, from 1
  uint64_t incarnation;             // of the region's daemon when the session was opened
  uint32_t segments;                // as in the region
  uint32_t pid;                     // for people
  std::atomic<uint64_t> mark_head;  // marks written so far; slot = head % kMarkSlots
  char padding[24];
};

// The pins of a lane lie together: pins[lane * segments + segment].

// A read mark: the entry without its tag (segment and offset) of what was read. Lossy: a full ring
// overwrites.
using Mark = uint64_t;

constexpr uint64_t PinsOffset() { return sizeof(SessionHeader); }
constexpr uint64_t MarksOffset(uint32_t segments) {
  return AlignUp(PinsOffset() + uint64_t{kPinLanes} * segments * sizeof(uint32_t), 64);
}
constexpr uint64_t SessionBytes(uint32_t segments) {
  return AlignUp(MarksOffset(segments) + uint64_t{kMarkSlots} * sizeof(Mark), 4096);
}

// The grants follow the segment states, which follow the header.
constexpr uint64_t GrantOffset(uint32_t segments) {
  return AlignUp(sizeof(RegionHeader) + uint64_t{segments} * sizeof(SegmentState), 64);
}

// Says that a full fence was made: nothing else gives one out.
class Fenced {
  Fenced() = default;
  friend Fenced FullFence();
};

// Orders everything before it with everything after it, for all processes. (The thread sanitizer
// does not know fences; a locked instruction is one on x86.)
inline Fenced FullFence() {
#ifdef __SANITIZE_THREAD__
  std::atomic<int> word{0};
  word.fetch_add(1, std::memory_order_seq_cst);
  asm volatile("" ::: "memory");
#else
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
  return Fenced();
}

// Where the pieces of a region lie. kInvalid for limits that do not fit: fewer than 8 segments,
// more than 65,535, segments over 4 GiB or not a multiple of 4 KiB.
struct RegionPlan {
  uint64_t region_bytes = 0;
  uint64_t segment_bytes = 0;
  uint32_t segments = 0;
  uint32_t buckets = 0;
  uint64_t grant_offset = 0;
  uint64_t bucket_offset = 0;
  uint64_t segment_offset = 0;
};

}  // namespace holdfast::shm
