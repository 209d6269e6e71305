// SPDX-License-Identifier: Apache-2.0
#include "cached/store/region.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "base/hash.h"
#include "base/units.h"
#include "cached/store/memory_tier.h"

namespace holdfast::store {
namespace {

constexpr uint32_t kMinSegments = 8;
constexpr uint32_t kMaxSegments = 65'535;
// At most this share of the slots is used: displacement finds a free one in a few steps then.
constexpr double kIndexFill = 0.92;
constexpr uint64_t kHugePage = 2 * kMiB;

uint64_t DefaultSegmentBytes(uint64_t memory_bytes) {
  const uint64_t bytes = std::clamp(memory_bytes / 256, 256 * kKiB, 256 * kMiB);
  return bytes / (bytes >= kHugePage ? kHugePage : 4 * kKiB) *
         (bytes >= kHugePage ? kHugePage : 4 * kKiB);
}

}  // namespace

Result<shm::RegionPlan> PlanRegion(const MemoryTierOptions& options) {
  shm::RegionPlan plan;
  plan.segment_bytes = options.segment_bytes != 0 ? options.segment_bytes
                                                  : DefaultSegmentBytes(options.memory_bytes);
  if (plan.segment_bytes % (4 * kKiB) != 0 || plan.segment_bytes > 4 * kGiB) {
    return Status::Invalid("segment_bytes must be a multiple of 4 KiB and at most 4 GiB, not " +
                           std::to_string(plan.segment_bytes));
  }
  const uint64_t objects =
      options.index_objects != 0 ? options.index_objects : options.memory_bytes / (4 * kKiB);
  const uint64_t buckets =
      static_cast<uint64_t>(static_cast<double>(objects) / (kIndexFill * shm::kBucketEntries)) + 2;
  if (buckets > UINT32_MAX / shm::kBucketEntries) {
    return Status::Invalid("index_objects must be below 3,900,000,000, not " +
                           std::to_string(objects));
  }
  plan.buckets = static_cast<uint32_t>(buckets);
  // The places of the tables depend on the number of segments, which depends on what the tables
  // leave: once is enough, with the largest number for the tables.
  const uint64_t most = std::min<uint64_t>(options.memory_bytes / plan.segment_bytes, kMaxSegments);
  const uint64_t tables = shm::GrantOffset(static_cast<uint32_t>(most)) +
                          shm::kMaxSessions * sizeof(shm::SessionGrant) +
                          buckets * sizeof(shm::Bucket);
  plan.segment_offset = shm::AlignUp(shm::AlignUp(tables, 64), kHugePage);
  const uint64_t left =
      options.memory_bytes > plan.segment_offset ? options.memory_bytes - plan.segment_offset : 0;
  if (left / plan.segment_bytes < kMinSegments) {
    return Status::Invalid("memory_bytes is too small: " + FormatBytes(options.memory_bytes) +
                           " less " + FormatBytes(plan.segment_offset) +
                           " for the index leaves less than 8 segments of " +
                           FormatBytes(plan.segment_bytes));
  }
  if (left / plan.segment_bytes > kMaxSegments) {
    return Status::Invalid("segment_bytes is too small: at most 65,535 segments fit " +
                           FormatBytes(options.memory_bytes));
  }
  plan.segments = static_cast<uint32_t>(left / plan.segment_bytes);
  plan.grant_offset = shm::GrantOffset(plan.segments);
  plan.bucket_offset =
      shm::AlignUp(plan.grant_offset + shm::kMaxSessions * sizeof(shm::SessionGrant), 64);
  plan.region_bytes = plan.segment_offset + plan.segments * plan.segment_bytes;
  return plan;
}

bool Region::Carries() const {
  const shm::RegionHeader& h = *header();
  return h.magic == shm::kRegionMagic && h.layout_version == shm::kLayoutVersion &&
         h.region_bytes == plan_.region_bytes && h.segment_bytes == plan_.segment_bytes &&
         h.segments == plan_.segments && h.buckets == plan_.buckets &&
         h.bucket_offset == plan_.bucket_offset && h.segment_offset == plan_.segment_offset;
}

void Region::Format(NodeId node, Incarnation incarnation, bool fresh) const {
  shm::RegionHeader* h = header();
  if (fresh) std::memset(base_, 0, plan_.segment_offset);
  h->layout_version = shm::kLayoutVersion;
  h->node = node;
  h->region_bytes = plan_.region_bytes;
  h->segment_bytes = plan_.segment_bytes;
  h->segments = plan_.segments;
  h->buckets = plan_.buckets;
  h->bucket_offset = plan_.bucket_offset;
  h->segment_offset = plan_.segment_offset;
  // Clients of an earlier daemon may be reading these two.
  __atomic_store_n(&h->incarnation, incarnation, __ATOMIC_RELEASE);
  __atomic_store_n(&h->magic, shm::kRegionMagic, __ATOMIC_RELEASE);
}

uint64_t HeaderHash(const shm::RecordHeader* header) {
  shm::RecordHeader copy = *header;
  const char* text = NameOf(header).data();
  copy.header_hash = Hash64(AsBytes({text, size_t{header->name_bytes} + header->etag_bytes}));
  return Hash64(std::as_bytes(std::span(&copy, 1)));
}

}  // namespace holdfast::store
