// SPDX-License-Identifier: Apache-2.0
#include "cached/call_flow.h"

#include <algorithm>
#include <utility>

#include "base/uri.h"

namespace holdfast::cached {

using wire::Refusal;

namespace {

Bitmap OverManifest(const Buffer& bytes, uint32_t count, bool when_empty) {
  return bytes.empty() ? Bitmap(count, when_empty) : Bitmap::FromBytes(bytes.view(), count);
}

Buffer Copy(const Bitmap& bitmap) { return Buffer::CopyOf(bitmap.bytes()); }

}  // namespace

CallFlow::CallFlow(const Context* context, const Planning* planning, PeerId peer, wire::Call call)
    : context_(context),
      planning_(planning),
      peer_(peer),
      call_(std::move(call)),
      received_(context->Now()) {
  expires_ = reserved_until_ = received_ + context->options.offer_ttl;
  until_ = received_ + Hold();
  memory_bytes_ = OwnBytes();
}

uint64_t CallFlow::OwnBytes() const {
  return kFixedBytes + BitmapBytes(call_.count) + call_.asked.size() + call_.offer.size() +
         call_.home.size();
}

Duration CallFlow::Hold() const { return std::min(call_.hold, context_->options.max_hold); }

// --- 1. Begin ------------------------------------------------------------------------------------

void CallFlow::Begin(PeerId peer) {
  peer_ = peer;
  if (manifest_ == nullptr) {
    manifest_ = planning_->manifests->Find(call_.digest);
    if (manifest_ == nullptr) {
      context_->Send(
          peer_, wire::NeedManifest{.job = call_.job, .call = call_.call, .digest = call_.digest});
      return;
    }
    planning_->manifests->Use(call_.digest);
    // An offer's time begins with its bid, however long the manifest took.
    expires_ = reserved_until_ = context_->Now() + context_->options.offer_ttl;
  }
  if (Status status = CheckManifest(); !status.ok()) return Refuse(std::move(status));
  if (chunks_.empty()) {
    asked_ = OverManifest(call_.asked, call_.count, true);
    offer_ = OverManifest(call_.offer, call_.count, false);
    home_ = OverManifest(call_.home, call_.count, false);
    chunks_.resize((call_.count + wire::kChunkObjects - 1) / wire::kChunkObjects);
    for (Buffer* column : {&call_.asked, &call_.offer, &call_.home}) *column = Buffer();
    memory_bytes_ = OwnBytes();
  }
  next_ = 0;
}

Status CallFlow::CheckManifest() const {
  if (manifest_->size() != call_.count) {
    return Status::Invalid("the call names " + std::to_string(call_.count) +
                           " objects, its manifest has " + std::to_string(manifest_->size()));
  }
  if (manifest_->total_bytes() > kMaxListBytes) {
    return Status::Invalid("the sizes in the manifest add up to more than " +
                           FormatBytes(kMaxListBytes));
  }
  return {};
}

void CallFlow::Refuse(Status status) {
  context_->Send(peer_, wire::Bids{.job = call_.job,
                                   .call = call_.call,
                                   .incarnation = context_->options.incarnation,
                                   .status = std::move(status)});
  expires_ = context_->Now();
}

// --- 2. Bid --------------------------------------------------------------------------------------

bool CallFlow::BidSlice() {
  if (manifest_ == nullptr || next_ >= chunks_.size()) return false;
  Chunk& chunk = chunks_[next_];
  uint32_t first = static_cast<uint32_t>(next_) * wire::kChunkObjects;
  ++next_;
  if (!chunk.bid) {
    planner::BidOutcome bids = planner::BidForChunk(InputFor(first));
    Reserve(chunk, bids);
    chunk.keep = std::move(bids.keep);
    chunk.load = std::move(bids.load);
    chunk.spare = std::move(bids.spare);
    chunk.near = std::move(bids.near);
    chunk.bid = true;
  }
  SendBids(first, chunk);
  return next_ < chunks_.size();
}

planner::BidInput CallFlow::InputFor(uint32_t first) const {
  const uint32_t count = std::min(wire::kChunkObjects, manifest_->size() - first);
  Found found = Look(first, count);
  const Room room = RoomForThisCall();
  planner::BidInput input{
      .manifest = manifest_,
      .first = first,
      .count = count,
      .asked = &asked_,
      .offer = &offer_,
      .home = &home_,
      .here = std::move(found.here),
      .held = std::move(found.held),
      .disk = std::move(found.disk),
      .disk_held = std::move(found.disk_held),
      .max_object_bytes = context_->tier->max_object_bytes(),
      .room_bytes = room.memory,
      .record_bytes = [](uint64_t size, uint32_t name) { return shm::RecordBytes(size, name, 0); },
      .name_bytes = call_.name_bytes,
      .least_record_bytes = context_->least_record_bytes};
  if (room.disk == 0) return input;
  input.disk_least_bytes = context_->disk->least_held_bytes();
  input.disk_most_bytes = context_->disk->most_held_bytes();
  input.disk_room_bytes = room.disk;
  input.disk_record_bytes = store::DiskTier::HeldBytes;
  input.disk_least_record_bytes = context_->disk->least_promise_bytes();
  return input;
}

void CallFlow::Reserve(Chunk& chunk, const planner::BidOutcome& bids) {
  const Room wanted{bids.reserved_bytes, bids.disk_reserved_bytes};
  if (call_.dry_run) {
    dry_ += wanted;
    return;
  }
  const Time now = context_->Now();
  if (wanted.memory > 0)
    HF_CHECK(planning_->calendar->Reserve(wanted.memory, now, reserved_until_));
  if (wanted.disk > 0) HF_CHECK(planning_->below->Reserve(wanted.disk, now, reserved_until_));
  chunk.reserved = wanted;
  tentative_ += wanted;
}

CallFlow::Found CallFlow::Look(uint32_t first, uint32_t count) const {
  constexpr uint32_t kGroup = 8'192;  // a multiple of 64
  const store::DiskTier* disk = context_->disk;
  const Bitmap none = disk == nullptr ? Bitmap() : Bitmap(count);
  Found found{Bitmap(count), Bitmap(count), none, none};
  std::vector<Oid> oids;
  std::vector<VersionHash> versions;
  for (uint32_t begin = 0; begin < count; begin += kGroup) {
    uint32_t n = std::min(kGroup, count - begin);
    oids.resize(n);
    versions.resize(n);
    for (uint32_t i = 0; i < n; ++i) {
      oids[i] = manifest_->oid(first + begin + i);
      versions[i] = manifest_->version(first + begin + i);
    }
    Bitmap part_here(n), part_held(n);
    context_->tier->FindMany(oids, versions, &part_here, &part_held);
    found.here.OrAt(begin, part_here);
    found.held.OrAt(begin, part_held);
    if (disk == nullptr) continue;
    Bitmap part_disk(n), part_disk_held(n);
    disk->FindMany(oids, versions, &part_disk, &part_disk_held);
    found.disk.OrAt(begin, part_disk);
    found.disk_held.OrAt(begin, part_disk_held);
  }
  planning_->commitments->AddPending(*manifest_, first, &found.here);
  return found;
}

Room CallFlow::RoomForThisCall() const {
  const Room used = planning_->tentative(call_.job);
  auto left = [this](const planner::Calendar& calendar, uint64_t taken, uint64_t dry) {
    const uint64_t share = calendar.capacity() / 100 * context_->options.job_share_percent;
    const uint64_t room = calendar.Room() - std::min(dry, calendar.Room());
    return std::min(room, share - std::min(share, taken + dry));
  };
  const bool disk = context_->disk != nullptr && context_->disk->writable() &&
                    call_.name_bytes <= store::DiskTier::kUsualText;
  return {left(*planning_->calendar, used.memory, dry_.memory),
          disk ? left(*planning_->below, used.disk, dry_.disk) : 0};
}

void CallFlow::SendBids(uint32_t first, const Chunk& chunk) {
  context_->Send(peer_, wire::Bids{.job = call_.job,
                                   .call = call_.call,
                                   .incarnation = context_->options.incarnation,
                                   .first = first,
                                   .count = static_cast<uint32_t>(chunk.keep.size()),
                                   .keep_t2 = Hold(),
                                   .load_t2 = Hold(),
                                   .rate = planning_->loader->Rate(),
                                   .status = {},
                                   .keep = Copy(chunk.keep),
                                   .load = Copy(chunk.load),
                                   .spare = Copy(chunk.spare),
                                   .near = chunk.near.None() ? Buffer() : Copy(chunk.near),
                                   .near_rate = planning_->loader->DiskRate()});
}

// --- 3. Confirm ----------------------------------------------------------------------------------

void CallFlow::OnConfirm(PeerId peer, wire::Confirm confirm) {
  size_t number = confirm.first / wire::kChunkObjects;
  bool known = confirm.first % wire::kChunkObjects == 0 && number < chunks_.size() &&
               chunks_[number].bid && confirm.count == chunks_[number].keep.size();
  if (!known || call_.dry_run) return RefuseConfirm(peer, confirm, Refusal::kUnknownCall);
  Chunk& chunk = chunks_[number];
  chunk.peer = peer;
  if (chunk.ticket != 0) return;  // its acknowledgement comes when the journal has it
  if (chunk.settled)              // the acknowledgement was lost
    return SendAck(peer, confirm.first, confirm.count, chunk);
  Bitmap keep = Bitmap::FromBytes(confirm.keep.view(), confirm.count);
  Bitmap load = Bitmap::FromBytes(confirm.load.view(), confirm.count);
  Bitmap named = load;
  CheckNames(confirm, &named);
  Release(chunk);
  // The job has ended meanwhile, or the time for which it wanted its objects is over.
  if (planning_->commitments->Find(call_.job) == nullptr || until_ <= context_->Now())
    return RefuseConfirm(peer, confirm, Refusal::kExpired);
  Commitment* commitment = planning_->commitments->Find(call_.job, call_.call);
  // An earlier life had a call of that number, with a t2 of its own; or it is ending.
  const bool another = commitment != nullptr ? commitment->excerpt != nullptr
                                             : planning_->commitments->Has(call_.job, call_.call);
  if (another) return RefuseConfirm(peer, confirm, Refusal::kUnknownCall);
  if (commitment == nullptr) {
    if (planning_->commitments->size() >= Commitments::kMaxCommitments)
      return RefuseConfirm(peer, confirm, Refusal::kNoRoom);
    commitment =
        &planning_->commitments->Create(call_.job, call_.call, manifest_, call_.name_bytes, until_);
    commitment->priority = call_.priority;
  }
  Bitmap refused(confirm.count);  // without asking whether there is room
  bool bad_name = false;
  for (size_t w = 0; w < load.words(); ++w) {
    uint64_t bad = load.word(w) & ~named.word(w);
    bad_name = bad_name || bad != 0;
    // Only what was bid can be promised: it is small enough, and here or on its way.
    uint64_t bid_loads = chunk.load.word(w) | chunk.spare.word(w);
    uint64_t bid = (keep.word(w) & chunk.keep.word(w)) | (load.word(w) & bid_loads);
    refused.set_word(w, bad | ((keep.word(w) | load.word(w)) & ~bid));
    keep.set_word(w, keep.word(w) & chunk.keep.word(w));
    named.set_word(w, named.word(w) & bid_loads);
  }
  if (planning_->planning_bytes() + confirm.names.size() + confirm.etags.size() >
      context_->options.max_planning_bytes) {
    refused.OrAt(0, named);  // no room for their names
    named = Bitmap(confirm.count);
  }
  chunk.refused = planning_->commitments->Admit(*commitment, confirm.first, keep, named);
  chunk.refused.OrAt(0, refused);
  chunk.why = (keep.None() ? Refusal::kNoRoom : Refusal::kGone);
  if (bad_name) chunk.why = Refusal::kBadName;
  if (chunk.refused.None()) chunk.why = Refusal::kNone;
  chunk.settled = true;
  chunk.promised = Bitmap(confirm.count);
  for (size_t w = 0; w < load.words(); ++w) {
    const uint64_t accepted = (keep.word(w) | load.word(w)) & ~chunk.refused.word(w);
    chunk.promised.set_word(w, accepted);
  }
  LoadBatch batch = BatchOf(std::move(confirm));
  Write(*commitment, number, batch);
  KeepLoads(std::move(batch));
  if (AllSettled()) StartLoads();
}

void CallFlow::CheckNames(const wire::Confirm& confirm, Bitmap* load) const {
  size_t n = 0;
  uint32_t name_begin = 0, etag_begin = 0;
  Bitmap all = *load;
  std::string_view text = AsText(confirm.names.view());
  all.ForEach([&](size_t i) {
    uint32_t name_end = LoadAs<uint32_t>(confirm.name_ends.data() + 4 * n);
    uint32_t etag_end = LoadAs<uint32_t>(confirm.etag_ends.data() + 4 * n);
    std::string_view name = text.substr(name_begin, name_end - name_begin);
    bool fits = (name_end - name_begin) + (etag_end - etag_begin) <= call_.name_bytes;
    if (!fits || OidOf(name) != manifest_->oid(confirm.first + static_cast<uint32_t>(i)))
      load->Clear(i);
    name_begin = name_end;
    etag_begin = etag_end;
    ++n;
  });
}

void CallFlow::RefuseConfirm(PeerId peer, const wire::Confirm& confirm, Refusal why) const {
  SendAck(peer, confirm.first, confirm.count,
          Chunk{.refused = Bitmap(confirm.count, true), .why = why});
}

void CallFlow::SendAck(PeerId peer, uint32_t first, uint32_t count, const Chunk& chunk) const {
  const Commitments::Job* job = planning_->commitments->Find(call_.job);
  context_->Send(peer, wire::Ack{.job = call_.job,
                                 .call = call_.call,
                                 .incarnation = context_->options.incarnation,
                                 .tenancy = job == nullptr ? 0 : job->tenancy,
                                 .first = first,
                                 .count = count,
                                 .t2 = std::max(until_ - context_->Now(), Duration(0)),
                                 .rate = planning_->loader->Rate(),
                                 .refused = chunk.refused.None() ? Buffer() : Copy(chunk.refused),
                                 .why = chunk.why});
}

// --- 4. Load: call_loads.cc ----------------------------------------------------------------------

// --- 5. Expire -----------------------------------------------------------------------------------

void CallFlow::Release(Chunk& chunk) {
  const Room reserved = std::exchange(chunk.reserved, {});
  if (reserved.memory > 0) planning_->calendar->Release(reserved.memory, reserved_until_);
  if (reserved.disk > 0) planning_->below->Release(reserved.disk, reserved_until_);
  tentative_ -= reserved;
}

void CallFlow::Expire() {
  for (Chunk& chunk : chunks_) Release(chunk);
  StartLoads();
}

CallFlow::~CallFlow() {
  for (Chunk& chunk : chunks_) Release(chunk);
  if (manifest_ != nullptr) planning_->manifests->Unuse(call_.digest);
}

}  // namespace holdfast::cached
