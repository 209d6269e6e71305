// SPDX-License-Identifier: Apache-2.0
#include "cached/loader.h"

#include <algorithm>
#include <utility>

#include "base/hash.h"

namespace holdfast::cached {

Loader::Loader(const Context* context, Commitments* commitments, Membership* membership, Home* home)
    : context_(context),
      commitments_(commitments),
      membership_(membership),
      home_(home),
      segment_bytes_(context->tier->Stats().object_bytes / context->tier->Stats().segments),
      most_copies_(std::min(context->options.max_planning_bytes / kShareOfCopies, kMostCopies)),
      queue_(commitments),
      asks_(context, membership,
            [this](const Asks::Question& question, const std::optional<Home::Decision>& decision) {
              Answered(question, decision);
            }),
      copy_down_(
          context, [this](const ObjectKey& key) { return commitments_->WantedBelow(key); },
          [this](const ObjectKey& key, const Status& status) { CopiedDown(key, status); }),
      far_pace_(context->options.far_objects_per_s, context->options.far_bytes_per_s),
      second_reads_(context->tier->Stats().object_bytes) {}

// --- What is to be loaded, and in which order ----------------------------------------------------

void Loader::Enqueue(LoadBatch batch) {
  queue_.Add(std::move(batch));
  SchedulePump();
}

void Loader::NamesOf(const Commitment& commitment, uint32_t first, uint32_t last,
                     std::vector<entry::Name>* names) const {
  queue_.ForEachOf(commitment, first, last, [&](const LoadBatch& batch, size_t n) {
    if (!batch.Name(n).empty()) names->push_back(batch.EntryOf(n, context_->Now()));
  });
  for (const auto& [key, load] : loads_) {
    const std::optional<uint32_t> index = commitment.manifest->Find(key.oid);
    const bool waits = index && *index >= first && *index < last &&
                       commitment.pending.Get(*index) &&
                       commitment.manifest->version(*index) == key.version;
    if (waits && !load.want.name.empty())
      names->push_back({*index, 0, load.want.name, load.want.etag});
  }
}

bool Loader::NextWant(Want* want) {
  if (!urgent_.empty()) {
    *want = std::move(urgent_.front());
    urgent_.pop_front();
    return true;
  }
  if (context_->Now() < not_before_) {
    if (queue_.objects() > 0 && !std::exchange(waits_to_begin_, true))
      context_->env.clock->At(not_before_, [this] { SchedulePump(); });
    return false;
  }
  // What is queued waits for a disk that is slow; what somebody wants now does not.
  const uint64_t copies = to_copy_ + copy_down_.bytes();
  if (copies > 0 && copies >= most_copies_) return false;
  LoadQueue::Found found = queue_.Next(want);
  if (found == LoadQueue::Found::kNotYet) SchedulePump();
  return found == LoadQueue::Found::kOne;
}

void Loader::SchedulePump() {
  if (std::exchange(pump_scheduled_, true)) return;
  context_->env.clock->At(context_->Now(), [this] {
    pump_scheduled_ = false;
    Pump();
  });
}

bool Loader::HasTurn() const {
  return load_bytes_ == 0 || load_bytes_ < context_->options.max_load_bytes;
}

bool Loader::MayBegin() const {
  return rests_.empty() && loads_.size() - together_ < context_->options.max_loads &&
         together_ < kMaxTogether && HasTurn();
}

void Loader::Pump() {
  while (!rests_.empty() && HasTurn()) {
    PeerWant next = rests_.front();
    rests_.pop_front();
    Load* load = Find(next.key, next.load);
    if (load == nullptr) continue;
    Count(*load, load->want.size);
    GoFar(*load);
  }
  for (size_t begun = 0; MayBegin(); ++begun) {
    if (begun == kMaxBegins) {  // what is here already takes no room: the rest in another event
      SchedulePump();
      break;
    }
    Want want;
    if (!NextWant(&want)) break;
    Begin(std::move(want));
  }
  FlushPeerReads();
  asks_.Flush();
}

// --- One object's way ----------------------------------------------------------------------------

Loader::Load* Loader::Find(const ObjectKey& key, uint64_t id) {
  auto it = loads_.find(key);
  return it == loads_.end() || it->second.id != id ? nullptr : &it->second;
}

Loader::Load* Loader::Loading(const ObjectKey& key) {
  auto it = loads_.find(key);
  if (it == loads_.end()) it = loads_.lower_bound({key.oid, 0});
  const bool brings = it != loads_.end() && it->first.oid == key.oid &&
                      (key.version == 0 || it->first.version == 0 || it->first == key);
  return brings ? &it->second : nullptr;
}

void Loader::Count(Load& load, uint64_t bytes) {
  load_bytes_ += bytes - load.counted;
  load.counted = bytes;
}

void Loader::Begin(Want want) {
  ObjectKey key = want.key;
  if (context_->tier->Find(key.oid, key.version)) {
    Arrived(key);
    for (auto& waiter : want.waiters) waiter({});
    return;
  }
  if (Load* loading = Loading(key)) {
    auto& waiters = loading->want.waiters;
    MayGoFar(*loading, want);
    if (key.version == loading->want.key.version || key.version == 0) {
      for (auto& waiter : want.waiters) waiters.push_back(std::move(waiter));
    } else {  // whichever comes; if it is not this one, it is its turn then
      waiters.push_back([this, want = std::move(want)](const Status&) { Begin(want); });
    }
    return;
  }
  Load& load = loads_[key];
  load.id = next_id_++;
  Count(load, key.version == 0 ? context_->options.first_part_bytes : want.size);
  load.want = std::move(want);
  load.home = membership_->HomeOf(key.oid);
  if (commitments_->WantedBelow(key)) to_copy_ += load.to_copy = load.want.size;
  load.together = context_->env.far->PlaceOf(key.oid).has_value();
  if (load.together) ++together_;
  if (OnDiskHere(key)) return LookOnDisk(load);
  NotOnDisk(load);
}

// Somebody joins who knows what it takes.
void Loader::MayGoFar(Load& load, const Want& want) {
  if (!load.want.local || want.local || want.key != load.want.key) return;
  const VersionHash version = want.key.version;
  if (version != 0 && HashVersion(want.etag, want.size) != version) return;
  load.want.local = false;
  load.want.size = want.size;
  load.want.name = want.name;
  load.want.etag = want.etag;
}

bool Loader::HasRoom(Load& load, void (Loader::*again)(Load&)) {
  if (load.slot != 0) return true;
  std::optional<Time> until = commitments_->WantedUntil(load.want.key);
  Result<store::MemoryTier::Slot> slot = context_->tier->Allocate({.oid = load.want.key.oid,
                                                                   .version = load.want.key.version,
                                                                   .size = load.want.size,
                                                                   .name = load.want.name,
                                                                   .etag = load.want.etag},
                                                                  context_->Now(), until);
  if (slot.ok()) {
    load.slot = slot->id;
    load.into = slot->payload;
    return true;
  }
  const bool promised = until.has_value() || commitments_->WantedBelow(load.want.key);
  if (promised && slot.status().code() == Code::kNoSpace && load.room_retries++ < kRoomRetries) {
    context_->env.clock->At(context_->Now() + kRoomRetry,
                            [this, again, key = load.want.key, id = load.id] {
                              if (Load* waiting = Find(key, id)) (this->*again)(*waiting);
                            });
    return false;
  }
  Finish(load.want.key, slot.status());
  return false;
}

void Loader::Deliver(Load& load, uint64_t hash, Pace* pace) {
  ObjectKey key = load.want.key;
  context_->tier->LookAtTheClock();
  if (HasExpired(load.expires_s, context_->env.clock->Wall()))
    return Finish(key, Status::NotFound("\"" + load.want.name + "\" has expired"));
  context_->tier->Commit(std::exchange(load.slot, 0), hash, 0, load.expires_s);
  pace->Done(load.want.size);
  if (load.want.need_by < context_->Now()) ++counters_.late;
  // The index may have had no place for it; then nobody can find it.
  bool visible = context_->tier->Find(key.oid, key.version).has_value();
  Finish(key, visible ? Status()
                      : Status::NoSpace(
                            "the index of the memory tier is full; raise memory.index_objects"));
}

void Loader::Finish(ObjectKey key, const Status& status) {
  auto it = loads_.find(key);
  HF_CHECK(it != loads_.end());
  Load load = std::move(it->second);
  loads_.erase(it);
  Count(load, 0);
  to_copy_ -= load.to_copy;
  if (load.together) --together_;
  DropFirst(load);
  if (load.slot != 0) context_->tier->Abort(load.slot);
  if (status.ok()) {
    Arrived(key);
  } else {
    ++counters_.failed;
    commitments_->Failed(key, status);
  }
  if (load.granted && load.home == context_->options.node) {
    home_->Fetched(*load.granted, load.home, status.ok());
  } else if (load.granted) {
    asks_.Tell(load.home, *load.granted, status.ok());
  }
  for (auto& waiter : load.want.waiters) waiter(status);
  SchedulePump();
}

// In memory; or on the disk, where nobody wants it anywhere else.
void Loader::Arrived(const ObjectKey& key) {
  const bool here = context_->tier->Find(key.oid, key.version).has_value();
  if (here) commitments_->Arrived(key);
  if (!commitments_->WantedBelow(key)) return;
  if (here) return copy_down_.Add(key);
  commitments_->ArrivedBelow(key);
}

// Somebody may wait in memory for what was to be there, because this was under way.
void Loader::CopiedDown(const ObjectKey& key, const Status& status) {
  if (status.ok()) {
    commitments_->ArrivedBelow(key);
  } else {
    commitments_->FailedBelow(key, status);
  }
  SchedulePump();
  if (!commitments_->WantedUntil(key) || Loading(key) != nullptr) return;
  if (context_->tier->Find(key.oid, key.version)) return commitments_->Arrived(key);
  if (!status.ok()) return commitments_->Failed(key, status);
  Want want;
  want.key = key;
  want.local = true;
  AddUrgent(std::move(want));
}

// --- How fast ------------------------------------------------------------------------------------

void Loader::Tick() {
  const bool backlog = queue_.objects() > 0 || loads_.size() >= context_->options.max_loads / 2;
  const uint64_t half = (far_pace_.done_bytes() + disk_pace_.done_bytes()) / 2;
  const bool far = far_pace_.done_bytes() >= half, disk = disk_pace_.done_bytes() >= half;
  far_pace_.Tick(backlog && far);
  disk_pace_.Tick(backlog && disk);
}

RateModel Loader::Rate() const {
  RateModel rate = far_pace_.Model();
  rate.start = far_latency_;
  rate.start = rate.Finish(queue_.objects() + loads_.size(), queue_.bytes() + load_bytes_);
  return rate;
}

// What comes from the disk waits in the same queue.
RateModel Loader::DiskRate() const {
  RateModel rate = disk_pace_.Model();
  rate.start = Rate().start - far_latency_;
  return rate;
}

}  // namespace holdfast::cached
