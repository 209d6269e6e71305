// SPDX-License-Identifier: Apache-2.0
#include "cached/commitments.h"

#include <algorithm>
#include <utility>

namespace holdfast::cached {
namespace {

// The index of an object in a commitment's manifest, in the version that was planned.
std::optional<uint32_t> IndexIn(const Commitment& commitment, const ObjectKey& key) {
  std::optional<uint32_t> index = commitment.manifest->Find(key.oid);
  if (!index || commitment.manifest->version(*index) != key.version) return std::nullopt;
  return index;
}

ObjectKey KeyOf(const Commitment& commitment, uint32_t index) {
  return {commitment.manifest->oid(index), commitment.manifest->version(index)};
}

}  // namespace

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
  SendProgress(*job);
}

void Commitments::SendProgress(Job& job) {
  wire::Progress progress = job.progress;
  progress.kept_objects = progress.loads_left = 0;
  for (const Commitment& commitment : commitments_) {
    if (commitment.job != job.id || commitment.ending) continue;
    progress.kept_objects += commitment.kept.Count();
    progress.loads_left += commitment.pending.Count();
  }
  size_t count = std::min(job.lost.size(), kMaxLossesPerMessage);
  progress.first_loss = job.first_loss;
  progress.lost.assign(job.lost.begin(), job.lost.begin() + static_cast<ptrdiff_t>(count));
  context_->Send(job.peer, std::move(progress));
}

// What the job has seen need not be told again; messages get lost, losses must not.
void Commitments::ForgetLosses(Job& job, uint64_t seen) {
  if (seen <= job.first_loss) return;
  size_t count = std::min<uint64_t>(seen - job.first_loss, job.lost.size());
  job.lost.erase(job.lost.begin(), job.lost.begin() + static_cast<ptrdiff_t>(count));
  job.first_loss += count;
}

// One message for all that fail together; what does not fit, or gets lost, follows the next heartbeat.
void Commitments::TellLosses(Job& job) {
  if (std::exchange(job.telling, true)) return;
  context_->env.clock->At(context_->Now() + kLossesTogether, [this, id = job.id] {
    Job* late = Find(id);
    if (late == nullptr) return;
    late->telling = false;
    if (!late->lost.empty()) SendProgress(*late);
  });
}

void Commitments::End(JobId id) {
  auto it = jobs_.find(id);
  if (it == jobs_.end() || it->second.ended) return;
  it->second.ended = true;
  bool any = EndWhere([id](const Commitment& commitment) { return commitment.job == id; });
  if (!any) Erase(it);
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
  std::vector<std::pair<JobId, uint32_t>> ends;
  bool any = false;
  for (Commitment& commitment : commitments_) {
    if (!which(commitment)) continue;
    any = true;
    if (!std::exchange(commitment.ending, true)) ends.emplace_back(commitment.job, commitment.call);
  }
  for (auto [job, call] : ends) {
    if (ended_) ended_(job, call);
    EndSlice(job, call, 0);
  }
  return any;
}

Commitment& Commitments::Create(JobId job, uint32_t call, const planner::Manifest* manifest,
                                uint32_t name_allowance, Time until) {
  Commitment& commitment = commitments_.emplace_back();
  commitment.job = job;
  commitment.call = call;
  commitment.manifest = manifest;
  commitment.least_record_bytes = context_->least_record_bytes;
  commitment.name_allowance = name_allowance;
  commitment.until = until;
  commitment.kept = commitment.pending = commitment.paid = Bitmap(manifest->size());
  manifests_->Use(manifest->digest());
  return commitment;
}

Commitment* Commitments::Find(JobId job, uint32_t call) {
  for (Commitment& commitment : commitments_) {
    if (commitment.job == job && commitment.call == call)
      return commitment.ending ? nullptr : &commitment;
  }
  return nullptr;
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
  Bitmap unpaid(keeps.size()), coming(keeps.size());
  for (size_t n = 0; n < wanted.size(); ++n) {
    if (here.Get(n)) {
      if (!held.Get(n)) unpaid.Set(wanted[n]);  // else somebody pays already
    } else if (loading.Get(wanted[n])) {
      unpaid.Set(wanted[n]);
      coming.Set(wanted[n]);
    } else {
      refused->Set(wanted[n]);
    }
  }
  ReserveAll(commitment, first, unpaid, refused);
  for (size_t n = 0; n < wanted.size(); ++n) {
    if (!here.Get(n) || refused->Get(wanted[n])) continue;
    HF_CHECK(context_->tier->Hold(oids[n], versions[n]));
    commitment.kept.Set(first + wanted[n]);
  }
  for (size_t w = 0; w < coming.words(); ++w)
    coming.set_word(w, coming.word(w) & ~refused->word(w));
  AddPendingBits(commitment, first, coming);
}

void Commitments::AddPending(const planner::Manifest& manifest, uint32_t first,
                             Bitmap* here) const {
  for (const Commitment& commitment : commitments_) {
    if (commitment.ending || commitment.manifest->digest() != manifest.digest()) continue;
    here->OrAt(0, commitment.pending.Slice(first, here->size()));
  }
}

bool Commitments::SomebodyPays(const ObjectKey& key) const {
  return std::any_of(commitments_.begin(), commitments_.end(), [&](const Commitment& commitment) {
    std::optional<uint32_t> index = IndexIn(commitment, key);
    return index && commitment.kept.Get(*index) && commitment.paid.Get(*index);
  });
}

void Commitments::Arrived(const ObjectKey& key) {
  bool paid = SomebodyPays(key);
  for (Commitment& commitment : commitments_) {
    if (commitment.ending) continue;
    std::optional<uint32_t> index = IndexIn(commitment, key);
    if (!index || !commitment.pending.Get(*index)) continue;
    HF_CHECK(context_->tier->Hold(key.oid, key.version));
    commitment.pending.Clear(*index);
    commitment.kept.Set(*index);
    --pending_objects_;
    if (Job* job = Find(commitment.job)) {
      ++job->progress.loads_done;
      job->progress.loaded_bytes += commitment.manifest->object_bytes(*index);
    }
    if (paid) {  // each waited on its own account; one account is enough from now on
      calendar_->Release(commitment.ReservedBytes(*index), commitment.until);
      commitment.paid.Clear(*index);
    }
    paid = true;
  }
}

std::optional<Time> Commitments::WantedUntil(const ObjectKey& key) const {
  std::optional<Time> until;
  for (const Commitment& commitment : commitments_) {
    if (commitment.ending) continue;
    std::optional<uint32_t> index = IndexIn(commitment, key);
    if (index && commitment.pending.Get(*index))
      until = std::max(until.value_or(commitment.until), commitment.until);
  }
  return until;
}

Time Commitments::HeldUntil(const ObjectKey& key) const {
  Time until = context_->Now();
  for (const Commitment& commitment : commitments_) {
    std::optional<uint32_t> index = IndexIn(commitment, key);
    if (index && commitment.kept.Get(*index)) until = std::max(until, commitment.until);
  }
  return until;
}

void Commitments::Failed(const ObjectKey& key, const Status& why) {
  for (Commitment& commitment : commitments_) {
    if (commitment.ending) continue;
    std::optional<uint32_t> index = IndexIn(commitment, key);
    if (!index || !commitment.pending.Get(*index)) continue;
    commitment.pending.Clear(*index);
    --pending_objects_;
    ++promises_broken_;
    calendar_->Release(commitment.ReservedBytes(*index), commitment.until);
    commitment.paid.Clear(*index);
    if (Job* job = Find(commitment.job)) {
      job->lost.push_back({*index, why.code(), why.message()});
      TellLosses(*job);
    }
  }
}

void Commitments::EndSlice(JobId job, uint32_t call, size_t word) {
  auto it = std::find_if(commitments_.begin(), commitments_.end(),
                         [&](const Commitment& c) { return c.job == job && c.call == call; });
  if (it == commitments_.end()) return;
  size_t slice = std::max<size_t>(kEndSlice / 64 / commitments_.size(), 1);
  size_t last = std::min(it->kept.words(), word + slice);
  for (; word < last; ++word) {
    for (uint64_t left = it->kept.word(word) | it->pending.word(word); left != 0;
         left &= left - 1) {
      EndObject(*it,
                static_cast<uint32_t>(word * 64) + static_cast<uint32_t>(std::countr_zero(left)));
    }
  }
  if (word < it->kept.words()) {
    context_->env.clock->At(context_->Now(),
                            [this, job, call, word] { EndSlice(job, call, word); });
    return;
  }
  manifests_->Unuse(it->manifest->digest());
  commitments_.erase(it);
  auto record = jobs_.find(job);
  if (record == jobs_.end() || !record->second.ended) return;
  for (const Commitment& c : commitments_) {
    if (c.job == job) return;
  }
  Erase(record);
}

void Commitments::EndObject(Commitment& commitment, uint32_t index) {
  if (commitment.pending.Get(index)) {
    commitment.pending.Clear(index);
    --pending_objects_;
  } else {
    commitment.kept.Clear(index);
    ObjectKey key = KeyOf(commitment, index);
    HF_CHECK(context_->tier->Unhold(key.oid, key.version));
    if (commitment.paid.Get(index)) PassOn(commitment, index);
  }
  if (commitment.paid.Get(index)) {
    calendar_->Release(commitment.ReservedBytes(index), commitment.until);
    commitment.paid.Clear(index);
  }
}

void Commitments::PassOn(Commitment& payer, uint32_t index) {
  ObjectKey key = KeyOf(payer, index);
  for (Commitment& other : commitments_) {
    if (&other == &payer) continue;
    std::optional<uint32_t> at = IndexIn(other, key);
    if (!at || !other.kept.Get(*at)) continue;
    calendar_->Release(payer.ReservedBytes(index), payer.until);
    payer.paid.Clear(index);
    // It fits: as much was released. A longer allowance of the other one may not; then it keeps what
    // it holds, and the head-room covers the difference.
    static_cast<void>(ReserveOne(other, *at));
    return;
  }
}

uint64_t Commitments::memory_bytes() const {
  uint64_t bytes = 0;
  for (const Commitment& commitment : commitments_) bytes += commitment.kept.words() * 8 * 3;
  for (const auto& [id, job] : jobs_) bytes += job.lost.size() * kLossBytes;
  return bytes;
}

Status Commitments::CheckBooks(uint64_t tentative_bytes) const {
  uint64_t paid = 0, pending = 0;
  for (const Commitment& commitment : commitments_) {
    commitment.paid.ForEach(
        [&](size_t i) { paid += commitment.ReservedBytes(static_cast<uint32_t>(i)); });
    pending += commitment.pending.Count();
  }
  if (paid + tentative_bytes != calendar_->reserved()) {
    return Status::Corrupt("the calendar has " + std::to_string(calendar_->reserved()) +
                           " bytes reserved, the books " + std::to_string(paid) + " paid and " +
                           std::to_string(tentative_bytes) + " tentative");
  }
  if (pending != pending_objects_) return Status::Corrupt("pending objects are miscounted");
  store::TierStats stats = context_->tier->Stats();
  if (stats.held_bytes > paid) {
    return Status::Corrupt("the tier holds " + std::to_string(stats.held_bytes) + " bytes, only " +
                           std::to_string(paid) + " are paid for");
  }
  return {};
}

}  // namespace holdfast::cached
