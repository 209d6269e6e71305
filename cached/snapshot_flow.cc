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
uint64_t CapacityFor(const store::MemoryTier& tier) { return tier.Stats().live_objects * 9 / 8; }

}  // namespace

uint64_t SnapshotFlow::BytesFor(const store::MemoryTier& tier) {
  return CapacityFor(tier) * kBytesPerObject;
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
      capacity_(CapacityFor(*context->tier)) {
  prints_.reserve(capacity_);
  ages_.reserve(capacity_);
}

bool SnapshotFlow::Step() {
  const store::MemoryTier& tier = *context_->tier;
  const uint32_t end = tier.slots();
  const uint32_t last = std::min(end, next_ + kSlotsPerStep);
  const Time now = context_->Now();
  tier.ListSlots(next_, last, [&](const Oid& oid, Time since, bool held) {
    if (prints_.size() % 64 == 0) held_.push_back(0);
    held_.back() |= uint64_t{held} << (prints_.size() % 64);
    prints_.push_back(oid.hi);
    ages_.push_back(Milliseconds(now - since));
  });
  next_ = last;
  if (next_ < end) return true;
  Reply();
  return false;
}

void SnapshotFlow::Reply() {
  const store::EvictionCounts& now = context_->tier->evictions();
  wire::SnapshotReply reply{.id = query_.id,
                            .incarnation = context_->options.incarnation,
                            .prints = ColumnOf(prints_),
                            .ages = ColumnOf(ages_),
                            .held = ColumnOf(held_),
                            .evicted = {},
                            .evicted_squares = {}};
  if (const store::EvictionCounts* before = history_->Find(query_.previous)) {
    reply.evicted = ColumnOf(Difference(now.objects(), before->objects()));
    reply.evicted_squares = ColumnOf(Difference(now.squares(), before->squares()));
  }
  history_->Remember(query_.sequence, now);
  context_->Send(peer_, std::move(reply));
}

}  // namespace holdfast::cached
