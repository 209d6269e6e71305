// SPDX-License-Identifier: Apache-2.0
#include "cached/commitments.h"

#include <algorithm>
#include <utility>

namespace holdfast::cached {
namespace {

ObjectKey KeyOf(const Commitment& commitment, uint32_t index) {
  return {commitment.manifest->oid(index), commitment.manifest->version(index)};
}

}  // namespace

template <typename Visit>
void Commitments::ForEachWith(const ObjectKey& key, const Visit& visit) const {
  for (const auto& [digest, group] : by_manifest_) {
    const planner::Manifest& manifest = *group.front()->manifest;
    std::optional<uint32_t> index = manifest.Find(key.oid);
    if (!index || manifest.version(*index) != key.version) continue;
    for (Commitment* commitment : group) visit(*commitment, *index);
  }
}

Commitments::Commitments(const Context* context, Manifests* manifests, planner::Calendar* calendar)
    : context_(context), manifests_(manifests), calendar_(calendar) {}

Result<Commitments::Job*> Commitments::Open(JobId id, PeerId peer, Duration lease) {
  auto it = jobs_.find(id);
  if (it == jobs_.end()) {
    if (jobs_.size() >= context_->options.max_jobs) {
      return Status::NoSpace("node " + std::to_string(context_->options.node) + " has " +
                             std::to_string(jobs_.size()) +
                             " jobs, its limit max_jobs; end one or raise it");
    }
    it = jobs_.emplace(id, Job{}).first;
    it->second.id = id;
    it->second.tenancy = context_->env.random->Next() | 1;
    it->second.lease = it->second.known_lease = lease;
    it->second.first_loss = past_losses_;
    it->second.progress.job = id;
    it->second.progress.incarnation = context_->options.incarnation;
    it->second.progress.known = true;
  }
  Job& job = it->second;
  if (job.ended) return Status::NotFound("the job has ended");
  job.peer = peer;
  job.lease_until =
      std::max(job.lease_until, context_->Now() + std::min(lease, context_->options.max_hold));
  return &job;
}

Commitments::Job* Commitments::Find(JobId id) {
  auto it = jobs_.find(id);
  return it == jobs_.end() || it->second.ended ? nullptr : &it->second;
}

void Commitments::Heartbeat(const wire::Heartbeat& beat, PeerId peer) {
  Job* job = Find(beat.job);
  if (job == nullptr) {
    context_->Send(peer,
                   wire::Progress{.job = beat.job, .incarnation = context_->options.incarnation});
    return;
  }
  job->peer = peer;
  job->lease_until = context_->Now() + std::min(beat.lease, context_->options.max_hold);
  ForgetLosses(*job, beat.losses_seen);
  job->lease = beat.lease;
  if (job->known_lease == beat.lease || !job_changed_) return SendProgress(*job);
  // The answer is the promise to wait for so long.
  job_changed_(job->id, job->tenancy, beat.lease, [this, id = job->id, lease = beat.lease] {
    Job* late = Find(id);
    if (late == nullptr) return;
    late->known_lease = lease;
    SendProgress(*late);
  });
}

void Commitments::SendProgress(Job& job) {
  wire::Progress progress = job.progress;
  progress.tenancy = job.tenancy;
  progress.kept_objects = progress.loads_left = 0;
  for (auto it = commitments_.lower_bound({job.id, 0});
       it != commitments_.end() && it->first.first == job.id; ++it) {
    const Commitment& commitment = it->second;
    if (commitment.ending) continue;
    progress.kept_objects += commitment.kept.Count();
    progress.loads_left += commitment.pending.Count();
  }
  size_t count = std::min(job.lost.size(), kMaxLossesPerMessage);
  progress.first_loss = job.first_loss;
  job.told = std::max(job.told, job.first_loss + count);
  progress.lost.assign(job.lost.begin(), job.lost.begin() + static_cast<ptrdiff_t>(count));
  context_->Send(job.peer, std::move(progress));
}

// What the job has seen need not be told again; messages get lost, losses must not. It has seen
// nothing that was not told, whatever a message says.
void Commitments::ForgetLosses(Job& job, uint64_t seen) {
  seen = std::min(seen, job.told);
  if (seen <= job.first_loss) return;
  size_t count = std::min<uint64_t>(seen - job.first_loss, job.lost.size());
  job.lost.erase(job.lost.begin(), job.lost.begin() + static_cast<ptrdiff_t>(count));
  job.first_loss += count;
}

// One message for all that fail together; what does not fit, or gets lost, follows the next
// heartbeat.
void Commitments::TellLosses(Job& job) {
  if (std::exchange(job.telling, true)) return;
  context_->env.clock->At(context_->Now() + kLossesTogether, [this, id = job.id] {
    Job* late = Find(id);
    if (late == nullptr) return;
    late->telling = false;
    if (!late->lost.empty() && late->peer != kNoPeer) SendProgress(*late);
  });
}

void Commitments::End(JobId id) {
  auto it = jobs_.find(id);
  if (it == jobs_.end() || it->second.ended) return;
  it->second.ended = true;
  const uint64_t tenancy = it->second.tenancy;
  bool any = EndWhere([id](const Commitment& commitment) { return commitment.job == id; });
  if (!any) Erase(it);
  if (job_changed_) job_changed_(id, tenancy, std::nullopt, [] {});
}

void Commitments::Erase(std::map<JobId, Job>::iterator it) {
  past_losses_ = std::max(past_losses_, it->second.first_loss + it->second.lost.size());
  jobs_.erase(it);
}

void Commitments::Expire() {
  Time now = context_->Now();
  std::vector<JobId> over;
  for (const auto& [id, job] : jobs_) {
    if (!job.ended && job.lease_until <= now) over.push_back(id);
  }
  for (JobId id : over) End(id);
  EndWhere([now](const Commitment& commitment) { return commitment.until <= now; });
}

bool Commitments::EndWhere(const std::function<bool(const Commitment&)>& which) {
  std::vector<Ids> ends;
  bool any = false;
  for (auto& [ids, commitment] : commitments_) {
    if (!which(commitment)) continue;
    any = true;
    if (!std::exchange(commitment.ending, true)) ends.push_back(ids);
  }
  for (auto [job, call] : ends) {
    if (ended_) ended_(job, call);
    EndSlice(job, call, 0);
  }
  return any;
}

Commitment& Commitments::Create(JobId job, uint32_t call, const planner::Manifest* manifest,
                                uint32_t name_allowance, Time until) {
  auto [it, fresh] = commitments_.try_emplace({job, call});
  HF_CHECK(fresh);
  Commitment& commitment = it->second;
  commitment.job = job;
  commitment.call = call;
  commitment.manifest = manifest;
  commitment.least_record_bytes = context_->least_record_bytes;
  commitment.name_allowance = name_allowance;
  commitment.until = until;
  commitment.kept = commitment.pending = commitment.paid = Bitmap(manifest->size());
  manifests_->Use(manifest->digest());
  by_manifest_[manifest->digest()].push_back(&commitment);
  return commitment;
}

const Commitment* Commitments::Find(JobId job, uint32_t call) const {
  auto it = commitments_.find({job, call});
  return it == commitments_.end() || it->second.ending ? nullptr : &it->second;
}

bool Commitments::ReserveOne(Commitment& commitment, uint32_t index) {
  if (!calendar_->Reserve(commitment.ReservedBytes(index), context_->Now(), commitment.until))
    return false;
  commitment.paid.Set(index);
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
  ReserveAll(commitment, first, loads, &refused);
  for (size_t w = 0; w < loads.words(); ++w) loads.set_word(w, loads.word(w) & ~refused.word(w));
  AddPendingBits(commitment, first, loads);
  return refused;
}

void Commitments::AdmitKeeps(Commitment& commitment, uint32_t first, const Bitmap& keeps,
                             Bitmap* refused) {
  std::vector<uint32_t> wanted;
  std::vector<Oid> oids;
  std::vector<VersionHash> versions;
  keeps.ForEach([&](size_t i) {
    wanted.push_back(static_cast<uint32_t>(i));
    oids.push_back(commitment.manifest->oid(first + static_cast<uint32_t>(i)));
    versions.push_back(commitment.manifest->version(first + static_cast<uint32_t>(i)));
  });
  if (wanted.empty()) return;
  Bitmap here(wanted.size()), held(wanted.size()), loading(keeps.size());
  context_->tier->FindMany(oids, versions, &here, &held);
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

std::vector<uint32_t> Commitments::Keep(Commitment& commitment,
                                        const std::vector<uint32_t>& indices) {
  std::vector<uint64_t> costs;
  uint64_t all = 0;
  for (uint32_t index : indices) {
    ObjectKey key = KeyOf(commitment, index);
    store::MemoryTier::Held held;
    HF_CHECK(context_->tier->Hold(key.oid, key.version, &held));
    costs.push_back(held.holds == 1 ? CostOf(held.bytes) : 0);  // else somebody pays already
    all += costs.back();
  }
  bool room_for_all = calendar_->Reserve(all, context_->Now(), commitment.until);
  std::vector<uint32_t> refused;
  for (size_t n = 0; n < indices.size(); ++n) {
    if (!room_for_all && !calendar_->Reserve(costs[n], context_->Now(), commitment.until)) {
      ObjectKey key = KeyOf(commitment, indices[n]);
      context_->tier->Unhold(key.oid, key.version);
      refused.push_back(indices[n]);
      continue;
    }
    commitment.kept.Set(indices[n]);
    if (costs[n] > 0) commitment.paid.Set(indices[n]);
  }
  return refused;
}

void Commitments::AddPending(const planner::Manifest& manifest, uint32_t first,
                             Bitmap* here) const {
  auto group = by_manifest_.find(manifest.digest());
  if (group == by_manifest_.end()) return;
  for (const Commitment* commitment : group->second) {
    if (!commitment->ending) here->OrAt(0, commitment->pending.Slice(first, here->size()));
  }
}

// Each waited on its own account; one account is enough from now on.
void Commitments::Arrived(const ObjectKey& key) {
  std::vector<std::pair<Commitment*, uint32_t>> waiting;
  ForEachWith(key, [&](Commitment& commitment, uint32_t index) {
    if (commitment.ending || !commitment.pending.Get(index)) return;
    calendar_->Release(commitment.ReservedBytes(index), commitment.until);
    commitment.paid.Clear(index);
    waiting.emplace_back(&commitment, index);
  });
  for (auto [commitment, index] : waiting) {
    commitment->pending.Clear(index);
    --pending_objects_;
    if (!Keep(*commitment, {index}).empty()) {
      Lose(*commitment, index,
           Status::NoSpace("its name is longer than its call had declared, and there is no room"));
      continue;
    }
    if (Job* job = Find(commitment->job)) {
      ++job->progress.loads_done;
      job->progress.loaded_bytes += commitment->manifest->object_bytes(index);
    }
  }
}

std::optional<Time> Commitments::WantedUntil(const ObjectKey& key) const {
  std::optional<Time> until;
  ForEachWith(key, [&](const Commitment& commitment, uint32_t index) {
    if (!commitment.ending && commitment.pending.Get(index))
      until = std::max(until.value_or(commitment.until), commitment.until);
  });
  return until;
}

Time Commitments::HeldUntil(const ObjectKey& key) const {
  Time until = context_->Now();
  ForEachWith(key, [&](const Commitment& commitment, uint32_t index) {
    if (commitment.kept.Get(index)) until = std::max(until, commitment.until);
  });
  return until;
}

void Commitments::Failed(const ObjectKey& key, const Status& why) {
  ForEachWith(key, [&](Commitment& commitment, uint32_t index) {
    if (commitment.ending || !commitment.pending.Get(index)) return;
    commitment.pending.Clear(index);
    --pending_objects_;
    calendar_->Release(commitment.ReservedBytes(index), commitment.until);
    commitment.paid.Clear(index);
    Lose(commitment, index, why);
  });
}

void Commitments::Lose(Commitment& commitment, uint32_t index, const Status& why) {
  ++promises_broken_;
  if (Job* job = Find(commitment.job)) {
    job->lost.push_back({commitment.IndexInList(index), why.code(), why.message()});
    TellLosses(*job);
  }
}

void Commitments::EndSlice(JobId job, uint32_t call, size_t word) {
  auto it = commitments_.find({job, call});
  if (it == commitments_.end()) return;
  Commitment& commitment = it->second;
  std::vector<Commitment*>& group = by_manifest_.at(commitment.manifest->digest());
  size_t slice = std::max<size_t>(kEndSlice / 64 / (by_manifest_.size() + group.size()), 1);
  size_t last = std::min(commitment.kept.words(), word + slice);
  for (; word < last; ++word) {
    uint64_t left = commitment.kept.word(word) | commitment.pending.word(word);
    for (; left != 0; left &= left - 1)
      EndObject(commitment, static_cast<uint32_t>(word * 64 + std::countr_zero(left)));
  }
  if (word < commitment.kept.words()) {
    context_->env.clock->At(context_->Now(),
                            [this, job, call, word] { EndSlice(job, call, word); });
    return;
  }
  std::erase(group, &commitment);
  if (group.empty()) by_manifest_.erase(commitment.manifest->digest());
  manifests_->Unuse(commitment.manifest->digest());
  const Excerpt* excerpt = commitment.excerpt;
  commitments_.erase(it);
  if (excerpt != nullptr) DropExcerpt(excerpt);
  auto record = jobs_.find(job);
  if (record == jobs_.end() || !record->second.ended) return;
  auto next = commitments_.lower_bound({job, 0});
  if (next == commitments_.end() || next->first.first != job) Erase(record);
}

void Commitments::EndObject(Commitment& commitment, uint32_t index) {
  bool paid = commitment.paid.Get(index);
  commitment.paid.Clear(index);
  if (commitment.pending.Get(index)) {
    commitment.pending.Clear(index);
    --pending_objects_;
    calendar_->Release(commitment.ReservedBytes(index), commitment.until);
    return;
  }
  commitment.kept.Clear(index);
  ObjectKey key = KeyOf(commitment, index);
  store::MemoryTier::Held held;
  HF_CHECK(context_->tier->Unhold(key.oid, key.version, &held));
  if (paid) PassOn(commitment, key, CostOf(held.bytes));
}

void Commitments::PassOn(const Commitment& payer, const ObjectKey& key, uint64_t bytes) {
  calendar_->Release(bytes, payer.until);
  bool paid = false;
  ForEachWith(key, [&](Commitment& other, uint32_t index) {
    if (paid || !other.kept.Get(index)) return;
    paid = calendar_->Reserve(bytes, context_->Now(), other.until);
    HF_CHECK(paid);  // as much was released
    other.paid.Set(index);
  });
}

uint64_t Commitments::memory_bytes() const {
  uint64_t bytes = 0;
  for (const auto& [ids, commitment] : commitments_) bytes += commitment.kept.words() * 8 * 3;
  for (const auto& [id, job] : jobs_) bytes += job.lost.size() * kLossBytes;
  for (const auto& [list, excerpt] : excerpts_) bytes += excerpt.indices.size() * 4;
  return bytes;
}

Status Commitments::CheckBooks(uint64_t tentative_bytes, uint64_t stream_bytes) const {
  uint64_t paid = 0, pending = 0;
  for (const auto& [ids, commitment] : commitments_) {
    commitment.paid.ForEach([&, &c = commitment](size_t i) {
      auto index = static_cast<uint32_t>(i);
      ObjectKey key = KeyOf(c, index);
      auto record = c.kept.Get(i) ? context_->tier->Find(key.oid, key.version) : std::nullopt;
      paid += record ? CostOf(shm::RecordBytes(record->payload.size(), record->name.size(),
                                               record->etag.size()))
                     : c.ReservedBytes(index);
    });
    pending += commitment.pending.Count();
  }
  if (paid + tentative_bytes + stream_bytes != calendar_->reserved()) {
    return Status::Corrupt("the calendar has " + std::to_string(calendar_->reserved()) +
                           " bytes reserved, the books " + std::to_string(paid) + " paid and " +
                           std::to_string(tentative_bytes) + " tentative, " +
                           std::to_string(stream_bytes) + " of streams");
  }
  if (pending != pending_objects_) return Status::Corrupt("pending objects are miscounted");
  store::TierStats stats = context_->tier->Stats();
  if (stats.held_bytes > paid + stream_bytes) {
    return Status::Corrupt("the tier holds " + std::to_string(stats.held_bytes) + " bytes, only " +
                           std::to_string(paid + stream_bytes) + " are paid for");
  }
  return {};
}

}  // namespace holdfast::cached
