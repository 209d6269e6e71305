// SPDX-License-Identifier: Apache-2.0
#include "cached/loader.h"

#include <algorithm>
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
      queue_(commitments) {}

// --- What is to be loaded, and in which order ----------------------------------------------------

void Loader::Enqueue(LoadBatch batch) {
  queue_.Add(std::move(batch));
  SchedulePump();
}

bool Loader::NextWant(Want* want) {
  if (!urgent_.empty()) {
    *want = std::move(urgent_.front());
    urgent_.pop_front();
    return true;
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
  auto loading = miss.version == 0 ? loads_.lower_bound(key) : loads_.find(key);
  if (loading != loads_.end() && loading->first.oid == miss.oid) {
    loading->second.want.waiters.push_back(std::move(done));
    return;
  }
  if (context_->tier->Find(miss.oid, miss.version)) return later(std::move(done), {});
  Want want;
  if (queue_.Find(key, &want)) {
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
  if (miss.version == 0 || HashVersion(miss.etag, miss.size) != miss.version) {
    return HeadFirst(std::move(miss), std::move(done));
  }
  // What cannot be promised may fit a segment all the same.
  if (miss.size > segment_bytes_) {
    return later(
        std::move(done),
        Status::NoSpace("an object of " + FormatBytes(miss.size) + " is too large for node " +
                        std::to_string(context_->options.node) + ", whose segments have " +
                        FormatBytes(segment_bytes_)));
  }
  want.key = key;
  want.size = miss.size;
  want.name = std::move(miss.name);
  want.etag = std::move(miss.etag);
  want.waiters.push_back(std::move(done));
  AddUrgent(std::move(want));
}

// One HEAD for all who ask meanwhile.
void Loader::HeadFirst(bulk::ReadMiss miss, std::function<void(Status)> done) {
  if (asking_versions_ >= kMaxUrgent) {
    context_->env.clock->At(context_->Now(), [done = std::move(done)] {
      done(Status::NoSpace("too many names wait for their versions here"));
    });
    return;
  }
  ++asking_versions_;
  Oid oid = miss.oid;
  std::string name = miss.name;
  auto& waiting = heads_[oid];
  waiting.emplace_back(std::move(miss), std::move(done));
  if (waiting.size() > 1) return;
  context_->env.far->Head(name, context_->Now() + kFarDeadline,
                          [this, oid](const Result<FarInfo>& info) { OnHead(oid, info); });
}

void Loader::OnHead(const Oid& oid, const Result<FarInfo>& info) {
  ++counters_.far_requests;
  auto waiting = std::move(heads_[oid]);
  heads_.erase(oid);
  asking_versions_ -= waiting.size();
  for (auto& [miss, done] : waiting) {
    if (!info.ok()) {
      done(info.status());
      continue;
    }
    VersionHash version = HashVersion(info->etag, info->size);
    if (miss.version != 0 && miss.version != version) {
      done(Status::Changed("\"" + miss.name + "\" has changed since it was listed; list it again"));
      continue;
    }
    miss.version = version;
    miss.size = info->size;
    miss.etag = info->etag;
    OnMiss(std::move(miss), std::move(done));
  }
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

void Loader::Pump() {
  auto has_room = [this] {
    return loads_.size() < context_->options.max_loads &&
           (loads_.empty() || load_bytes_ < context_->options.max_load_bytes);
  };
  for (size_t begun = 0; has_room(); ++begun) {
    if (begun == kMaxBegins) {  // what is here already takes no room: the rest in another event
      SchedulePump();
      break;
    }
    Want want;
    if (!NextWant(&want)) break;
    Begin(std::move(want));
  }
  FlushAsks();
  FlushPeerReads();
  FlushFetched();
}

// --- One object's way ----------------------------------------------------------------------------

Loader::Load* Loader::Find(const ObjectKey& key, uint64_t id) {
  auto it = loads_.find(key);
  return it == loads_.end() || it->second.id != id ? nullptr : &it->second;
}

void Loader::Begin(Want want) {
  ObjectKey key = want.key;
  if (context_->tier->Find(key.oid, key.version)) {
    commitments_->Arrived(key);
    for (auto& waiter : want.waiters) waiter({});
    return;
  }
  if (auto it = loads_.find(key); it != loads_.end()) {
    for (auto& waiter : want.waiters) it->second.want.waiters.push_back(std::move(waiter));
    return;
  }
  Load& load = loads_[key];
  load.id = next_id_++;
  load_bytes_ += want.size;
  load.want = std::move(want);
  load.home = membership_->HomeOf(key.oid);
  AskHome(load);
}

// Asked again when a peer could not give the object: one of all who waited for it there is sent.
void Loader::AskHome(Load& load) {
  if (load.asks++ == kMaxAsks) return GoFar(load);
  if (load.home == context_->options.node) {
    Home::Decision decision = home_->Consider(load.want.key, load.home, load.tried);
    return OnVerdict(load, decision.verdict, decision.loader);
  }
  if (membership_->Reachable(load.home) == nullptr) return GoFar(load);
  asks_[load.home].push_back({load.want.key, load.id});
}

void Loader::FlushAsks() {
  for (auto& [home, wants] : asks_) {
    for (size_t first = 0; first < wants.size(); first += kAskBatch) {
      size_t count = std::min(kAskBatch, wants.size() - first);
      wire::Ask ask{.id = next_id_++,
                    .oids = Buffer(count * 16),
                    .versions = Buffer(count * 8),
                    .tried = Buffer(count * 2)};
      auto& under_way = asked_[ask.id];
      under_way.first = home;
      for (size_t i = 0; i < count; ++i) {
        const PeerWant& want = wants[first + i];
        StoreAs(ask.oids.data() + 16 * i, want.key.oid.hi);
        StoreAs(ask.oids.data() + 16 * i + 8, want.key.oid.lo);
        StoreAs(ask.versions.data() + 8 * i, want.key.version);
        const Load* load = Find(want.key, want.load);
        StoreAs(ask.tried.data() + 2 * i, load == nullptr ? kNoNode : load->tried);
        under_way.second.push_back(want);
      }
      uint64_t id = ask.id;
      context_->env.clock->At(context_->Now() + kAskTimeout, [this, id] { AskTimedOut(id); });
      context_->Send(membership_->peers().at(home).connection, std::move(ask));
    }
  }
  asks_.clear();
}

void Loader::AskTimedOut(uint64_t ask) {
  auto it = asked_.find(ask);
  if (it == asked_.end()) return;
  auto [home, wants] = std::move(it->second);
  asked_.erase(it);
  membership_->Suspect(home);
  for (const PeerWant& want : wants) {
    if (Load* load = Find(want.key, want.load)) GoFar(*load);
  }
  SchedulePump();
}

void Loader::OnAnswer(PeerId from, const wire::Answer& answer) {
  auto it = asked_.find(answer.id);
  if (it == asked_.end() || !membership_->IsConnectionTo(it->second.first, from)) return;
  auto [home, wants] = std::move(it->second);
  asked_.erase(it);
  for (size_t i = 0; i < wants.size(); ++i) {
    Load* load = Find(wants[i].key, wants[i].load);
    if (load == nullptr) continue;
    if (i >= answer.verdicts.size()) {  // an answer to fewer than were asked
      GoFar(*load);
      continue;
    }
    OnVerdict(*load, static_cast<wire::Verdict>(answer.verdicts.data()[i]),
              LoadAs<uint16_t>(answer.loaders.data() + 2 * i));
  }
  SchedulePump();
}

void Loader::OnVerdict(Load& load, wire::Verdict verdict, NodeId loader) {
  switch (verdict) {
    case wire::Verdict::kHave:
      return TakeFromPeer(load, load.home, BulkMode::kLook);
    case wire::Verdict::kLoading:
      return TakeFromPeer(load, loader, BulkMode::kWait);
    case wire::Verdict::kGo:
      load.granted = true;
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
  if (!HasRoom(load, &Loader::GoFar)) return;
  load.far_began = context_->Now();
  ++counters_.far_requests;
  counters_.far_bytes += load.want.size;
  if (Commitments::Job* job = commitments_->Find(load.want.job)) {
    ++job->progress.far_requests;
    job->progress.far_bytes += load.want.size;
  }
  FarGet get;
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
  if (status.ok() && HashVersion(info.etag, info.size) != key.version) {
    status = Status::Changed("\"" + load->want.name +
                             "\" is not the version that was listed; list it again");
  }
  if (!status.ok()) return Finish(key, status);
  far_latency_ = (far_latency_ * 7 + (context_->Now() - load->far_began)) / 8;
  Deliver(*load, hash);
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
  load_bytes_ -= load.want.size;
  if (load.slot != 0) context_->tier->Abort(load.slot);
  if (status.ok()) {
    commitments_->Arrived(key);
  } else {
    ++counters_.failed;
    commitments_->Failed(key, status);
  }
  if (load.granted && load.home == context_->options.node) {
    home_->Fetched(key, load.home, status.ok());
  } else if (load.granted) {
    fetched_[{load.home, status.ok()}].push_back(key);
  }
  for (auto& waiter : load.want.waiters) waiter(status);
  SchedulePump();
}

void Loader::FlushFetched() {
  for (auto& [to, keys] : std::exchange(fetched_, {})) {
    const Membership::Peer* peer = membership_->Reachable(to.first);
    if (peer == nullptr) continue;
    for (size_t first = 0; first < keys.size(); first += kAskBatch) {
      size_t count = std::min(kAskBatch, keys.size() - first);
      wire::Fetched message{
          .loaded = to.second, .oids = Buffer(count * 16), .versions = Buffer(count * 8)};
      for (size_t i = 0; i < count; ++i) {
        StoreAs(message.oids.data() + 16 * i, keys[first + i].oid.hi);
        StoreAs(message.oids.data() + 16 * i + 8, keys[first + i].oid.lo);
        StoreAs(message.versions.data() + 8 * i, keys[first + i].version);
      }
      context_->Send(peer->connection, std::move(message));
    }
  }
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
