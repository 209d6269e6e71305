// SPDX-License-Identifier: Apache-2.0
#include "cached/guests.h"

#include <algorithm>
#include <utility>

#include "base/hash.h"
#include "base/uri.h"
#include "wire/stream_entry.h"

namespace holdfast::cached {

Guests::Guests(const Context* context, const Membership* membership, Commitments* commitments,
               const planner::Calendar* calendar, std::function<bool()> busy)
    : context_(context),
      membership_(membership),
      commitments_(commitments),
      calendar_(calendar),
      busy_(std::move(busy)) {}

// --- 1. Bid --------------------------------------------------------------------------------------

// What is promised, or about to be, and does not lie here yet.
uint64_t Guests::Promised() const {
  const uint64_t held = context_->tier->Stats().held_bytes;
  return calendar_->reserved() - std::min(calendar_->reserved(), held);
}

uint64_t Guests::MostBuffered() const {
  return std::min(context_->options.max_planning_bytes / kShareOfPlanning, kMostBuffered);
}

Room Guests::FreeRoom() const {
  if (!context_->options.spill_peers || busy_()) return {};
  const auto left = [](uint64_t room, uint64_t taken) { return room - std::min(room, taken); };
  Room room{.memory = left(context_->tier->GuestRoom(Promised()), bid_memory_)};
  if (context_->disk != nullptr) {
    room.disk =
        std::min(left(context_->disk->SpareBytes(), bid_disk_), left(MostBuffered(), bid_disk_));
  }
  return room;
}

// A segment's worth at a time, over all: what is being pulled keeps few segments from reclaim.
void Guests::OnOffer(PeerId from, const wire::SpillOffer& offer) {
  const NodeId node = membership_->NodeOf(from);
  const BidId id{node, offer.id};
  wire::SpillBid bid{.id = offer.id};
  if (node != kNoNode && !bids_.contains(id) && bids_.size() < kMaxBids &&
      pulls_.size() < kMaxPulls) {
    const Room room = FreeRoom();
    const uint64_t segment = context_->tier->segment_bytes();
    bid.on_disk = room.memory == 0;
    const uint64_t at_once = segment - std::min(segment, bid_memory_);
    bid.bytes = std::min(offer.bytes, bid.on_disk ? room.disk : std::min(room.memory, at_once));
  }
  if (bid.bytes == 0) {
    ++counters_.refused_offers;
  } else {
    bids_[id] = {bid.bytes, bid.on_disk, context_->Now() + kBidTime};
    (bid.on_disk ? bid_disk_ : bid_memory_) += bid.bytes;
  }
  context_->Send(from, bid);
}

void Guests::Forget(std::map<BidId, Bid>::iterator bid) {
  (bid->second.on_disk ? bid_disk_ : bid_memory_) -= bid->second.bytes;
  bids_.erase(bid);
}

void Guests::Expire() {
  const Time now = context_->Now();
  for (auto it = bids_.begin(); it != bids_.end();) {
    const auto bid = it++;
    if (bid->second.expires <= now) Forget(bid);
  }
}

// --- 2. Pull -------------------------------------------------------------------------------------

void Guests::OnGive(PeerId from, const wire::SpillGive& give) {
  const NodeId node = membership_->NodeOf(from);
  auto bid = bids_.find({node, give.id});
  const Membership::Peer* peer = membership_->Reachable(node);
  if (bid == bids_.end() || peer == nullptr) return;
  const uint64_t id = ++last_pull_;
  Pull& pull = pulls_[id];
  pull.node = node;
  pull.from = from;
  pull.on_disk = bid->second.on_disk;
  pull.bytes = bid->second.bytes;
  pull.id = give.id;
  const uint64_t most = pull.on_disk ? context_->disk->most_record_bytes() : UINT64_MAX;
  pull.guests = GuestsOf(give, pull.bytes, most);
  bids_.erase(bid);  // the pull counts now
  Begin(id, peer->bulk_endpoint);
}

// Those that are what they are said to be, as far as the room that was bid goes.
std::vector<Guests::Guest> Guests::GuestsOf(const wire::SpillGive& give, uint64_t room,
                                            uint64_t most) const {
  std::vector<Guest> guests;
  uint32_t name_begin = 0, etag_begin = 0;
  for (size_t i = 0; i < give.versions.size() / 8; ++i) {
    const uint32_t name_end = LoadAs<uint32_t>(give.name_ends.data() + 4 * i);
    const uint32_t etag_end = LoadAs<uint32_t>(give.etag_ends.data() + 4 * i);
    Guest guest;
    guest.key = {{LoadAs<uint64_t>(give.oids.data() + 16 * i),
                  LoadAs<uint64_t>(give.oids.data() + 16 * i + 8)},
                 LoadAs<uint64_t>(give.versions.data() + 8 * i)};
    guest.size = LoadAs<uint64_t>(give.sizes.data() + 8 * i);
    guest.age = std::chrono::milliseconds(LoadAs<uint32_t>(give.ages.data() + 4 * i));
    guest.name = AsText(give.names.view().subspan(name_begin, name_end - name_begin));
    guest.etag = AsText(give.etags.view().subspan(etag_begin, etag_end - etag_begin));
    name_begin = name_end;
    etag_begin = etag_end;
    if (guest.size > room || wire::IsChunkName(guest.name)) continue;
    if (OidOf(guest.name) != guest.key.oid ||
        HashVersion(guest.etag, guest.size) != guest.key.version) {
      continue;
    }
    const uint64_t bytes = guest.record_bytes();
    if (bytes > std::min(room, most)) continue;
    room -= bytes;
    guests.push_back(std::move(guest));
  }
  return guests;
}

bool Guests::IsHere(const Guest& guest) const {
  const ObjectKey& key = guest.key;
  return context_->tier->Find(key.oid, key.version) ||
         (context_->disk != nullptr && context_->disk->HasOfSize(key.oid, key.version, guest.size));
}

bool Guests::MakeRoom(const Pull& pull, Guest* guest) {
  if (pull.on_disk) {
    guest->buffer = Buffer(guest->size);
    buffered_ += guest->size;
    guest->into = guest->buffer.span();
    return true;
  }
  Result<store::MemoryTier::Slot> slot =
      context_->tier->AllocateGuest({.oid = guest->key.oid,
                                     .version = guest->key.version,
                                     .size = guest->size,
                                     .name = guest->name,
                                     .etag = guest->etag,
                                     .age = guest->age},
                                    context_->Now(), Promised());
  if (!slot.ok()) return false;
  guest->slot = slot->id;
  guest->into = slot->payload;
  return true;
}

void Guests::Begin(uint64_t id, const std::string& endpoint) {
  Pull& pull = pulls_.at(id);
  std::vector<BulkItem> items;
  std::vector<size_t> numbers;
  for (size_t n = 0; n < pull.guests.size(); ++n) {
    Guest& guest = pull.guests[n];
    guest.here = IsHere(guest);
    if (guest.here) continue;
    if (!MakeRoom(pull, &guest)) break;  // to look for it costs the more the less there is
    items.push_back({.oid = guest.key.oid,
                     .version = guest.key.version,
                     .size = guest.size,
                     .name = {},
                     .etag = {},
                     .into = guest.into});
    numbers.push_back(n);
  }
  pull.left = items.size();
  if (items.empty()) return End(id);
  context_->env.network->BulkRead(
      endpoint, BulkMode::kLook, std::move(items), context_->Now() + kPullTime,
      [this, id, numbers = std::move(numbers)](size_t i, const BulkOutcome& outcome) {
        OnRead(id, numbers[i], outcome);
      });
}

// --- 3. Keep -------------------------------------------------------------------------------------

void Guests::OnRead(uint64_t id, size_t n, const BulkOutcome& outcome) {
  Pull& pull = pulls_.at(id);
  Guest& guest = pull.guests[n];
  guest.read = outcome.status.ok() && outcome.version == guest.key.version &&
               outcome.size == guest.size &&
               !HasExpired(outcome.expires_s, context_->env.clock->Wall());
  guest.hash = outcome.hash;
  guest.expires_s = outcome.expires_s;
  if (!pull.on_disk && !guest.read) context_->tier->Abort(guest.slot);
  if (!pull.on_disk && guest.read) {
    context_->tier->Commit(guest.slot, guest.hash, 0, guest.expires_s);
    guest.here = context_->tier->Find(guest.key.oid, guest.key.version).has_value();
    // Somebody may be waiting for it.
    if (guest.here) commitments_->Arrived(guest.key);
    Count(guest);
  }
  if (--pull.left > 0) return;
  if (pull.on_disk) return Write(id);
  End(id);
}

void Guests::Write(uint64_t id) {
  Pull& pull = pulls_.at(id);
  std::vector<store::DiskWriter::Item> items;
  uint64_t room = context_->disk->SpareBytes();  // what was bid may have been used meanwhile
  for (Guest& guest : pull.guests) {
    guest.read = guest.read && guest.record_bytes() <= room;
    if (!guest.read) continue;
    room -= guest.record_bytes();
    items.push_back(store::DiskWriter::ItemOf(guest.key.oid, guest.key.version, guest.name,
                                              guest.etag, guest.buffer.view(), guest.hash,
                                              context_->disk->Stamp(guest.age), guest.expires_s));
  }
  if (items.empty()) return End(id);
  context_->disk->Take(std::move(items), [this, id] {
    for (Guest& guest : pulls_.at(id).guests) {
      if (!guest.read) continue;
      guest.here = context_->disk->HasOfSize(guest.key.oid, guest.key.version, guest.size);
      counters_.disk_objects += guest.here ? 1 : 0;
      Count(guest);
    }
    End(id);
  });
}

void Guests::Count(const Guest& guest) {
  if (!guest.here) return;
  ++counters_.objects;
  counters_.bytes += guest.record_bytes();
}

// --- 4. Tell -------------------------------------------------------------------------------------

void Guests::End(uint64_t id) {
  const Pull pull = std::move(pulls_.extract(id).mapped());
  (pull.on_disk ? bid_disk_ : bid_memory_) -= pull.bytes;
  wire::SpillTaken taken{.id = pull.id};
  for (const Guest& guest : pull.guests) {
    buffered_ -= guest.buffer.size();
    if (!guest.here) continue;
    ++taken.objects;
    taken.bytes += guest.record_bytes();
  }
  const Room room = FreeRoom();
  taken.guest_bytes = room.memory;
  taken.guest_disk_bytes = room.disk;
  context_->Send(pull.from, taken);
  TellHomes(pull);
}

void Guests::TellHomes(const Pull& pull) const {
  std::map<NodeId, std::vector<const Guest*>> homes;
  for (const Guest& guest : pull.guests) {
    if (guest.here) homes[membership_->HomeOf(guest.key.oid)].push_back(&guest);
  }
  for (const auto& [home, guests] : homes) {
    const Membership::Peer* peer = membership_->Reachable(home);
    if (peer == nullptr) continue;  // away, or this node
    wire::Lodged lodged{.oids = Buffer(16 * guests.size()), .versions = Buffer(8 * guests.size())};
    for (size_t i = 0; i < guests.size(); ++i) {
      StoreAs(lodged.oids.data() + 16 * i, guests[i]->key.oid.hi);
      StoreAs(lodged.oids.data() + 16 * i + 8, guests[i]->key.oid.lo);
      StoreAs(lodged.versions.data() + 8 * i, guests[i]->key.version);
    }
    context_->Send(peer->connection, std::move(lodged));
  }
}

Status Guests::CheckBooks() const {
  uint64_t memory = 0, disk = 0, buffered = 0;
  for (const auto& [id, bid] : bids_) (bid.on_disk ? disk : memory) += bid.bytes;
  for (const auto& [id, pull] : pulls_) {
    (pull.on_disk ? disk : memory) += pull.bytes;
    for (const Guest& guest : pull.guests) buffered += guest.buffer.size();
  }
  if (memory != bid_memory_ || disk != bid_disk_ || buffered != buffered_)
    return Status::Corrupt("the books of guests are wrong");
  return {};
}

}  // namespace holdfast::cached
