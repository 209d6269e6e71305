// SPDX-License-Identifier: Apache-2.0
#include "cached/loader.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "base/hash.h"
#include "base/uri.h"

namespace holdfast::cached {
Loader::Loader(const Context* context, Commitments* commitments, Membership* membership, Home* home)
    : context_(context),
      commitments_(commitments),
      membership_(membership),
      home_(home),
      segment_bytes_(context->tier->Stats().object_bytes / context->tier->Stats().segments),
      queue_(commitments),
      asks_(context, membership,
            [this](const Asks::Question& question, const std::optional<Home::Decision>& decision) {
              Answered(question, decision);
            }) {}

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
  LoadQueue::Found found = queue_.Next(want);
  if (found == LoadQueue::Found::kNotYet) SchedulePump();
  return found == LoadQueue::Found::kOne;
}

void Loader::OnMiss(bulk::ReadMiss miss, std::function<void(Status)> done) {
  ObjectKey key{miss.oid, miss.version};
  auto later = [this](std::function<void(Status)> run,
                      Status status) {  // never from inside the caller's call
    context_->env.clock->At(context_->Now(), [run = std::move(run), status] { run(status); });
  };
  if (Load* loading = Loading(key)) {
    if (miss.mode == BulkMode::kFetch && OidOf(miss.name) == miss.oid) {
      MayGoFar(
          *loading,
          {.key = key, .size = miss.size, .name = miss.name, .etag = miss.etag, .waiters = {}});
    }
    loading->want.waiters.push_back(Wanting(key, loading->want, std::move(done)));
    return;
  }
  if (context_->tier->Find(miss.oid, miss.version)) return later(std::move(done), {});
  Want want;
  if (queue_.Find(key, &want)) {
    want.waiters.push_back(std::move(done));
    return AddUrgent(std::move(want));
  }
  if (miss.mode != BulkMode::kFetch && OnDiskHere(key)) {
    want.key = key;
    want.local = true;
    want.waiters.push_back(std::move(done));
    return AddUrgent(std::move(want));
  }
  if (miss.mode != BulkMode::kFetch) {
    return later(std::move(done), Status::NotFound("the object is neither here nor on its way"));
  }
  if (OidOf(miss.name) != miss.oid) {
    return later(std::move(done),
                 Status::Invalid("the name \"" + miss.name + "\" does not belong to the OID"));
  }
  want.name = std::move(miss.name);
  if (miss.version != 0 && HashVersion(miss.etag, miss.size) == miss.version) {
    // What cannot be promised may fit a segment all the same.
    if (miss.size > segment_bytes_) return later(std::move(done), TooLarge(miss.size));
    want.key = key;
    want.size = miss.size;
    want.etag = std::move(miss.etag);
  } else {
    want.key.oid = miss.oid;
    done = Wanting(key, want, std::move(done));
  }
  want.waiters.push_back(std::move(done));
  AddUrgent(std::move(want));
}

Status Loader::TooLarge(uint64_t size) const {
  return Status::NoSpace("an object of " + FormatBytes(size) + " is too large for node " +
                         std::to_string(context_->options.node) + ", whose segments have " +
                         FormatBytes(segment_bytes_));
}

// `done` of who waits for this version of what is loaded in whichever version there is.
std::function<void(Status)> Loader::Wanting(const ObjectKey& key, const Want& loaded,
                                            std::function<void(Status)> done) const {
  if (key.version == loaded.key.version || key.version == 0) return done;
  return [this, key, name = loaded.name, done = std::move(done)](const Status& status) {
    const bool other = status.ok() && !context_->tier->Find(key.oid, key.version);
    done(other ? Status::Changed("\"" + name + "\" has changed since it was listed; list it again")
               : status);
  };
}

void Loader::AddUrgent(Want want) {
  if (urgent_.size() >= kMaxUrgent) {
    Status full = Status::NoSpace("node " + std::to_string(context_->options.node) + " has " +
                                  std::to_string(kMaxUrgent) + " reads waiting, its limit");
    for (auto& waiter : want.waiters) {
      context_->env.clock->At(context_->Now(),
                              [waiter = std::move(waiter), full] { waiter(full); });
    }
    return;
  }
  urgent_.push_back(std::move(want));
  SchedulePump();
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
    commitments_->Arrived(key);
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
  load.together = context_->env.far->PlaceOf(key.oid).has_value();
  if (load.together) ++together_;
  if (OnDiskHere(key)) return LookOnDisk(load);
  NotOnDisk(load);
}

// Somebody joins who knows what it takes.
void Loader::MayGoFar(Load& load, const Want& want) {
  if (!load.want.local || want.local || want.key != load.want.key) return;
  load.want.local = false;
  load.want.size = want.size;
  load.want.name = want.name;
  load.want.etag = want.etag;
}

// --- This node's disk ----------------------------------------------------------------------------

bool Loader::OnDiskHere(const ObjectKey& key) const {
  return context_->disk != nullptr && context_->disk->Has(key.oid, key.version);
}

void Loader::LookOnDisk(Load& load) {
  const ObjectKey key = load.want.key;
  const Want& want = load.want;
  const uint64_t bytes =
      want.size == 0 ? 0 : disk::RecordBytes(want.size, want.name.size(), want.etag.size());
  context_->disk->Look(key.oid, key.version, bytes,
                       [this, key, id = load.id](Result<store::DiskTier::Found> found) {
                         if (Load* looking = Find(key, id)) OnDisk(*looking, std::move(found));
                       });
}

void Loader::OnDisk(Load& load, Result<store::DiskTier::Found> found) {
  const bool right = found.ok() && found->head.entry.size <= segment_bytes_;
  if (!right) {
    NotOnDisk(load);
    return SchedulePump();
  }
  const disk::Head& head = found->head;
  const FarInfo info{head.entry.size, head.etag};
  // Its version is its ETag's and size's, or its checksums are right by chance.
  if (HashVersion(info.etag, info.size) != head.entry.version) {
    NotOnDisk(load);
    return SchedulePump();
  }
  Load& known = load.want.key.version == 0 ? Learned(load, info) : load;
  Count(known, info.size);
  known.found = *std::move(found);
  TakeFromDisk(known);
}

void Loader::TakeFromDisk(Load& load) {
  const disk::Head& head = load.found->head;
  if (load.want.local) {  // until it is here, it stays local: its name is no leave to go far
    load.want.size = head.entry.size;
    load.want.name = head.name;
    load.want.etag = head.etag;
  }
  if (!HasRoom(load, &Loader::TakeFromDisk)) return;
  context_->disk->Read(*load.found, load.into,
                       [this, key = load.want.key, id = load.id](const Status& read) {
                         Load* reading = Find(key, id);
                         if (reading == nullptr) return;
                         const uint64_t hash = reading->found->head.payload_hash;
                         reading->found.reset();
                         if (!read.ok()) {
                           NotOnDisk(*reading);
                           return SchedulePump();
                         }
                         ++counters_.disk_objects;
                         counters_.disk_bytes += reading->want.size;
                         Deliver(*reading, hash);
                       });
}

void Loader::NotOnDisk(Load& load) {
  if (!load.want.local) return AskHome(load);
  Finish(load.want.key, Status::NotFound("the object is neither here nor on its way"));
}

// --- The home ------------------------------------------------------------------------------------

// Asked again when a peer could not give the object: one of all who waited for it there is sent.
void Loader::AskHome(Load& load) {
  if (load.asks++ >= kMaxAsks) return GoFar(load);
  if (load.home == context_->options.node) {
    Home::Decision decision = home_->Consider(load.want.key, load.home, load.tried);
    return OnVerdict(load, decision.verdict, decision.loader);
  }
  if (membership_->Reachable(load.home) == nullptr) return GoFar(load);
  asks_.Ask(load.home, {load.want.key, load.id, load.tried});
}

void Loader::Answered(const Asks::Question& question,
                      const std::optional<Home::Decision>& decision) {
  Load* load = Find(question.key, question.load);
  if (load == nullptr) return;
  if (decision) {
    OnVerdict(*load, decision->verdict, decision->loader);
  } else {
    GoFar(*load);
  }
  SchedulePump();
}

void Loader::OnVerdict(Load& load, wire::Verdict verdict, NodeId loader) {
  if (verdict != wire::Verdict::kGo && load.want.key.version == 0) return AskVersion(load);
  switch (verdict) {
    case wire::Verdict::kHave:
      return TakeFromPeer(load, load.home, BulkMode::kLook);
    case wire::Verdict::kLoading:
      return TakeFromPeer(load, loader, BulkMode::kWait);
    case wire::Verdict::kGo:
      load.granted = load.want.key;
      return GoFar(load);
  }
}

void Loader::TakeFromPeer(Load& load, NodeId peer, BulkMode mode) {
  load.peer = peer;
  load.peer_mode = mode;
  if (peer == load.tried || membership_->Reachable(peer) == nullptr) return PeerFailed(load);
  peer_reads_[{peer, mode}].push_back({load.want.key, load.id});
  SchedulePump();
}

void Loader::PeerFailed(Load& load) {
  load.tried = load.peer;
  AskHome(load);
  SchedulePump();
}

// There was no room for what a peer has; now there may be.
void Loader::TakeAgain(Load& load) {
  peer_reads_[{load.peer, load.peer_mode}].push_back({load.want.key, load.id});
  SchedulePump();
}

void Loader::FlushPeerReads() {
  auto reads = std::exchange(peer_reads_, {});
  for (auto& [from, wants] : reads) {
    const Membership::Peer* peer = membership_->Reachable(from.first);
    std::vector<BulkItem> items;
    std::vector<PeerWant> sent;
    for (const PeerWant& want : wants) {
      Load* load = Find(want.key, want.load);
      if (load == nullptr) continue;
      if (peer == nullptr) {
        PeerFailed(*load);
        continue;
      }
      if (!HasRoom(*load, &Loader::TakeAgain)) continue;
      BulkItem item;
      item.oid = want.key.oid;
      item.version = want.key.version;
      item.size = load->want.size;
      item.into = load->into;
      items.push_back(std::move(item));
      sent.push_back(want);
    }
    if (items.empty()) continue;
    context_->env.network->BulkRead(peer->bulk_endpoint, from.second, std::move(items),
                                    context_->Now() + kPeerDeadline,
                                    [this, sent = std::move(sent)](size_t i, BulkOutcome outcome) {
                                      OnPeer(sent[i], std::move(outcome));
                                    });
  }
}

void Loader::OnPeer(const PeerWant& from, BulkOutcome outcome) {
  Load* load = Find(from.key, from.load);
  if (load == nullptr) return;
  bool right =
      outcome.status.ok() && outcome.version == from.key.version && outcome.size == load->want.size;
  if (!right) return PeerFailed(*load);
  ++counters_.peer_objects;
  counters_.peer_bytes += outcome.size;
  Deliver(*load, outcome.hash);
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
  bool promised = until.has_value();
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

void Loader::GoFar(Load& load) {
  // Where packs are known, so are the versions in them.
  if (load.want.key.version == 0) return load.together ? AskVersion(load) : GetFirst(load);
  if (!HasRoom(load, &Loader::GoFar)) return;
  FarGet get;
  if (load.first != nullptr) {
    get.offset = load.first->size();
    std::memcpy(load.into.data(), load.first->data(), load.first->size());
    DropFirst(load);
  }
  load.far_began = context_->Now();
  counters_.far_bytes += load.want.size - get.offset;
  if (Commitments::Job* job = commitments_->Find(load.want.job)) {
    job->progress.far_bytes += load.want.size;
  }
  get.uri = load.want.name;
  get.etag = load.want.etag;
  get.length = load.want.size;
  get.into = load.into;
  get.deadline = context_->Now() + kFarDeadline;
  context_->env.far->Get(std::move(get), [this, key = load.want.key, id = load.id](
                                             Status status, FarInfo info, uint64_t hash) {
    OnFar(key, id, std::move(status), info, hash);
  });
}

void Loader::OnFar(const ObjectKey& key, uint64_t id, Status status, const FarInfo& info,
                   uint64_t hash) {
  Load* load = Find(key, id);
  if (load == nullptr) return;
  CountRequests(*load, info.requests);
  if (status.ok() && HashVersion(info.etag, info.size) != key.version) {
    status = Status::Changed("\"" + load->want.name +
                             "\" is not the version that was listed; list it again");
  }
  if (!status.ok()) return Finish(key, status);
  far_latency_ = (far_latency_ * 7 + (context_->Now() - load->far_began)) / 8;
  Deliver(*load, hash);
}

// Those that it took, once that is known: one may have brought many objects.
void Loader::CountRequests(const Load& load, uint32_t requests) {
  counters_.far_requests += requests;
  Commitments::Job* job = commitments_->Find(load.want.job);
  if (job != nullptr) job->progress.far_requests += requests;
}

// --- Of an object whose version nobody knows -----------------------------------------------------

// It is near, or will be: that costs a HEAD instead of its bytes.
void Loader::AskVersion(Load& load) {
  context_->env.far->Head(load.want.name, context_->Now() + kFarDeadline,
                          [this, key = load.want.key, id = load.id](const Result<FarInfo>& info) {
                            if (Load* asking = Find(key, id)) OnVersion(*asking, info);
                          });
}

void Loader::OnVersion(Load& load, const Result<FarInfo>& info) {
  CountRequests(load, info.ok() ? info->requests : 1);
  if (!info.ok()) return Finish(load.want.key, info.status());
  if (info->size > segment_bytes_) return Finish(load.want.key, TooLarge(info->size));
  Load& known = Learned(load, *info);
  Count(known, info->size);
  if (known.granted) {
    GoFar(known);
  } else {
    AskHome(known);
  }
  SchedulePump();
}

void Loader::GetFirst(Load& load) {
  const uint64_t share = context_->options.max_planning_bytes / kShareOfPlanning;
  const uint64_t left = share - std::min(share, first_bytes_);
  const uint64_t size = std::min(std::max(std::bit_floor(left / 16), kSmallFirst),
                                 context_->options.first_part_bytes);
  load.first = std::make_shared<Buffer>(size);
  first_bytes_ += size;
  Count(load, size);
  load.far_began = context_->Now();
  FarGet get;
  get.uri = load.want.name;
  get.length = size;
  get.whole = false;
  get.into = load.first->span();
  get.deadline = context_->Now() + kFarDeadline;
  context_->env.far->Get(std::move(get),
                         [this, key = load.want.key, id = load.id, first = load.first](
                             const Status& status, const FarInfo& info, uint64_t hash) {
                           if (Load* getting = Find(key, id)) OnFirst(*getting, status, info, hash);
                         });
}

void Loader::OnFirst(Load& load, const Status& status, const FarInfo& info, uint64_t hash) {
  CountRequests(load, info.requests);
  if (!status.ok()) return Finish(load.want.key, status);
  far_latency_ = (far_latency_ * 7 + (context_->Now() - load.far_began)) / 8;
  const uint64_t landed = std::min<uint64_t>(info.size, load.first->size());
  counters_.far_bytes += landed;
  if (info.size > segment_bytes_) return Finish(load.want.key, TooLarge(info.size));
  Load& known = Learned(load, info);
  if (landed == info.size) {
    known.first_hash = hash;
    Count(known, info.size);
    return TakeFirst(known);
  }
  Count(known, 0);
  rests_.push_back({known.want.key, known.id});
  SchedulePump();
}

// The only bytes of objects that this thread copies, but for small ones on the disk: the slot cannot be
// had before the size is known.
// Of 30 KB that takes 4 us, of the most, 256 KiB, 36 us (both cold, measured); to ask for the size
// before would take a far store's round trip, and of this thread another call and its answer.
void Loader::TakeFirst(Load& load) {
  if (!HasRoom(load, &Loader::TakeFirst)) return;
  if (load.want.size > 0) std::memcpy(load.into.data(), load.first->data(), load.want.size);
  DropFirst(load);
  Deliver(load, load.first_hash);
}

void Loader::DropFirst(Load& load) {
  if (load.first == nullptr) return;
  first_bytes_ -= load.first->size();
  load.first.reset();
}

// The load under its own name from now on. Nothing else brings this version: it would have waited
// for what came.
Loader::Load& Loader::Learned(Load& load, const FarInfo& info) {
  auto node = loads_.extract(load.want.key);
  node.key().version = HashVersion(info.etag, info.size);
  load.want.key = node.key();
  load.want.size = info.size;
  load.want.etag = info.etag;
  auto placed = loads_.insert(std::move(node));
  HF_CHECK(placed.inserted);
  return placed.position->second;
}

void Loader::Deliver(Load& load, uint64_t hash) {
  ObjectKey key = load.want.key;
  context_->tier->Commit(std::exchange(load.slot, 0), hash, 0);
  ++done_objects_;
  done_bytes_ += load.want.size;
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
  if (load.together) --together_;
  DropFirst(load);
  if (load.slot != 0) context_->tier->Abort(load.slot);
  if (status.ok()) {
    commitments_->Arrived(key);
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

// --- How fast ------------------------------------------------------------------------------------

void Loader::Tick() {
  const NodeOptions& options = context_->options;
  bool backlog = queue_.objects() > 0 || loads_.size() >= options.max_loads / 2;
  if (backlog && done_objects_ > 0) {  // busy all the time: what was done says how slow we are
    uint64_t modelled_us =
        done_objects_ * 1'000'000 / std::max<uint64_t>(options.far_objects_per_s, 1) +
        done_bytes_ * 1'000'000 / std::max<uint64_t>(options.far_bytes_per_s, 1);
    int64_t permille = static_cast<int64_t>(1'000'000'000 / std::max<uint64_t>(modelled_us, 1));
    slowness_permille_ =
        std::clamp<int64_t>((slowness_permille_ * 3 + permille) / 4, 10, 1'000'000);
  }
  done_objects_ = done_bytes_ = 0;
}

RateModel Loader::Rate() const {
  const NodeOptions& options = context_->options;
  auto slowness = static_cast<uint64_t>(slowness_permille_);
  RateModel rate;
  rate.ns_per_object = 1'000'000 * slowness / std::max<uint64_t>(options.far_objects_per_s, 1);
  rate.ns_per_mib =
      (kMiB * 1'000 / std::max<uint64_t>(options.far_bytes_per_s / 1'000, 1)) * slowness / 1'000;
  rate.start = far_latency_;
  rate.start = rate.Finish(queue_.objects() + loads_.size(), queue_.bytes() + load_bytes_);
  return rate;
}

}  // namespace holdfast::cached
