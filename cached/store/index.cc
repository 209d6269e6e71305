// SPDX-License-Identifier: Apache-2.0
#include "cached/store/index.h"

#include <algorithm>
#include <array>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace holdfast::store {
namespace {

using shm::kBucketEntries;

// Nodes of the search for a chain of displacements. At 92 % full a chain of two is nearly always
// there.
constexpr uint32_t kSearchNodes = 512;

// shm::TagMask. Only the deciding thread writes buckets, and only it comes here, so plain loads see
// what is there.
inline uint32_t PlainTagMask(const shm::Bucket& bucket, uint32_t tag) {
#ifdef __SSE2__
  // The tag is the upper part of an entry's upper 32 bits.
  constexpr int kShift = shm::kSegmentBits + shm::kOffsetBits - 32;
  const auto* words = reinterpret_cast<const __m128*>(&bucket);
  const __m128i want = _mm_set1_epi32(static_cast<int>(tag));
  auto four = [&](int i) {
    const __m128 upper = _mm_shuffle_ps(words[i], words[i + 1], _MM_SHUFFLE(3, 1, 3, 1));
    return _mm_cmpeq_epi32(_mm_srli_epi32(_mm_castps_si128(upper), kShift), want);
  };
  const __m128i eight = _mm_packs_epi32(four(0), four(2));
  return static_cast<uint32_t>(_mm_movemask_epi8(_mm_packs_epi16(eight, _mm_setzero_si128())));
#else
  return shm::TagMask(bucket, tag);
#endif
}

}  // namespace

Index::Index(const Region& region, Start start)
    : region_(region),
      buckets_(region.buckets()),
      buckets_count_(region.plan().buckets),
      side_(size_t{region.plan().buckets} * kBucketEntries, 0) {
  if (start == Start::kEmpty) Clear();
  SetCapacity();
  for (uint32_t slot = 0; slot < slot_count(); ++slot) used_ += entry(slot) != 0 ? 1 : 0;
}

Index::Index(std::span<shm::Bucket> buckets)
    : buckets_(buckets.data()),
      buckets_count_(static_cast<uint32_t>(buckets.size())),
      side_(buckets.size() * kBucketEntries, 0) {
  Clear();
  SetCapacity();
}

void Index::SetCapacity() { capacity_ = side_.size() * 92 / 100; }

void Index::Clear() {
  for (size_t slot = 0; slot < side_.size(); ++slot) {
    slots()[slot].store(0, std::memory_order_relaxed);
  }
}

uint32_t Index::FindIn(uint32_t bucket, uint32_t tag, const Oid& oid, VersionHash version) const {
  for (uint32_t left = PlainTagMask(buckets_[bucket], tag); left != 0; left &= left - 1) {
    const uint32_t slot = bucket * kBucketEntries + static_cast<uint32_t>(std::countr_zero(left));
    if (Matches(entry(slot), oid, version)) return slot;
  }
  return kNone;
}

uint32_t Index::Find(const Oid& oid, VersionHash version) const {
  const uint32_t tag = shm::TagFor(oid);
  const uint32_t first = shm::FirstBucket(oid, buckets_count_);
  const uint32_t slot = FindIn(first, tag, oid, version);
  if (slot != kNone) return slot;
  return FindIn(shm::OtherBucket(first, tag, buckets_count_), tag, oid, version);
}

uint32_t Index::FindPlace(const Oid& oid, Place place) const {
  const uint32_t tag = shm::TagFor(oid);
  const shm::Entry wanted = shm::MakeEntry(tag, place.segment, place.offset);
  const uint32_t first = shm::FirstBucket(oid, buckets_count_);
  for (uint32_t bucket : {first, shm::OtherBucket(first, tag, buckets_count_)}) {
    for (uint32_t i = 0; i < kBucketEntries; ++i) {
      const uint32_t slot = bucket * kBucketEntries + i;
      if (entry(slot) == wanted && wanted != 0) return slot;
    }
  }
  return kNone;
}

void Index::PrefetchBuckets(const Oid& oid) const {
  const uint32_t first = shm::FirstBucket(oid, buckets_count_);
  __builtin_prefetch(&buckets_[first]);
  __builtin_prefetch(&buckets_[shm::OtherBucket(first, shm::TagFor(oid), buckets_count_)]);
}

// --- Many at once --------------------------------------------------------------------------------
// Look-ups wait for memory, for an entry and then for its record. While a group waits for its records,
// the next one waits for its entries. Which of two buckets has the entry is not known before, and
// nothing branches on it.

void Index::AskForBuckets(Group* group) const {
  for (size_t i = 0; i < group->oids.size(); ++i) {
    const Oid& oid = group->oids[i];
    group->first[i] = shm::FirstBucket(oid, buckets_count_);
    group->second[i] = shm::OtherBucket(group->first[i], shm::TagFor(oid), buckets_count_);
    __builtin_prefetch(&buckets_[group->first[i]]);
    __builtin_prefetch(&buckets_[group->second[i]]);
  }
}

void Index::AskForRecords(Group* group, bool holds) const {
  group->some = 0;
  for (size_t i = 0; i < group->oids.size(); ++i) {
    const uint32_t tag = shm::TagFor(group->oids[i]);
    const uint32_t in_first = PlainTagMask(buckets_[group->first[i]], tag);
    const uint32_t in_second = PlainTagMask(buckets_[group->second[i]], tag);
    const uint32_t bucket = in_first != 0 ? group->first[i] : group->second[i];
    const uint32_t mask = in_first != 0 ? in_first : in_second;
    const int place = std::countr_zero(mask | 1u << (kBucketEntries - 1));  // one, in any case
    const uint32_t slot = bucket * kBucketEntries + static_cast<uint32_t>(place);
    group->slots[i] = slot;
    group->some |= static_cast<uint32_t>(mask != 0) << i;
    if (region_) __builtin_prefetch(region_->record(entry(slot)));
    if (holds) __builtin_prefetch(&side_[slot]);
  }
}

uint32_t Index::Check(Group* group, std::span<const VersionHash> versions, WallTime now) const {
  uint32_t found = 0;
  for (size_t i = 0; i < group->oids.size(); ++i) {
    if ((group->some >> i & 1) == 0) continue;
    const VersionHash version = versions.empty() ? 0 : versions[i];
    // The first one with the tag is the record but for a collision of tags or another version of
    // the object.
    uint32_t& slot = group->slots[i];
    if (!Matches(entry(slot), group->oids[i], version)) slot = Find(group->oids[i], version);
    if (slot == kNone) continue;
    if (region_ && HasExpired(region_->record(entry(slot))->expires_s, now)) continue;
    found |= 1u << i;
  }
  return found;
}

void Index::FindMany(std::span<const Oid> oids, std::span<const VersionHash> versions, WallTime now,
                     Bitmap* here, Bitmap* held) const {
  if (used_ == 0) return;
  std::array<Group, 4> groups;  // three are under way; a power of two
  const size_t count = (oids.size() + Group::kMost - 1) / Group::kMost;
  for (size_t step = 0; step < count + 2; ++step) {
    if (step < count) {
      Group& next = groups[step % groups.size()];
      const size_t base = step * Group::kMost;
      next.oids = oids.subspan(base, std::min(Group::kMost, oids.size() - base));
      AskForBuckets(&next);
    }
    if (step >= 1 && step <= count)
      AskForRecords(&groups[(step - 1) % groups.size()], held != nullptr);
    if (step < 2) continue;
    Group& group = groups[(step - 2) % groups.size()];
    const size_t base = (step - 2) * Group::kMost;
    const auto own = versions.empty() ? versions : versions.subspan(base, group.oids.size());
    for (uint32_t found = Check(&group, own, now); found != 0; found &= found - 1) {
      const auto i = static_cast<size_t>(std::countr_zero(found));
      here->Set(base + i);
      if (held != nullptr && holds(group.slots[i]) != 0) held->Set(base + i);
    }
  }
}

uint32_t Index::EmptyIn(uint32_t bucket) const {
  for (uint32_t i = 0; i < kBucketEntries; ++i) {
    const uint32_t slot = bucket * kBucketEntries + i;
    if (Empty(slot)) return slot;
  }
  return kNone;
}

std::optional<uint32_t> Index::Reserve(const Oid& oid) {
  if (used_ >= capacity_) return std::nullopt;
  const uint32_t first = shm::FirstBucket(oid, buckets_count_);
  const uint32_t second = shm::OtherBucket(first, shm::TagFor(oid), buckets_count_);
  uint32_t slot = EmptyIn(first);
  if (slot == kNone) slot = EmptyIn(second);
  if (slot == kNone) slot = Displace(first, second);
  if (slot == kNone) return std::nullopt;
  side_[slot] = kReservedMark;
  ++used_;
  return slot;
}

// Breadth first over the entries that could leave; the chain is then moved from its end, so that
// every entry is in one of its buckets at every instant. Returns the slot of the first one, which
// is empty now.
uint32_t Index::Displace(uint32_t first, uint32_t second) {
  struct Node {
    uint32_t slot;
    uint32_t parent;
  };
  std::array<Node, kSearchNodes> nodes;
  std::array<uint32_t, kSearchNodes + 2> visited;
  uint32_t count = 0;
  uint32_t visits = 0;
  auto add_bucket = [&](uint32_t bucket, uint32_t parent) {
    // Twice in a chain, a slot's entry would be another one when its turn comes.
    if (std::find(visited.begin(), visited.begin() + visits, bucket) != visited.begin() + visits)
      return;
    visited[visits++] = bucket;
    for (uint32_t i = 0; i < kBucketEntries && count < kSearchNodes; ++i) {
      const uint32_t slot = bucket * kBucketEntries + i;
      if (entry(slot) != 0) nodes[count++] = {slot, parent};  // a reserved one stays where it is
    }
  };
  add_bucket(first, kNone);
  add_bucket(second, kNone);
  for (uint32_t at = 0; at < count; ++at) {
    const uint32_t bucket = OtherOf(nodes[at].slot / kBucketEntries, entry(nodes[at].slot));
    uint32_t empty = EmptyIn(bucket);
    if (empty == kNone) {
      add_bucket(bucket, at);
      continue;
    }
    for (uint32_t node = at; node != kNone; node = nodes[node].parent) {
      Move(nodes[node].slot, empty);
      empty = nodes[node].slot;
    }
    return empty;
  }
  return kNone;
}

void Index::Move(uint32_t from, uint32_t to) {
  const shm::Entry e = entry(from);
  side_[to] = side_[from];
  slots()[to].store(e, std::memory_order_release);
  side_[from] = 0;
  slots()[from].store(0, std::memory_order_release);
}

void Index::ReleaseReserved(uint32_t slot) {
  side_[slot] = 0;
  --used_;
}

void Index::Link(uint32_t reserved, shm::Entry e) {
  side_[reserved] = 0;
  slots()[reserved].store(e, std::memory_order_release);
}

void Index::Relink(uint32_t slot, shm::Entry e) {
  slots()[slot].store(e, std::memory_order_release);
}

void Index::Unlink(uint32_t slot) {
  side_[slot] = 0;
  slots()[slot].store(0, std::memory_order_release);
  --used_;
}

}  // namespace holdfast::store
