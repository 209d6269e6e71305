// SPDX-License-Identifier: Apache-2.0
// The part of the commitments that has to do with the journal: what an earlier life had promised,
// and what could not be written into it.
#include <algorithm>
#include <utility>

#include "cached/commitments.h"

namespace holdfast::cached {

uint32_t Commitment::FromIndexInList(uint64_t index) const {
  if (excerpt == nullptr) return static_cast<uint32_t>(std::min<uint64_t>(index, manifest->size()));
  auto at = std::lower_bound(excerpt->indices.begin(), excerpt->indices.end(), index);
  return static_cast<uint32_t>(at - excerpt->indices.begin());
}

const Commitment* Commitments::Next(JobId job, uint32_t call) const {
  for (auto it = commitments_.upper_bound({job, call}); it != commitments_.end(); ++it) {
    if (!it->second.ending) return &it->second;
  }
  return nullptr;
}

// Until the job is heard of, its lease counts from now.
Status Commitments::Reopen(JobId id, uint64_t tenancy, Duration lease) {
  Result<Job*> job = Open(id, kNoPeer, lease);
  if (!job.ok()) return job.status();
  (*job)->tenancy = tenancy;
  return {};
}

Commitment& Commitments::Recreate(JobId job, uint32_t call, const planner::Manifest* manifest,
                                  Excerpt excerpt, uint32_t name_allowance, Time until) {
  Commitment& commitment = Create(job, call, manifest, name_allowance, until);
  commitment.excerpt = &excerpts_.try_emplace(excerpt.list, std::move(excerpt)).first->second;
  HF_CHECK(commitment.excerpt->indices.size() == manifest->size());
  return commitment;
}

void Commitments::DropExcerpt(const Excerpt* excerpt) {
  const bool used = std::any_of(commitments_.begin(), commitments_.end(),
                                [&](const auto& entry) { return entry.second.excerpt == excerpt; });
  if (!used) excerpts_.erase(excerpts_.find(excerpt->list));
}

void Commitments::Readmit(Commitment& commitment, const Bitmap& promised, const Bitmap& loadable) {
  std::vector<uint32_t> here;
  Bitmap left = promised;
  promised.ForEach([&](size_t i) {
    const auto index = static_cast<uint32_t>(i);
    const ObjectKey key = commitment.key(index);
    // What is on the disk, too, leaves memory's room to what is not.
    const bool below = KeepBelow(commitment, index);
    const bool in_memory = !below && context_->tier->Find(key.oid, key.version).has_value();
    if (in_memory) here.push_back(index);
    if (below || in_memory) left.Clear(i);
  });
  const Status no_room = Status::NoSpace("after a restart the node has less room than before");
  for (uint32_t index : Keep(commitment, here)) {
    if (!ReadmitLater(commitment, index)) Lose(commitment, index, no_room);
  }
  left.ForEach([&](size_t i) {
    const auto index = static_cast<uint32_t>(i);
    if (!loadable.Get(i)) {
      Lose(commitment, index, Status::NotFound("it was lost when the node was restarted"));
    } else if (!ReadmitLater(commitment, index)) {
      Lose(commitment, index, no_room);
    }
  });
}

bool Commitments::ReadmitLater(Commitment& commitment, uint32_t index) {
  if (!ReserveOne(commitment, index)) return false;
  commitment.pending.Set(index);
  ++pending_objects_;
  return true;
}

void Commitments::Withdraw(Commitment& commitment, uint32_t first, const Bitmap& chunk) {
  chunk.ForEach([&](size_t i) {
    const size_t index = first + i;
    if (commitment.kept.Get(index) || commitment.pending.Get(index))
      EndObject(commitment, static_cast<uint32_t>(index));
  });
}

}  // namespace holdfast::cached
