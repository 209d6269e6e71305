// SPDX-License-Identifier: Apache-2.0
#include "wire/columns.h"

#include <bit>
#include <string>

#include "wire/stream_entry.h"

namespace holdfast::wire {
namespace {

Status CheckLength(const Buffer& column, const char* name, uint64_t bytes) {
  if (column.size() == bytes) return {};
  return Status::Corrupt("column " + std::string(name) + " has " + std::to_string(column.size()) +
                         " bytes instead of " + std::to_string(bytes));
}

Status CheckCount(uint64_t count, uint64_t most) {
  if (count <= most) return {};
  return Status::Corrupt(std::to_string(count) + " objects, at most " + std::to_string(most) +
                         " are allowed");
}

uint64_t Word(const Buffer& bitmap, size_t w) { return LoadAs<uint64_t>(bitmap.data() + 8 * w); }

// The length in whole words, and no bit set behind the last.
Status CheckBitmap(const Buffer& bitmap, const char* name, uint64_t bits) {
  HF_RETURN_IF_ERROR(CheckLength(bitmap, name, (bits + 63) / 64 * 8));
  if (bits % 64 != 0 && (Word(bitmap, bits / 64) >> (bits % 64)) != 0) {
    return Status::Corrupt("column " + std::string(name) + " has bits set beyond its end");
  }
  return {};
}

uint64_t CountBits(const Buffer& bitmap) {
  uint64_t n = 0;
  for (size_t w = 0; w < bitmap.size() / 8; ++w) {
    n += static_cast<uint64_t>(std::popcount(Word(bitmap, w)));
  }
  return n;
}

// `inverted`: every bit of `a` must be in `b`; otherwise none. Both have the same length.
Status CheckBits(const Buffer& a, const Buffer& b, bool inverted, const char* wrong) {
  uint64_t bad = 0;
  uint64_t flip = inverted ? ~uint64_t{0} : 0;
  for (size_t w = 0; w < a.size() / 8; ++w) bad |= Word(a, w) & (Word(b, w) ^ flip);
  if (bad == 0) return {};
  return Status::Corrupt(wrong);
}

Status CheckNeedBy(const Buffer& need_by, uint64_t objects) {
  return need_by.empty() ? Status() : CheckLength(need_by, "need_by", 4 * objects);
}

Status CheckChunk(uint32_t first, uint32_t count) {
  if (first % 64 != 0) return Status::Corrupt("the chunk does not begin at a multiple of 64");
  HF_RETURN_IF_ERROR(CheckCount(count, kChunkObjects));
  return CheckCount(uint64_t{first} + count, kMaxManifestObjects);
}

// `ends` holds `n` ends of texts in `blob`, each text at most `most` bytes long, the last one
// ending the blob. One unsigned difference tests both ways at once: a step back is a huge step
// forward, and n · most is far below 2^32, so that ends cannot wrap around.
Status CheckEnds(const Buffer& ends, const Buffer& blob, const char* name, uint64_t n,
                 uint32_t most) {
  static_assert(uint64_t{kChunkObjects} * kMaxNameBytes < UINT32_MAX);
  HF_RETURN_IF_ERROR(CheckLength(ends, name, 4 * n));
  uint32_t last = 0;
  bool bad = false;
  for (size_t i = 0; i < n; ++i) {
    uint32_t end = LoadAs<uint32_t>(ends.data() + 4 * i);
    bad |= end - last > most;
    last = end;
  }
  if (bad) {
    return Status::Corrupt("column " + std::string(name) + " does not ascend in steps of at most " +
                           std::to_string(most));
  }
  if (last == blob.size()) return {};
  return Status::Corrupt("column " + std::string(name) + " does not end where its texts do");
}

// A column of OIDs and one of their versions.
Status CheckObjects(const Buffer& oids, const Buffer& versions) {
  if (oids.size() % 16 != 0) return Status::Corrupt("column oids is not a multiple of 16 bytes");
  HF_RETURN_IF_ERROR(CheckCount(oids.size() / 16, kMaxAskObjects));
  return CheckLength(versions, "versions", oids.size() / 2);
}

}  // namespace

Status CheckShape(const Manifest& m) {
  const ManifestColumns& c = m.columns;
  if (c.size_width != 4 && c.size_width != 8) {
    return Status::Corrupt("size_width is " + std::to_string(c.size_width) +
                           ", 4 and 8 are allowed");
  }
  HF_RETURN_IF_ERROR(CheckCount(c.count, kMaxManifestObjects));
  HF_RETURN_IF_ERROR(CheckLength(c.oids, "oids", uint64_t{c.count} * 16));
  HF_RETURN_IF_ERROR(CheckLength(c.sizes, "sizes", uint64_t{c.count} * c.size_width));
  return CheckLength(c.versions, "versions", uint64_t{c.count} * 8);
}

Status CheckShape(const Call& m) {
  HF_RETURN_IF_ERROR(CheckCount(m.count, kMaxManifestObjects));
  if (!m.asked.empty()) HF_RETURN_IF_ERROR(CheckBitmap(m.asked, "asked", m.count));
  HF_RETURN_IF_ERROR(CheckBitmap(m.offer, "offer", m.count));
  HF_RETURN_IF_ERROR(CheckBitmap(m.home, "home", m.count));
  return CheckBits(m.home, m.offer, true, "home is not a part of offer");
}

Status CheckShape(const Bids& m) {
  HF_RETURN_IF_ERROR(CheckChunk(m.first, m.count));
  HF_RETURN_IF_ERROR(CheckBitmap(m.keep, "keep", m.count));
  HF_RETURN_IF_ERROR(CheckBitmap(m.load, "load", m.count));
  HF_RETURN_IF_ERROR(CheckBitmap(m.spare, "spare", m.count));
  if (!m.near.empty()) {
    HF_RETURN_IF_ERROR(CheckBitmap(m.near, "near", m.count));
    HF_RETURN_IF_ERROR(CheckBits(m.keep, m.near, false, "what is kept is near as well"));
  }
  HF_RETURN_IF_ERROR(CheckBits(m.keep, m.load, false, "an object has two bids"));
  HF_RETURN_IF_ERROR(CheckBits(m.keep, m.spare, false, "an object has two bids"));
  return CheckBits(m.load, m.spare, false, "an object has two bids");
}

Status CheckShape(const Confirm& m) {
  HF_RETURN_IF_ERROR(CheckChunk(m.first, m.count));
  HF_RETURN_IF_ERROR(CheckBitmap(m.keep, "keep", m.count));
  HF_RETURN_IF_ERROR(CheckBitmap(m.load, "load", m.count));
  HF_RETURN_IF_ERROR(CheckBits(m.keep, m.load, false, "an object is both kept and loaded"));
  uint64_t loads = CountBits(m.load);
  HF_RETURN_IF_ERROR(CheckEnds(m.name_ends, m.names, "name_ends", loads, kMaxNameBytes));
  HF_RETURN_IF_ERROR(CheckEnds(m.etag_ends, m.etags, "etag_ends", loads, kMaxEtagBytes));
  return CheckNeedBy(m.need_by, loads);
}

Status CheckShape(const Ack& m) {
  HF_RETURN_IF_ERROR(CheckChunk(m.first, m.count));
  return m.refused.empty() ? Status() : CheckBitmap(m.refused, "refused", m.count);
}

Status CheckShape(const Ask& m) {
  HF_RETURN_IF_ERROR(CheckObjects(m.oids, m.versions));
  return m.tried.empty() ? Status() : CheckLength(m.tried, "tried", m.versions.size() / 4);
}

Status CheckShape(const Answer& m) {
  HF_RETURN_IF_ERROR(CheckCount(m.verdicts.size(), kMaxAskObjects));
  for (std::byte verdict : m.verdicts.view()) {
    if (verdict > std::byte{static_cast<uint8_t>(Verdict::kLoading)}) {
      return Status::Corrupt("column verdicts holds an unknown verdict");
    }
  }
  return CheckLength(m.loaders, "loaders", m.verdicts.size() * 2);
}

Status CheckShape(const Fetched& m) { return CheckObjects(m.oids, m.versions); }

Status CheckShape(const SnapshotReply& m) {
  if (m.prints.size() % 8 != 0)
    return Status::Corrupt("column prints is not a multiple of 8 bytes");
  const uint64_t count = m.prints.size() / 8;
  HF_RETURN_IF_ERROR(CheckCount(count, UINT32_MAX));
  HF_RETURN_IF_ERROR(CheckLength(m.ages, "ages", count * 4));
  HF_RETURN_IF_ERROR(CheckBitmap(m.held, "held", static_cast<uint32_t>(count)));
  HF_RETURN_IF_ERROR(CheckBitmap(m.kept, "kept", static_cast<uint32_t>(count)));
  if (m.evicted.size() % 16 != 0) {
    return Status::Corrupt("column evicted is not two columns of 8 bytes");
  }
  HF_RETURN_IF_ERROR(CheckLength(m.evicted_squares, "evicted_squares", m.evicted.size()));
  return CheckLength(m.moved, "moved", m.evicted.size() / 2);
}

Status CheckShape(const SpillGive& m) {
  static_assert(kMaxSpillObjects <= kMaxAskObjects);
  HF_RETURN_IF_ERROR(CheckObjects(m.oids, m.versions));
  const uint64_t count = m.versions.size() / 8;
  HF_RETURN_IF_ERROR(CheckCount(count, kMaxSpillObjects));
  HF_RETURN_IF_ERROR(CheckLength(m.sizes, "sizes", count * 8));
  HF_RETURN_IF_ERROR(CheckLength(m.ages, "ages", count * 4));
  HF_RETURN_IF_ERROR(CheckEnds(m.name_ends, m.names, "name_ends", count, kMaxNameBytes));
  return CheckEnds(m.etag_ends, m.etags, "etag_ends", count, kMaxEtagBytes);
}

Status CheckShape(const Lodged& m) { return CheckObjects(m.oids, m.versions); }

Status CheckShape(const Drop& m) {
  if (m.oids.size() % 16 != 0) return Status::Corrupt("column oids is not a multiple of 16 bytes");
  if (!m.oids.empty() && !m.prefix.empty()) return Status::Corrupt("both OIDs and a prefix");
  return CheckCount(m.oids.size() / 16, kMaxManifestObjects);
}

namespace {

Status CheckEntries(const Buffer& entries) {
  if (entries.size() % sizeof(StreamEntry) != 0) {
    return Status::Corrupt("column entries is not a multiple of 48 bytes");
  }
  HF_RETURN_IF_ERROR(CheckCount(entries.size() / sizeof(StreamEntry), kMaxStreamEntries));
  for (const StreamEntry& entry : RowsIn<StreamEntry>(entries)) {
    HF_RETURN_IF_ERROR(CheckEntry(entry));
  }
  return {};
}

}  // namespace

Status CheckShape(const StreamReply& m) {
  HF_RETURN_IF_ERROR(CheckEntries(m.entries));
  if (m.writers.size() % sizeof(StreamWriterState) != 0) {
    return Status::Corrupt("column writers is not a multiple of 32 bytes");
  }
  HF_RETURN_IF_ERROR(CheckCount(m.writers.size() / sizeof(StreamWriterState), kMaxStreamWriters));
  for (const StreamWriterState& writer : RowsIn<StreamWriterState>(m.writers)) {
    if (writer.phase > StreamWriterPhase::kGone)
      return Status::Corrupt("an unknown phase of a writer");
  }
  return {};
}

Status CheckShape(const StreamAppend& m) {
  HF_RETURN_IF_ERROR(CheckEntries(m.entries));
  uint64_t number = m.first;
  for (const StreamEntry& entry : RowsIn<StreamEntry>(m.entries)) {
    if (entry.writer != m.writer || entry.number != number++) {
      return Status::Corrupt("an entry of another writer or out of turn");
    }
  }
  return {};
}

}  // namespace holdfast::wire
