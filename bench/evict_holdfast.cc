// SPDX-License-Identifier: Apache-2.0
#include "bench/evict_holdfast.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <utility>

#include "base/hash.h"
#include "base/status.h"

namespace holdfast::bench {
namespace {

constexpr uint32_t kSegments = 256;
constexpr Duration kBetweenRequests = 10ms;
constexpr uint64_t kReclaimBytes = 16 * kMiB;
// Objects whose next use is known are held in as much of the capacity as reclaim can move about at
// this cost: bytes moved per byte that is requested. One segment less when it is more, one more
// when it was less for so many requests.
constexpr uint64_t kMovesPerByte = 3;
constexpr uint32_t kRequestsPerLook = 2048;

}  // namespace

uint64_t TierCapacity(uint64_t about) {
  return shm::AlignUp(std::max<uint64_t>(about / kSegments, 1), 4 * kKiB) * kSegments;
}

// Memory of this process, mapped a second time for the readers.
class TraceTier::Mapping {
 public:
  Mapping(uint64_t bytes, bool readers_write) : bytes_(bytes) {
    const int fd = ::memfd_create("bench", MFD_CLOEXEC);
    HF_CHECK(fd >= 0 && ::ftruncate(fd, static_cast<off_t>(bytes)) == 0);
    daemon_ = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    readers_ = ::mmap(nullptr, bytes, readers_write ? PROT_READ | PROT_WRITE : PROT_READ,
                      MAP_SHARED, fd, 0);
    HF_CHECK(daemon_ != MAP_FAILED && readers_ != MAP_FAILED);
    ::close(fd);
  }
  ~Mapping() {
    ::munmap(daemon_, bytes_);
    ::munmap(readers_, bytes_);
  }
  Mapping(const Mapping&) = delete;
  ByteSpan daemons() const { return {static_cast<std::byte*>(daemon_), bytes_}; }
  ByteSpan readers() const { return {static_cast<std::byte*>(readers_), bytes_}; }

 private:
  uint64_t bytes_;
  void* daemon_;
  void* readers_;
};

TraceTier::TraceTier(const std::vector<uint32_t>& sizes, uint64_t capacity, uint32_t sessions)
    : sizes_(sizes) {
  options_.segment_bytes = capacity / kSegments;
  const uint64_t mean = std::accumulate(sizes.begin(), sizes.end(), uint64_t{0}) / sizes.size() + 1;
  options_.index_objects = std::max(capacity / (4 * kKiB), 2 * capacity / mean);
  // What the index takes is on top: the peers' does not count either.
  options_.memory_bytes = capacity + 4 * kMiB + options_.index_objects * 10;
  plan_ = *store::PlanRegion(options_);
  while (plan_.segments > kSegments) {
    options_.memory_bytes -= options_.segment_bytes;
    plan_ = *store::PlanRegion(options_);
  }
  HF_CHECK(plan_.segments == kSegments);
  mappings_.push_back(std::make_unique<Mapping>(plan_.region_bytes, false));
  sessions_ = std::make_unique<store::Sessions>(plan_.segments);
  for (uint32_t i = 0; i < sessions; ++i) {
    mappings_.push_back(std::make_unique<Mapping>(shm::SessionBytes(plan_.segments), true));
    FormatSession(mappings_.back()->readers(), i + 1, plan_.segments, 1, 1);
    sessions_->Attach(i + 1, mappings_.back()->daemons());
  }
  tier_ = std::make_unique<store::MemoryTier>(mappings_[0]->daemons(), plan_, options_,
                                              sessions_.get());
  for (uint32_t i = 0; i < sessions; ++i) {
    auto reader = LocalReader::Open(mappings_[0]->readers(), mappings_[i + 1]->readers());
    HF_CHECK(reader.ok());
    readers_.push_back(std::move(*reader));
  }
}

TraceTier::~TraceTier() = default;

Oid TraceTier::OidOf(uint32_t object) {
  return {Mix64(object), Mix64(object + (uint64_t{1} << 60))};
}

bool TraceTier::Read(LocalReader& reader, uint32_t object) {
  const LocalView view = reader.Pin(OidOf(object), object + 1ull);
  if (view) reader.MarkRead(view);
  return bool(view);
}

Status TraceTier::Load(uint32_t object, Time now, std::optional<Time> hold_until) {
  const std::string name = std::to_string(object);
  Result<store::MemoryTier::Slot> slot = tier_->Allocate({.oid = OidOf(object),
                                                          .version = object + 1ull,
                                                          .size = sizes_[object],
                                                          .name = name,
                                                          .etag = {}},
                                                         now, hold_until);
  if (!slot.ok()) return slot.status();
  tier_->Commit(slot->id, 0, hold_until ? 1 : 0);
  return {};
}

void TraceTier::Maintain(Time now) { tier_->Maintain(now, kReclaimBytes); }

namespace {

class Holdfast final : public Policy {
 public:
  Holdfast(const std::vector<uint32_t>& sizes, uint64_t capacity) : node_(sizes, capacity, 1) {}

  bool Request(uint32_t object, uint32_t) override {
    now_ = now_ + kBetweenRequests;
    const bool hit = TraceTier::Read(node_.reader(0), object);
    if (!hit && node_.Load(object, now_, {}).ok()) TraceTier::Read(node_.reader(0), object);
    node_.Maintain(now_);
    return hit;
  }

 private:
  TraceTier node_;
  Time now_{};
};

class HoldfastKnown final : public Policy {
 public:
  HoldfastKnown(const std::vector<uint32_t>& sizes, uint64_t capacity)
      : node_(sizes, capacity, 1),
        sizes_(sizes),
        segment_bytes_(capacity / kSegments),
        most_(capacity / 10 * 9),
        next_(sizes.size(), Trace::kNever) {
    node_.tier().SetHoldUntil(
        [this](const Oid&, VersionHash version) { return TimeOf(next_[version - 1]); });
  }

  bool Request(uint32_t object, uint32_t next) override {
    ++position_;
    const bool hit = TraceTier::Read(node_.reader(0), object);
    if (held_.erase({next_[object], object}) != 0) {
      node_.tier().Unhold(TraceTier::OidOf(object), 0);
      held_bytes_ -= Bytes(object);
    }
    next_[object] = next;
    const bool hold = next != Trace::kNever && MakeRoom(next, Bytes(object));
    if (hold && (hit ? node_.tier().Hold(TraceTier::OidOf(object), 0) : Load(object, next))) {
      held_.emplace(next, object);
      held_bytes_ += Bytes(object);
    }
    // What is not held is loaded where there is room for it beside what is.
    if (!hold && !hit) (void)node_.Load(object, TimeOf(position_), {});
    node_.Maintain(TimeOf(position_));
    requested_bytes_ += sizes_[object];
    BoundMoving();
    return hit;
  }

 private:
  static Time TimeOf(uint32_t position) { return Time{} + kBetweenRequests * position; }
  uint64_t Bytes(uint32_t object) const { return shm::RecordBytes(sizes_[object], 7, 0); }
  bool LetGo(uint32_t next) {
    if (held_.empty() || held_.rbegin()->first <= next) return false;
    const uint32_t farthest = held_.rbegin()->second;
    held_.erase(std::prev(held_.end()));
    held_bytes_ -= Bytes(farthest);
    node_.tier().Unhold(TraceTier::OidOf(farthest), 0);
    return true;
  }
  bool MakeRoom(uint32_t next, uint64_t bytes) {
    while (held_bytes_ + bytes > most_) {
      if (!LetGo(next)) return false;
    }
    return true;
  }
  void BoundMoving() {
    const uint64_t moved = node_.tier().Stats().moved_bytes;
    const bool much = moved - moved_before_ > kMovesPerByte * requested_bytes_ + 8 * segment_bytes_;
    if (!much && position_ % kRequestsPerLook != 0) return;
    if (much) {
      most_ -= std::min(most_, segment_bytes_);
    } else if (most_ < segment_bytes_ * (kSegments - kSegments / 32)) {
      most_ += segment_bytes_;
    }
    moved_before_ = moved;
    requested_bytes_ = 0;
  }
  // The room of promises is less than the capacity by what the tier needs to move them.
  bool Load(uint32_t object, uint32_t next) {
    Status status = node_.Load(object, TimeOf(position_), TimeOf(next));
    while (status.code() == Code::kNoSpace && LetGo(next)) {
      status = node_.Load(object, TimeOf(position_), TimeOf(next));
    }
    return status.ok();
  }

  TraceTier node_;
  const std::vector<uint32_t>& sizes_;
  const uint64_t segment_bytes_;
  uint64_t most_;
  uint64_t moved_before_ = 0;
  uint64_t requested_bytes_ = 0;
  std::vector<uint32_t> next_;
  std::set<std::pair<uint32_t, uint32_t>> held_;  // by next use
  uint64_t held_bytes_ = 0;
  uint32_t position_ = 0;
};

}  // namespace

std::unique_ptr<Policy> MakeHoldfast(const std::vector<uint32_t>& sizes, uint64_t capacity) {
  return std::make_unique<Holdfast>(sizes, capacity);
}

std::unique_ptr<Policy> MakeHoldfastKnown(const std::vector<uint32_t>& sizes, uint64_t capacity) {
  return std::make_unique<HoldfastKnown>(sizes, capacity);
}

}  // namespace holdfast::bench
