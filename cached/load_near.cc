// SPDX-License-Identifier: Apache-2.0
// The part of the loader that looks near: on this node's disk, and with those whom the object's home
// names.
#include <utility>

#include "base/hash.h"
#include "cached/loader.h"

namespace holdfast::cached {

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
  if (info.size == known.want.size && OnlyBelow(known)) return Finish(known.want.key, {});
  known.found = *std::move(found);
  TakeFromDisk(known);
}

// It was promised on the disk, and there it is.
bool Loader::OnlyBelow(const Load& load) const {
  return load.want.waiters.empty() && !commitments_->WantedUntil(load.want.key) &&
         commitments_->WantedBelow(load.want.key);
}

void Loader::TakeFromDisk(Load& load) {
  const disk::Head& head = load.found->head;
  if (load.want.local) {  // until it is here, it stays local: its name is no leave to go far
    load.want.size = head.entry.size;
    load.want.name = head.name;
    load.want.etag = head.etag;
  }
  if (load.want.size != head.entry.size) {  // somebody's list is wrong about it
    load.found.reset();
    NotOnDisk(load);
    return SchedulePump();
  }
  if (!HasRoom(load, &Loader::TakeFromDisk)) return;
  context_->disk->Read(*load.found, load.into,
                       [this, key = load.want.key, id = load.id](const Status& read) {
                         Load* reading = Find(key, id);
                         if (reading == nullptr) return;
                         const uint64_t hash = reading->found->head.payload_hash;
                         reading->expires_s = reading->found->head.expires_s;
                         reading->found.reset();
                         if (!read.ok()) {
                           NotOnDisk(*reading);
                           return SchedulePump();
                         }
                         ++counters_.disk_objects;
                         counters_.disk_bytes += reading->want.size;
                         Deliver(*reading, hash, &disk_pace_);
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
      // On its disk, perhaps: then it comes into its memory first.
      return TakeFromPeer(load, load.home, BulkMode::kWait);
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
  if (!right || HasExpired(outcome.expires_s, context_->env.clock->Wall()))
    return PeerFailed(*load);
  ++counters_.peer_objects;
  counters_.peer_bytes += outcome.size;
  load->expires_s = outcome.expires_s;
  Deliver(*load, outcome.hash, &far_pace_);
}

}  // namespace holdfast::cached
