// SPDX-License-Identifier: Apache-2.0
// The part of the commitments that takes objects in: promised, waited for, here. Memory is filled
// first; what it has no room for is promised on the disk.
#include <algorithm>
#include <utility>

#include "cached/commitments.h"

namespace holdfast::cached {
namespace {

// The objects of a chunk that are looked up together.
struct Chosen {
  Chosen(const Commitment& commitment, uint32_t first, const Bitmap& chunk) {
    chunk.ForEach([&](size_t i) {
      const ObjectKey key = commitment.key(first + static_cast<uint32_t>(i));
      bits.push_back(static_cast<uint32_t>(i));
      oids.push_back(key.oid);
      versions.push_back(key.version);
    });
  }
  std::vector<uint32_t> bits;  // of the chunk
  std::vector<Oid> oids;
  std::vector<VersionHash> versions;
};

}  // namespace

// --- Room ----------------------------------------------------------------------------------------

bool Commitments::ReserveOne(Commitment& commitment, uint32_t index) {
  if (!calendar_->Reserve(commitment.ReservedBytes(index), context_->Now(), commitment.until))
    return ReserveBelow(commitment, index);
  commitment.paid.Set(index);
  return true;
}

bool Commitments::FitsBelow(uint64_t size) const {
  const store::DiskTier* disk = context_->disk;
  return disk != nullptr && size >= disk->least_held_bytes() && size <= disk->most_held_bytes();
}

bool Commitments::ReserveBelow(Commitment& commitment, uint32_t index) {
  const bool room =
      FitsBelow(commitment.manifest->object_bytes(index)) && context_->disk->writable() &&
      commitment.name_allowance <= store::DiskTier::kUsualText &&
      below_->Reserve(commitment.BelowBytes(index), context_->Now(), commitment.until);
  if (!room) return false;
  commitment.paid.Set(index);
  commitment.below.Set(index);
  return true;
}

void Commitments::ReserveAll(Commitment& commitment, uint32_t first, const Bitmap& chunk,
                             Bitmap* refused) {
  uint64_t bytes = 0;
  chunk.ForEach(
      [&](size_t i) { bytes += commitment.ReservedBytes(first + static_cast<uint32_t>(i)); });
  if (calendar_->Reserve(bytes, context_->Now(), commitment.until)) {
    commitment.paid.OrAt(first, chunk);
    return;
  }
  chunk.ForEach([&](size_t i) {
    if (!ReserveOne(commitment, first + static_cast<uint32_t>(i))) refused->Set(i);
  });
}

// What is not here yet pays for itself.
void Commitments::ReleaseWaiting(Commitment& commitment, uint32_t index) {
  commitment.paid.Clear(index);
  if (commitment.below.Get(index)) {
    below_->Release(commitment.BelowBytes(index), commitment.until);
  } else {
    calendar_->Release(commitment.ReservedBytes(index), commitment.until);
  }
}

// --- Admit ---------------------------------------------------------------------------------------

void Commitments::AddPendingBits(Commitment& commitment, uint32_t first, const Bitmap& chunk) {
  commitment.pending.OrAt(first, chunk);
  pending_objects_ += chunk.Count();
}

Bitmap Commitments::Admit(Commitment& commitment, uint32_t first, const Bitmap& keep,
                          const Bitmap& load) {
  size_t count = keep.size();
  Bitmap refused(count);
  Bitmap promised = commitment.kept.Slice(first, count);
  promised.OrAt(0, commitment.pending.Slice(first, count));
  Bitmap keeps = keep, loads = load;
  for (size_t w = 0; w < keep.words(); ++w) {  // what was promised already stays promised, once
    keeps.set_word(w, keep.word(w) & ~promised.word(w));
    loads.set_word(w, load.word(w) & ~promised.word(w) & ~keep.word(w));
  }
  AdmitKeeps(commitment, first, keeps, &refused);
  AdmitHeldBelow(commitment, first, &loads);
  ReserveAll(commitment, first, loads, &refused);
  for (size_t w = 0; w < loads.words(); ++w) loads.set_word(w, loads.word(w) & ~refused.word(w));
  AddPendingBits(commitment, first, loads);
  return refused;
}

void Commitments::AdmitKeeps(Commitment& commitment, uint32_t first, const Bitmap& keeps,
                             Bitmap* refused) {
  const Chosen chosen(commitment, first, keeps);
  const std::vector<uint32_t>& wanted = chosen.bits;
  if (wanted.empty()) return;
  Bitmap here(wanted.size()), held(wanted.size()), loading(keeps.size());
  context_->tier->FindMany(chosen.oids, chosen.versions, &here, &held);
  if (here.Count() < wanted.size()) AddPending(*commitment.manifest, first, &loading);
  Bitmap coming(keeps.size());
  std::vector<uint32_t> to_hold;
  for (size_t n = 0; n < wanted.size(); ++n) {
    if (here.Get(n)) {
      to_hold.push_back(first + wanted[n]);
    } else {
      (loading.Get(wanted[n]) ? coming : *refused).Set(wanted[n]);
    }
  }
  for (uint32_t index : Keep(commitment, to_hold)) refused->Set(index - first);
  ReserveAll(commitment, first, coming, refused);
  for (size_t w = 0; w < coming.words(); ++w)
    coming.set_word(w, coming.word(w) & ~refused->word(w));
  AddPendingBits(commitment, first, coming);
}

// What is held on the disk already costs nothing more, and is there at once.
void Commitments::AdmitHeldBelow(Commitment& commitment, uint32_t first, Bitmap* loads) {
  if (below_->reserved() == 0 || loads->None()) return;
  TellLostBelow();
  const Chosen chosen(commitment, first, *loads);
  Bitmap here(chosen.bits.size()), held(chosen.bits.size());
  context_->disk->FindMany(chosen.oids, chosen.versions, &here, &held);
  held.ForEach([&](size_t n) {
    if (KeepBelow(commitment, first + chosen.bits[n])) loads->Clear(chosen.bits[n]);
  });
}

std::vector<uint32_t> Commitments::Keep(Commitment& commitment,
                                        const std::vector<uint32_t>& indices) {
  std::vector<uint64_t> costs;
  uint64_t all = 0;
  for (uint32_t index : indices) {
    ObjectKey key = commitment.key(index);
    store::MemoryTier::Held held;
    HF_CHECK(context_->tier->Hold(key.oid, key.version, &held));
    costs.push_back(held.holds == 1 ? CostOf(held.bytes) : 0);  // else somebody pays already
    all += costs.back();
  }
  bool room_for_all = calendar_->Reserve(all, context_->Now(), commitment.until);
  std::vector<uint32_t> refused;
  for (size_t n = 0; n < indices.size(); ++n) {
    if (!room_for_all && !calendar_->Reserve(costs[n], context_->Now(), commitment.until)) {
      ObjectKey key = commitment.key(indices[n]);
      context_->tier->Unhold(key.oid, key.version);
      refused.push_back(indices[n]);
      continue;
    }
    commitment.kept.Set(indices[n]);
    if (costs[n] > 0) commitment.paid.Set(indices[n]);
  }
  return refused;
}

bool Commitments::KeepBelow(Commitment& commitment, uint32_t index) {
  const ObjectKey key = commitment.key(index);
  const uint64_t size = commitment.manifest->object_bytes(index);
  uint32_t holds = 0;
  if (!FitsBelow(size) || !context_->disk->Hold(key.oid, key.version, size, &holds)) return false;
  const uint64_t cost = holds == 1 ? commitment.BelowBytes(index) : 0;
  if (!below_->Reserve(cost, context_->Now(), commitment.until)) {
    context_->disk->Unhold(key.oid, key.version, size, &holds);
    return false;
  }
  commitment.kept.Set(index);
  commitment.below.Set(index);
  if (cost > 0) commitment.paid.Set(index);
  return true;
}

// --- Arrive --------------------------------------------------------------------------------------

void Commitments::AddPending(const planner::Manifest& manifest, uint32_t first,
                             Bitmap* here) const {
  auto group = by_manifest_.find(manifest.digest());
  if (group == by_manifest_.end()) return;
  for (const Commitment* commitment : group->second) {
    if (!commitment->ending) here->OrAt(0, commitment->pending.Slice(first, here->size()));
  }
}

// Each waited on its own account; one account is enough from now on.
std::vector<std::pair<Commitment*, uint32_t>> Commitments::StopWaiting(const ObjectKey& key,
                                                                       bool below) {
  std::vector<std::pair<Commitment*, uint32_t>> waiting;
  ForEachWith(key, [&](Commitment& commitment, uint32_t index) {
    if (!commitment.Waits(index, below)) return;
    ReleaseWaiting(commitment, index);
    commitment.pending.Clear(index);
    commitment.below.Clear(index);
    --pending_objects_;
    waiting.emplace_back(&commitment, index);
  });
  return waiting;
}

void Commitments::Arrived(const ObjectKey& key) {
  for (auto [commitment, index] : StopWaiting(key, false)) {
    if (Keep(*commitment, {index}).empty()) {
      CountLoad(*commitment, index);
    } else {
      Lose(*commitment, index,
           Status::NoSpace("its name is longer than its call had declared, and there is no room"));
    }
  }
}

void Commitments::ArrivedBelow(const ObjectKey& key) {
  TellLostBelow();
  for (auto [commitment, index] : StopWaiting(key, true)) {
    if (KeepBelow(*commitment, index)) {
      CountLoad(*commitment, index);
    } else {
      Lose(*commitment, index, Status::Unavailable("the disk does not take it"));
    }
  }
}

void Commitments::CountLoad(const Commitment& commitment, uint32_t index) {
  Job* job = Find(commitment.job);
  if (job == nullptr) return;
  ++job->progress.loads_done;
  job->progress.loaded_bytes += commitment.manifest->object_bytes(index);
}

std::optional<Time> Commitments::WantedUntil(const ObjectKey& key) const {
  std::optional<Time> until;
  ForEachWith(key, [&](const Commitment& commitment, uint32_t index) {
    if (commitment.Waits(index, false))
      until = std::max(until.value_or(commitment.until), commitment.until);
  });
  return until;
}

bool Commitments::WantedBelow(const ObjectKey& key) const {
  bool wanted = false;
  if (below_->reserved() == 0) return wanted;
  ForEachWith(key, [&](const Commitment& commitment, uint32_t index) {
    wanted = wanted || commitment.Waits(index, true);
  });
  return wanted;
}

Time Commitments::HeldUntil(const ObjectKey& key) const {
  Time until = context_->Now();
  ForEachWith(key, [&](const Commitment& commitment, uint32_t index) {
    if (commitment.kept.Get(index) && !commitment.below.Get(index))
      until = std::max(until, commitment.until);
  });
  return until;
}

void Commitments::Failed(const ObjectKey& key, const Status& why) {
  for (auto [commitment, index] : StopWaiting(key, false)) Lose(*commitment, index, why);
  FailedBelow(key, why);
}

void Commitments::FailedBelow(const ObjectKey& key, const Status& why) {
  for (auto [commitment, index] : StopWaiting(key, true)) Lose(*commitment, index, why);
}

// --- Lost ----------------------------------------------------------------------------------------

// Lists may say other sizes of one object: each pays what its own says.
void Commitments::PassOnBelow(const ObjectKey& key) {
  bool paid = false;
  ForEachWith(key, [&](Commitment& other, uint32_t index) {
    if (paid || !other.kept.Get(index) || !other.below.Get(index)) return;
    paid = below_->Reserve(other.BelowBytes(index), context_->Now(), other.until);
    if (paid) return other.paid.Set(index);
    uint32_t holds = 0;
    context_->disk->Unhold(key.oid, key.version, other.manifest->object_bytes(index), &holds);
    LoseBelow(other, index, Status::NoSpace("who had paid for it has left"));
  });
}

void Commitments::LoseBelow(Commitment& commitment, uint32_t index, const Status& why) {
  commitment.kept.Clear(index);
  commitment.below.Clear(index);
  if (!commitment.ending) Lose(commitment, index, why);
}

void Commitments::TellLostBelow() {
  if (context_->disk == nullptr) return;
  const store::DiskRecords::Lost lost = context_->disk->TakeLost();
  if (lost.many) {  // a whole segment, of which nobody knows what it had
    for (auto& [ids, c] : commitments_) {
      c.below.ForEach(
          [&, &commitment = c](size_t i) { CheckBelow(commitment, static_cast<uint32_t>(i)); });
    }
    return;
  }
  for (const Oid& oid : lost.oids) {
    for (auto& [digest, group] : by_manifest_) {
      const std::optional<uint32_t> index = group.front()->manifest->Find(oid);
      if (!index) continue;
      for (Commitment* commitment : group) CheckBelow(*commitment, *index);
    }
  }
}

void Commitments::CheckBelow(Commitment& commitment, uint32_t index) {
  const ObjectKey key = commitment.key(index);
  const bool promised = commitment.kept.Get(index) && commitment.below.Get(index);
  if (!promised || context_->disk->IsHeld(key.oid, key.version)) return;
  if (commitment.paid.Get(index)) ReleaseWaiting(commitment, index);
  LoseBelow(commitment, index, Status::Corrupt("the disk has lost it, or it has expired"));
}

}  // namespace holdfast::cached
