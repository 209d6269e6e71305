// SPDX-License-Identifier: Apache-2.0
#include "cached/snapshot_flow.h"

#include <algorithm>
#include <span>

namespace holdfast::cached {
namespace {

uint32_t Milliseconds(Duration age) {
  return static_cast<uint32_t>(std::clamp<int64_t>(age.count() / 1000, 0, UINT32_MAX));
}

template <typename T>
Buffer ColumnOf(const std::vector<T>& values) {
  return Buffer::CopyOf(std::as_bytes(std::span(values)));
}

std::vector<uint64_t> Difference(const std::vector<uint64_t>& now,
                                 const std::vector<uint64_t>& before) {
  std::vector<uint64_t> difference(now.size());
  for (size_t i = 0; i < now.size(); ++i) difference[i] = now[i] - before[i];
  return difference;
}

// Some more may come while it is made.
uint64_t CapacityFor(const Context& context) {
  const uint64_t below = context.disk == nullptr ? 0 : context.disk->Stats().objects;
  return (context.tier->Stats().live_objects + below) * 9 / 8;
}

}  // namespace

uint64_t SnapshotFlow::BytesFor(const Context& context) {
  return CapacityFor(context) * kBytesPerObject;
}

// A number that comes again is that of a snapshot that was given up.
void EvictionHistory::Remember(uint64_t sequence, const store::EvictionCounts& counts) {
  std::erase_if(past_, [sequence](const auto& one) { return one.first == sequence; });
  past_.emplace_back(sequence, counts);
  if (past_.size() > kSnapshots) past_.pop_front();
}

const store::EvictionCounts* EvictionHistory::Find(uint64_t sequence) const {
  for (const auto& [number, counts] : past_) {
    if (number == sequence) return &counts;
  }
  return nullptr;
}

SnapshotFlow::SnapshotFlow(const Context* context, EvictionHistory* history, PeerId peer,
                           const wire::SnapshotQuery& query)
    : context_(context),
      history_(history),
      peer_(peer),
      query_(query),
      capacity_(CapacityFor(*context)) {
  prints_.reserve(capacity_);
  ages_.reserve(capacity_);
}

void SnapshotFlow::Add(const Oid& oid, Duration age, bool held, snapshot::Ring ring) {
  const size_t bit = prints_.size() % 64;
  if (bit == 0) {
    held_.push_back(0);
    kept_.push_back(0);
  }
  held_.back() |= uint64_t{held} << bit;
  kept_.back() |= uint64_t{ring == snapshot::Ring::kKept} << bit;
  prints_.push_back(oid.hi);
  ages_.push_back(Milliseconds(age));
}

SnapshotFlow::Next SnapshotFlow::Step(std::function<void()> wake) {
  const store::MemoryTier& tier = *context_->tier;
  const uint32_t end = tier.slots();
  const uint32_t last = std::min(end, next_ + kSlotsPerStep);
  const Time now = context_->Now();
  tier.ListSlots(next_, last, [&](const store::MemoryTier::Listed& record) {
    Add(record.oid, now - record.since, record.held, record.ring);
  });
  next_ = last;
  if (next_ < end) return Next::kAgain;
  if (context_->disk != nullptr && next_segment_ < context_->disk->listings()) {
    ListDisk(std::move(wake));
    return Next::kWait;
  }
  Reply();
  return Next::kDone;
}

// What is in memory, too, has been listed. More than there was room for is left out.
void SnapshotFlow::ListDisk(std::function<void()> wake) {
  context_->disk->List(
      next_segment_++,
      [this](const Oid& oid, VersionHash version, Duration age) {
        if (prints_.size() == capacity_ || context_->tier->Find(oid, version)) return;
        Add(oid, age, false, snapshot::Ring::kKept);
      },
      std::move(wake));
}

void SnapshotFlow::Reply() {
  store::EvictionCounts now = context_->tier->evictions();
  if (context_->disk != nullptr) now += context_->disk->evictions();
  wire::SnapshotReply reply{.id = query_.id,
                            .incarnation = context_->options.incarnation,
                            .prints = ColumnOf(prints_),
                            .ages = ColumnOf(ages_),
                            .held = ColumnOf(held_),
                            .kept = ColumnOf(kept_),
                            .evicted = {},
                            .evicted_squares = {},
                            .moved = {}};
  if (const store::EvictionCounts* before = history_->Find(query_.previous)) {
    reply.evicted = ColumnOf(Difference(now.objects(), before->objects()));
    reply.evicted_squares = ColumnOf(Difference(now.squares(), before->squares()));
    reply.moved = ColumnOf(Difference(now.moved(), before->moved()));
  }
  history_->Remember(query_.sequence, now);
  context_->Send(peer_, std::move(reply));
}

}  // namespace holdfast::cached
