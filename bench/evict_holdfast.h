// SPDX-License-Identifier: Apache-2.0
// The node's own memory tier as a policy of bench evict.
#pragma once

#include <memory>
#include <string>

#include "bench/evict_policies.h"
#include "cached/store/memory_tier.h"
#include "wire/local_reader.h"

namespace holdfast::bench {

// A capacity that a tier can have: a multiple of its segments.
uint64_t TierCapacity(uint64_t about);

// A tier of exactly `capacity` bytes of segments, of which the records' headers and names, open
// segments, free ones and the ends of segments are a part. The deciding thread's but for Reader.
class TraceTier {
 public:
  TraceTier(const std::vector<uint32_t>& sizes, uint64_t capacity, uint32_t sessions);
  ~TraceTier();

  static Oid OidOf(uint32_t object);
  // As a client reads; false when it is not here.
  static bool Read(LocalReader& reader, uint32_t object);
  // The reader of a client with a session of its own, which reads through a mapping of its own.
  LocalReader& reader(uint32_t session) { return *readers_[session]; }
  store::MemoryTier& tier() { return *tier_; }
  bool Has(uint32_t object) const { return tier_->Find(OidOf(object), 0).has_value(); }
  // Its version names the object: object + 1.
  Status Load(uint32_t object, Time now, std::optional<Time> hold_until);
  void Maintain(Time now);

 private:
  class Mapping;
  const std::vector<uint32_t>& sizes_;
  store::MemoryTierOptions options_;
  shm::RegionPlan plan_;
  std::vector<std::unique_ptr<Mapping>> mappings_;
  std::unique_ptr<store::Sessions> sessions_;
  std::unique_ptr<store::MemoryTier> tier_;
  std::vector<std::unique_ptr<LocalReader>> readers_;
};

// Every read leaves a mark, the one for which it was loaded too, and none is lost.
std::unique_ptr<Policy> MakeHoldfast(const std::vector<uint32_t>& sizes, uint64_t capacity);
// The same with known next uses, as manifests and orders of reading give them: an object is held
// until its next use, and where not all can be, those whose next use is farthest are not.
std::unique_ptr<Policy> MakeHoldfastKnown(const std::vector<uint32_t>& sizes, uint64_t capacity);

// Threads that read through mapped memory, each with a session, while the deciding thread loads what
// they miss: marks are late, and lost when a ring overflows or their record has moved meanwhile.
struct MappedResult {
  double hit_ratio = 0;  // by requests
  double marks = 0;      // per request, that the deciding thread has seen
};
MappedResult ReplayMapped(const Trace& trace, uint64_t capacity);

}  // namespace holdfast::bench
