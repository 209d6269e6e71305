// SPDX-License-Identifier: Apache-2.0
// The bytes of packs of tiny objects on disk, and of the table of a segment of them: docs/formats.md,
// "Segments on disk", is the page for them. What is read from a disk is hostile until a function of
// this file has accepted it.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/status.h"
#include "wire/disk_segment.h"

namespace holdfast::disk {

constexpr uint64_t kTinyBytes = 4096;  // of the payload, the most
constexpr uint64_t kPackHeadBytes = 16;
constexpr uint64_t kTinyHeadBytes = 24;
constexpr uint64_t kTinyTableHeadBytes = 64;
constexpr uint64_t kPackEntryBytes = 4;
constexpr uint64_t kTinyEntryBytes = 24;
constexpr uint32_t kMaxPackObjects = 255;

// An object of a pack; the views are into somebody's bytes. Seconds are since 1970.
struct Tiny {
  Oid oid;
  VersionHash version = 0;
  uint64_t payload_hash = 0;
  uint32_t loaded_s = 0;
  uint32_t expires_s = 0;  // 0: never
  std::string_view name;
  std::string_view etag;
  ByteView payload;

  // What it takes of a disk, but for its share of the pack.
  uint64_t bytes() const {
    return kTinyHeadBytes + kTinyEntryBytes + name.size() + etag.size() + payload.size();
  }
  bool Expired(int64_t now_s) const { return expires_s != 0 && expires_s <= now_s; }
};

// Which of a run's packs has the object.
inline uint32_t PackOf(const Oid& oid, uint32_t run_packs) {
  return static_cast<uint32_t>((static_cast<unsigned __int128>(oid.hi) * run_packs) >> 64);
}

// Adds a pack, up to a multiple of 64; at most kMaxPackObjects, in the order of their OIDs.
void AppendPack(std::span<const Tiny> objects, std::vector<std::byte>* into);
uint64_t PackBytes(std::span<const Tiny> objects);
// The objects of a pack whose head has its hash: all that it names lies within `bytes`. kCorrupt for
// anything else. Payloads are as they are: who serves one compares its hash.
Result<std::vector<Tiny>> DecodePack(ByteView bytes);
// One of them.
Result<Tiny> DecodeTiny(ByteView bytes, uint32_t index);

struct TinyEntry {
  Oid oid;
  uint32_t loaded_s = 0;
  uint32_t expires_s = 0;
};

// Of a segment: what memory knows of it is made of this.
struct TinyTable {
  struct Pack {
    uint32_t offset = 0;  // a multiple of 64
    uint32_t objects = 0;
  };
  uint64_t run = 0;    // number of the run
  uint64_t order = 0;  // its place in the ring
  uint32_t level = 0;
  uint32_t run_packs = 0;
  uint32_t first_pack = 0;
  uint32_t end = 0;  // of the last pack
  std::vector<Pack> packs{};
  std::vector<TinyEntry> objects{};

  uint64_t bytes() const {
    return kTinyTableHeadBytes + packs.size() * kPackEntryBytes + objects.size() * kTinyEntryBytes;
  }
};

void EncodeTinyTable(const TinyTable& table, std::byte* into);
// Of a table whose hash was checked; kCorrupt when a pack lies outside of [kFirstRecord, limit), out
// of order, or has objects that are another pack's.
Result<TinyTable> DecodeTinyTable(ByteView bytes, uint64_t limit);

}  // namespace holdfast::disk
