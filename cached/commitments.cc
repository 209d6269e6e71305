// SPDX-License-Identifier: Apache-2.0
#include "cached/commitments.h"

#include <algorithm>
#include <utility>

namespace holdfast::cached {

Commitments::Commitments(const Context* context, Manifests* manifests, planner::Calendar* calendar,
                         planner::Calendar* below)
    : context_(context), manifests_(manifests), calendar_(calendar), below_(below) {}

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
  TellLostBelow();
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

const Commitment* Commitments::Another(const Commitment& than) const {
  for (const Commitment* other : by_manifest_.at(than.manifest->digest())) {
    if (other != &than && !other->ending) return other;
  }
  return nullptr;
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
    if (ended_) ended_(commitments_.at({job, call}));
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
  if (context_->disk != nullptr)
    commitment.least_below_bytes = context_->disk->least_promise_bytes();
  commitment.name_allowance = name_allowance;
  commitment.until = until;
  commitment.kept = commitment.pending = commitment.paid = commitment.below =
      Bitmap(manifest->size());
  manifests_->Use(manifest->digest());
  by_manifest_[manifest->digest()].push_back(&commitment);
  return commitment;
}

const Commitment* Commitments::Find(JobId job, uint32_t call) const {
  auto it = commitments_.find({job, call});
  return it == commitments_.end() || it->second.ending ? nullptr : &it->second;
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

// As far as it comes in one event: the next call goes on there.
void Commitments::TellExpired() {
  if (!context_->tier->MayExpire() || commitments_.empty()) return;
  size_t looks = kSweepLooks, positions = kSweepPositions;
  size_t ends = std::max<size_t>(kEndSlice / (1 + by_manifest_.size()), 1);
  auto it = commitments_.lower_bound(swept_.first);
  if (it == commitments_.end()) it = commitments_.begin();
  size_t i = it->first == swept_.first ? swept_.second : 0;
  for (size_t round = 0; round <= commitments_.size(); ++round) {
    Commitment& commitment = it->second;
    const size_t size = commitment.ending ? 0 : commitment.manifest->size();
    for (; i < size && looks > 0 && positions > 0 && ends > 0; ++i, --positions) {
      const auto index = static_cast<uint32_t>(i);
      if (!commitment.kept.Get(i) || commitment.below.Get(i)) continue;
      --looks;
      const ObjectKey key = commitment.key(index);
      if (context_->tier->Find(key.oid, key.version)) continue;
      --ends;
      EndObject(commitment, index);
      Lose(commitment, index, Status::NotFound("it has expired"));
    }
    if (i < size) break;
    i = 0;
    if (++it == commitments_.end()) it = commitments_.begin();
  }
  swept_ = {it->first, i};
}

void Commitments::EndObject(Commitment& commitment, uint32_t index) {
  if (commitment.pending.Get(index)) {
    ReleaseWaiting(commitment, index);
    commitment.pending.Clear(index);
    commitment.below.Clear(index);
    --pending_objects_;
    return;
  }
  const bool paid = commitment.paid.Get(index);
  commitment.paid.Clear(index);
  commitment.kept.Clear(index);
  if (commitment.below.Get(index)) return EndBelow(commitment, index, paid);
  ObjectKey key = commitment.key(index);
  store::MemoryTier::Held held;
  HF_CHECK(context_->tier->Unhold(key.oid, key.version, &held));
  if (paid) PassOn(commitment, key, CostOf(held.bytes));
}

// What the disk has lost meanwhile is not held there any more; the others are told, too.
void Commitments::EndBelow(Commitment& commitment, uint32_t index, bool paid) {
  const ObjectKey key = commitment.key(index);
  uint32_t holds = 0;
  commitment.below.Clear(index);
  context_->disk->Unhold(key.oid, key.version, commitment.manifest->object_bytes(index), &holds);
  if (!paid) return;
  below_->Release(commitment.BelowBytes(index), commitment.until);
  PassOnBelow(key);
}

void Commitments::PassOn(const Commitment& payer, const ObjectKey& key, uint64_t bytes) {
  calendar_->Release(bytes, payer.until);
  bool paid = false;
  ForEachWith(key, [&](Commitment& other, uint32_t index) {
    if (paid || !other.kept.Get(index) || other.below.Get(index)) return;
    paid = calendar_->Reserve(bytes, context_->Now(), other.until);
    HF_CHECK(paid);  // as much was released
    other.paid.Set(index);
  });
}

uint64_t Commitments::memory_bytes() const {
  uint64_t bytes = 0;
  for (const auto& [ids, commitment] : commitments_) bytes += commitment.kept.words() * 8 * 4;
  for (const auto& [id, job] : jobs_) bytes += job.lost.size() * kLossBytes;
  for (const auto& [list, excerpt] : excerpts_) bytes += excerpt.indices.size() * 4;
  return bytes;
}

Status Commitments::CheckBooks(const Others& others) const {
  uint64_t paid = 0, paid_below = 0, pending = 0;
  for (const auto& [ids, commitment] : commitments_) {
    commitment.paid.ForEach([&, &c = commitment](size_t i) {
      auto index = static_cast<uint32_t>(i);
      if (c.below.Get(i)) {
        paid_below += c.BelowBytes(index);
        return;
      }
      paid += c.kept.Get(i) ? KeptBytes(c.key(index)).value_or(c.ReservedBytes(index))
                            : c.ReservedBytes(index);
    });
    pending += commitment.pending.Count();
  }
  if (pending != pending_objects_) return Status::Corrupt("pending objects are miscounted");
  return CheckPaid(paid, paid_below, others);
}

// Of what has expired, too: its promise has not ended.
std::optional<uint64_t> Commitments::KeptBytes(const ObjectKey& key) const {
  std::optional<uint64_t> bytes;
  context_->tier->ForEachVersion(key.oid, [&](const store::RecordView& record, bool) {
    if (record.version != key.version) return;
    bytes = CostOf(shm::RecordBytes(record.payload.size(), record.name.size(), record.etag.size()));
  });
  return bytes;
}

Status Commitments::CheckPaid(uint64_t paid, uint64_t paid_below, const Others& others) const {
  auto wrong = [](const char* whose, const planner::Calendar& calendar, uint64_t booked,
                  uint64_t other_bytes) {
    return Status::Corrupt(std::string("the calendar of ") + whose + " has " +
                           std::to_string(calendar.reserved()) + " bytes reserved, the books " +
                           std::to_string(booked) + " paid and " + std::to_string(other_bytes) +
                           " of offers and streams");
  };
  const uint64_t other = others.tentative_bytes + others.stream_bytes;
  if (paid + other != calendar_->reserved()) return wrong("memory", *calendar_, paid, other);
  if (paid_below + others.disk_bytes != below_->reserved())
    return wrong("the disk", *below_, paid_below, others.disk_bytes);
  store::TierStats stats = context_->tier->Stats();
  if (stats.held_bytes > paid + others.stream_bytes) {
    return Status::Corrupt("the tier holds " + std::to_string(stats.held_bytes) + " bytes, only " +
                           std::to_string(paid + others.stream_bytes) + " are paid for");
  }
  return {};
}

}  // namespace holdfast::cached
