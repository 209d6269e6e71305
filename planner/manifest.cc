// SPDX-License-Identifier: Apache-2.0
#include "planner/manifest.h"

#include <algorithm>
#include <array>
#include <bit>

#include "base/hash.h"

namespace holdfast::planner {
namespace {

bool Before(const ManifestEntry& a, const ManifestEntry& b) { return a.oid < b.oid; }

// One pass by the leading bits, then small sorts: OIDs are uniform, so a bucket has about eight
// entries. OIDs that are not uniform make larger buckets, and std::sort still bounds the work.
void SortByOid(std::vector<ManifestEntry>& entries) {
  if (std::is_sorted(entries.begin(), entries.end(), Before)) return;
  const int bits = std::clamp(static_cast<int>(std::bit_width(entries.size())) - 4, 0, 16);
  auto bucket = [bits](const ManifestEntry& e) -> size_t {
    return bits == 0 ? 0 : e.oid.hi >> (64 - bits);
  };
  std::vector<uint32_t> ends(size_t{1} << bits);
  for (const ManifestEntry& e : entries) ++ends[bucket(e)];
  uint32_t start = 0;
  for (uint32_t& end : ends) start += std::exchange(end, start);
  std::vector<ManifestEntry> sorted(entries.size());
  for (const ManifestEntry& e : entries) sorted[ends[bucket(e)]++] = e;
  start = 0;
  for (uint32_t end : ends) {
    std::sort(sorted.begin() + start, sorted.begin() + end, Before);
    start = end;
  }
  entries = std::move(sorted);
}

// Of sorted entries, drops those that say the same again.
Status DropRepeats(std::vector<ManifestEntry>& entries) {
  size_t kept = 0;
  for (size_t i = 0; i < entries.size(); ++i) {
    const ManifestEntry& e = entries[i];
    if (e.version == 0) {
      return Status::Invalid("object " + ToHex(e.oid) +
                             " has no version; look it up before planning");
    }
    if (kept > 0 && entries[kept - 1].oid == e.oid) {
      const ManifestEntry& same = entries[kept - 1];
      if (same.version == e.version && same.size == e.size) continue;
      return Status::Invalid("object " + ToHex(e.oid) +
                             " is in the list with two versions; a job reads one of them");
    }
    if (kept != i) entries[kept] = e;
    ++kept;
  }
  entries.resize(kept);
  return {};
}

ManifestDigest DigestOf(uint32_t count, uint8_t size_width, ByteView oids, ByteView sizes,
                        ByteView versions) {
  std::array<std::byte, sizeof(count) + sizeof(size_width)> head;
  StoreAs(head.data(), count);
  StoreAs(head.data() + sizeof(count), size_width);
  return Hash128({ByteView(head), oids, sizes, versions});
}

}  // namespace

Result<Manifest> Manifest::Build(std::vector<ManifestEntry> entries) {
  if (entries.empty()) return Status::Invalid("the list is empty; name at least one object");
  if (entries.size() > UINT32_MAX)
    return Status::Invalid("the list has more than 2^32 - 1 objects; split it");
  SortByOid(entries);
  HF_RETURN_IF_ERROR(DropRepeats(entries));
  Manifest m;
  m.count_ = static_cast<uint32_t>(entries.size());
  uint64_t largest = 0;
  for (const ManifestEntry& e : entries) {
    largest = std::max(largest, e.size);
    if (__builtin_add_overflow(m.total_bytes_, e.size, &m.total_bytes_)) {
      return Status::Invalid("the sizes in the list add up to more than 2^64 bytes");
    }
  }
  m.size_width_ = largest <= UINT32_MAX ? 4 : 8;
  m.oids_ = Buffer(entries.size() * 16);
  m.sizes_ = Buffer(entries.size() * m.size_width_);
  m.versions_ = Buffer(entries.size() * 8);
  for (size_t i = 0; i < entries.size(); ++i) {
    const ManifestEntry& e = entries[i];
    StoreAs(m.oids_.data() + 16 * i, e.oid.hi);
    StoreAs(m.oids_.data() + 16 * i + 8, e.oid.lo);
    if (m.size_width_ == 4) {
      StoreAs(m.sizes_.data() + 4 * i, static_cast<uint32_t>(e.size));
    } else {
      StoreAs(m.sizes_.data() + 8 * i, e.size);
    }
    StoreAs(m.versions_.data() + 8 * i, e.version);
  }
  m.digest_ =
      DigestOf(m.count_, m.size_width_, m.oids_.view(), m.sizes_.view(), m.versions_.view());
  return m;
}

Result<Manifest> Manifest::FromColumns(uint32_t count, uint8_t size_width, Buffer oids,
                                       Buffer sizes, Buffer versions,
                                       const ManifestDigest& digest) {
  const size_t n = count;
  if (n == 0) return Status::Corrupt("manifest without objects");
  if (size_width != 4 && size_width != 8)
    return Status::Corrupt("manifest with a size width other than 4 or 8");
  if (oids.size() != n * 16 || sizes.size() != n * size_width || versions.size() != n * 8) {
    return Status::Corrupt("manifest with a column of the wrong length");
  }
  Manifest m;
  m.count_ = count;
  m.size_width_ = size_width;
  m.digest_ = digest;
  m.oids_ = std::move(oids);
  m.sizes_ = std::move(sizes);
  m.versions_ = std::move(versions);
  if (DigestOf(count, size_width, m.oids_.view(), m.sizes_.view(), m.versions_.view()) != digest) {
    return Status::Corrupt("manifest that does not have its digest");
  }
  bool ascending = true;
  bool named = true;
  bool overflow = false;
  Oid last = m.oid(0);
  for (uint32_t i = 0; i < count; ++i) {
    Oid next = m.oid(i);
    ascending &= i == 0 || last < next;
    last = next;
    named &= m.version(i) != 0;
    overflow |= __builtin_add_overflow(m.total_bytes_, m.object_bytes(i), &m.total_bytes_);
  }
  if (!ascending) return Status::Corrupt("manifest that is not strictly ascending");
  if (!named) return Status::Corrupt("manifest with an object without version");
  if (overflow) return Status::Corrupt("manifest whose sizes add up to more than 2^64 bytes");
  return m;
}

std::optional<uint32_t> Manifest::Find(const Oid& oid) const {
  // The answer, if there is one, is in [low, high).
  uint32_t low = 0;
  uint32_t high = count_;
  for (int probes = 0; low < high; ++probes) {
    uint64_t first = this->oid(low).hi;
    uint64_t last = this->oid(high - 1).hi;
    if (oid.hi < first || oid.hi > last) return std::nullopt;
    uint32_t middle = low + (high - low) / 2;
    // OIDs that are not uniform would make this a linear search: halve after a few guesses.
    if (probes < 8 && first < last) {
      auto above = static_cast<unsigned __int128>(oid.hi - first) * (high - 1 - low);
      middle = low + static_cast<uint32_t>(above / (last - first));
    }
    Oid found = this->oid(middle);
    if (found == oid) return middle;
    if (found < oid) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return std::nullopt;
}

}  // namespace holdfast::planner
