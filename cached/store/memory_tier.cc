// SPDX-License-Identifier: Apache-2.0
#include "cached/store/memory_tier.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "cached/store/memory_core.h"

namespace holdfast::store {
namespace {

// Marks that one Maintain looks at: each costs about two cache misses.
constexpr uint64_t kMarksPerMaintain = 8192;
// Victims of one allocation of which reclaim keeps what was read again: what is kept is copied, and
// somebody waits.
constexpr uint32_t kMostKeeping = 4;
// The longest name and ETag that the wire carries; a promised object's record has at most these.
constexpr uint64_t kLongestText = 4096 + 256;

RecordView ViewOf(const shm::RecordHeader* record) {
  return {.oid = record->oid,
          .version = record->version,
          .name = NameOf(record),
          .etag = EtagOf(record),
          .payload = {PayloadOf(record), record->size},
          .payload_hash = record->payload_hash,
          .expires_s = record->expires_s};
}

}  // namespace

// Few segments have few classes: each may leave one segment partly filled.
uint32_t MemoryTier::Core::HoldClasses(uint32_t segments) {
  return std::clamp<uint32_t>(segments / 32, 1, kMaxHoldClasses);
}

uint64_t MemoryTier::Core::MaxObjectBytes(const MemoryTierOptions& options,
                                          uint64_t segment_bytes) {
  const uint64_t text = std::min(kLongestText, segment_bytes / 16);
  const uint64_t most = segment_bytes - kFirstRecord - shm::kRecordAlign - text;
  if (options.max_object_bytes != 0) return std::min(options.max_object_bytes, most);
  return segment_bytes / 4 - shm::kRecordAlign - text;
}

Reattached MemoryTier::Core::Open(ByteSpan memory, const MemoryTierOptions& options) const {
  HF_CHECK(memory.size() >= region.plan().region_bytes);
  const bool carries = region.Carries();
  region.Format(options.node, options.incarnation, !carries);
  return carries ? Reattach(region) : Reattached();
}

// A full index is relieved like full segments: by taking back what nobody holds. (Too many versions
// of one object, which share their two buckets, are not worth that.)
std::optional<uint32_t> MemoryTier::Core::ReserveEntry(const Oid& oid, Time now) {
  std::optional<uint32_t> slot = index.Reserve(oid);
  for (uint32_t tries = 0; !slot && tries < region.segments(); ++tries) {
    if (index.used() < index.capacity()) return slot;
    const Reclaim::Outcome outcome =
        RunReclaim(now, {.keep_reread = tries < kMostKeeping, .unheld = true});
    if (outcome == Reclaim::Outcome::kNothing && segments.SealOpen()) continue;
    if (outcome != Reclaim::Outcome::kEmptied) return slot;
    segments.FreeUnpinned();
    slot = index.Reserve(oid);
  }
  return slot;
}

Result<Place> MemoryTier::Core::PlaceFor(uint32_t owner, uint64_t bytes, Time now) {
  const bool promised = owner != kFreshClass && owner != kKeptClass;
  const uint64_t segment_bytes = region.segment_bytes();
  // A round either ends or empties a segment; in a tier full of promises several give one.
  for (uint32_t round = 0; round < 4 * region.segments() + 64; ++round) {
    if (std::optional<Place> place = segments.Append(owner, bytes, kMoveReserve)) return *place;
    if (segments.FreeUnpinned() > 0) continue;
    const bool keep = !promised && round < kMostKeeping;
    if (RunReclaim(now, {.min_gain = segment_bytes / 4, .keep_reread = keep}) ==
        Reclaim::Outcome::kEmptied) {
      continue;
    }
    if (!promised) break;  // not worth moving many promises for
    if (std::optional<Place> place = segments.AppendToAnyHold(bytes)) return *place;
    if (RunReclaim(now, {.min_gain = segment_bytes / 64}) != Reclaim::Outcome::kEmptied) break;
  }
  return NoSpace(bytes);
}

Status MemoryTier::Core::NoSpace(uint64_t bytes) const {
  const uint32_t pinned = segments.waiting() + segments.PinnedSealed();
  std::string why = pinned > region.segments() / 4
                        ? "readers pin " + std::to_string(pinned) + " of " +
                              std::to_string(region.segments()) + " segments"
                        : FormatBytes(records.counters().held_bytes) + " of " +
                              FormatBytes(region.segments() * region.segment_bytes()) +
                              " are promised";
  return Status::NoSpace("no room in memory for " + FormatBytes(bytes) + ": " + why);
}

void MemoryTier::Core::WriteHeader(Place place, const RecordSpec& spec, Time now) const {
  shm::RecordHeader* record = region.record(place);
  *record = {.magic = shm::kRecordMagic,
             .name_bytes = static_cast<uint16_t>(spec.name.size()),
             .etag_bytes = static_cast<uint16_t>(spec.etag.size()),
             .oid = spec.oid,
             .version = spec.version,
             .size = static_cast<uint32_t>(spec.size),
             .expires_s = 0,
             .payload_hash = 0,
             .written_us = (now - spec.age).us,
             .header_hash = 0};
  std::byte* text = PayloadOf(record) + spec.size;
  std::copy_n(spec.name.data(), spec.name.size(), reinterpret_cast<char*>(text));
  std::copy_n(spec.etag.data(), spec.etag.size(), reinterpret_cast<char*>(text) + spec.name.size());
}

void MemoryTier::Core::DrainMarks() {
  sessions->DrainMarks(
      region.segment_bytes(), kMarksPerMaintain, [&](uint32_t segment, uint64_t offset) {
        ++marks;
        const Segment& s = segments[segment];
        if (offset < kFirstRecord || offset >= s.end) return;
        // What lies there need not be a header; an entry that leads there says that it is.
        const uint32_t slot =
            index.FindPlace(region.record(Place{segment, offset})->oid, {segment, offset});
        if (slot == Index::kNone) return;
        if (s.owner == kGuestClass) ++read_guests;
        index.AddRead(slot);
      });
}

// Marks say where a record lay: they are of no use, and would count for another record, once the
// segment is used again.
Reclaim::Outcome MemoryTier::Core::RunReclaim(Time now, const Reclaim::Wish& wish) {
  DrainMarks();
  return reclaim.Run(now, wish);
}

MemoryTier::MemoryTier(ByteSpan region, const shm::RegionPlan& plan,
                       const MemoryTierOptions& options, Sessions* sessions)
    : core_(std::make_unique<Core>(region, plan, options, sessions)) {}

MemoryTier::~MemoryTier() = default;

std::optional<RecordView> MemoryTier::Find(const Oid& oid, VersionHash version) const {
  const uint32_t slot = core_->records.FindReadable(oid, version);
  if (slot == Index::kNone) return std::nullopt;
  return ViewOf(core_->region.record(core_->index.entry(slot)));
}

void MemoryTier::FindMany(std::span<const Oid> oids, std::span<const VersionHash> versions,
                          Bitmap* here, Bitmap* held) const {
  core_->index.FindMany(oids, versions, core_->records.Wall(), here, held);
}

Status MemoryTier::Core::CheckFits(const RecordSpec& spec) const {
  const uint64_t most = region.segment_bytes() - kFirstRecord;
  if (spec.name.size() > UINT16_MAX || spec.etag.size() > UINT16_MAX || spec.size > most ||
      shm::RecordBytes(spec.size, spec.name.size(), spec.etag.size()) > most) {
    return Status::Invalid("an object of " + FormatBytes(spec.size) +
                           " does not fit a segment of " + FormatBytes(region.segment_bytes()) +
                           "; raise memory.segment");
  }
  return {};
}

MemoryTier::Slot MemoryTier::Core::Begin(uint32_t entry, Place place, const RecordSpec& spec,
                                         Time now) {
  WriteHeader(place, spec, now);
  const uint64_t id = next_id++;
  allocated.emplace(id, Allocated{entry, place});
  return Slot{id, {PayloadOf(region.record(place)), spec.size}};
}

Result<MemoryTier::Slot> MemoryTier::Allocate(const RecordSpec& spec, Time now,
                                              std::optional<Time> hold_until) {
  HF_RETURN_IF_ERROR(core_->CheckFits(spec));
  const uint64_t bytes = shm::RecordBytes(spec.size, spec.name.size(), spec.etag.size());
  const std::optional<uint32_t> entry = core_->ReserveEntry(spec.oid, now);
  if (!entry) {
    return Status::NoSpace("no room in the index, which has " + FormatCount(core_->index.used()) +
                           " of at most " + FormatCount(core_->index.capacity()) +
                           " objects, for one more; raise memory.index_objects");
  }
  const uint32_t owner = hold_until ? HoldClassFor(std::max(*hold_until - now, Duration(0)),
                                                   core_->segments.hold_classes())
                                    : core_->reclaim.RingFor(spec.oid);
  Result<Place> place = core_->PlaceFor(owner, bytes, now);
  if (!place.ok()) {
    core_->index.ReleaseReserved(*entry);
    return place.status();
  }
  return core_->Begin(*entry, *place, spec, now);
}

void MemoryTier::Commit(uint64_t slot, uint64_t payload_hash, uint32_t holds, uint32_t expires_s) {
  auto it = core_->allocated.find(slot);
  HF_CHECK(it != core_->allocated.end() && holds <= Index::kMaxHolds);
  const Core::Allocated a = it->second;
  core_->allocated.erase(it);
  shm::RecordHeader* record = core_->region.record(a.place);
  record->payload_hash = payload_hash;
  record->expires_s = expires_s;
  record->header_hash = HeaderHash(record);
  const uint32_t there = core_->index.Find(record->oid, record->version);
  if (there == Index::kNone) {
    core_->records.Link(a.slot, a.place, static_cast<uint16_t>(holds));
    if (core_->segments[a.place.segment].owner == kGuestClass) ++core_->taken_guests;
  } else {
    core_->index.ReleaseReserved(a.slot);
    if (core_->records.CanReplace(there, a.place)) core_->records.Replace(there, a.place);
    const uint32_t sum = std::min<uint32_t>(core_->index.holds(there) + holds, Index::kMaxHolds);
    core_->records.SetHolds(there, static_cast<uint16_t>(sum));
  }
  core_->segments.WriterDone(a.place.segment);
}

void MemoryTier::Abort(uint64_t slot) {
  auto it = core_->allocated.find(slot);
  HF_CHECK(it != core_->allocated.end());
  core_->index.ReleaseReserved(it->second.slot);
  core_->segments.WriterDone(it->second.place.segment);
  core_->allocated.erase(it);
}

void MemoryTier::Core::SetHolds(uint32_t slot, uint32_t holds, Held* after) {
  records.SetHolds(slot, static_cast<uint16_t>(holds));
  if (after != nullptr) *after = {records.BytesOf(slot), holds};
}

bool MemoryTier::Hold(const Oid& oid, VersionHash version, Held* after) {
  const uint32_t slot = core_->records.FindReadable(oid, version);
  if (slot == Index::kNone || core_->index.holds(slot) == Index::kMaxHolds) return false;
  core_->SetHolds(slot, core_->index.holds(slot) + 1u, after);
  return true;
}

bool MemoryTier::Unhold(const Oid& oid, VersionHash version, Held* after) {
  const uint32_t slot = core_->index.Find(oid, version);
  if (slot == Index::kNone || core_->index.holds(slot) == 0) return false;
  core_->SetHolds(slot, core_->index.holds(slot) - 1u, after);
  return true;
}

void MemoryTier::SetHoldUntil(std::function<Time(const Oid&, VersionHash)> hold_until) {
  core_->reclaim.SetHoldUntil(std::move(hold_until));
}

void MemoryTier::LookAtTheClock() { core_->records.LookAtTheClock(); }

bool MemoryTier::MayExpire() const { return core_->records.may_expire(); }

void MemoryTier::SetBelow(DiskTier* disk) {
  core_->reclaim.SetBelow(disk);
  core_->descent.SetDisk(disk);
}

void MemoryTier::SetOutlet(Outlet outlet) {
  core_->descent.SetOutlet(std::move(outlet), [this] { core_->DrainMarks(); });
}

void MemoryTier::MarkRead(const Oid& oid, VersionHash version) {
  const uint32_t slot = core_->index.Find(oid, version);
  if (slot != Index::kNone) core_->index.AddRead(slot);
}

bool MemoryTier::Drop(const Oid& oid, VersionHash version) {
  const uint32_t slot = core_->index.Find(oid, version);
  if (slot == Index::kNone || core_->index.holds(slot) != 0) return false;
  core_->records.Unlink(slot);
  return true;
}

void MemoryTier::ForEach(const Visit& visit) const {
  for (uint32_t segment = 0; segment < core_->region.segments(); ++segment)
    ForEachIn(segment, visit);
}

void MemoryTier::ForEachIn(uint32_t segment, const Visit& visit) const {
  for (uint64_t offset = kFirstRecord; offset < core_->segments[segment].end;) {
    const shm::RecordHeader* record = core_->region.record(Place{segment, offset});
    const uint32_t slot = core_->index.FindPlace(record->oid, {segment, offset});
    if (slot != Index::kNone) visit(ViewOf(record), core_->index.holds(slot) != 0);
    offset += RecordBytesOf(*record);
  }
}

uint32_t MemoryTier::slots() const { return core_->index.slot_count(); }

void MemoryTier::ListSlots(uint32_t first, uint32_t last,
                           const std::function<void(const Listed& record)>& visit) const {
  constexpr uint32_t kGroup = 64;
  for (uint32_t base = first; base < last; base += kGroup) {
    const uint32_t end = std::min(last, base + kGroup);
    for (uint32_t slot = base; slot < end; ++slot) {
      if (const shm::Entry e = core_->index.entry(slot))
        __builtin_prefetch(core_->region.record(e));
    }
    for (uint32_t slot = base; slot < end; ++slot) {
      const shm::Entry e = core_->index.entry(slot);
      if (e == 0 || core_->records.Expired(slot)) continue;
      visit({.oid = core_->region.record(e)->oid,
             .since = core_->records.Since(slot),
             .held = core_->index.holds(slot) != 0,
             .ring = core_->records.RingOf(slot)});
    }
  }
}

const EvictionCounts& MemoryTier::evictions() const { return core_->reclaim.evictions(); }

void MemoryTier::ForEachVersion(const Oid& oid, const Visit& visit) const {
  core_->index.ForEachVersion(oid, [&](uint32_t slot) {
    visit(ViewOf(core_->region.record(core_->index.entry(slot))), core_->index.holds(slot) != 0);
  });
}

void MemoryTier::Maintain(Time now, uint64_t budget_bytes) {
  core_->segments.SetNow(now);
  core_->records.LookAtTheClock();
  core_->DrainMarks();
  core_->segments.FreeUnpinned();
  RebalanceGrants(core_->region, *core_->sessions);
  const Reclaim::Wish wish{.budget_bytes = budget_bytes,
                           .min_gain = core_->region.segment_bytes() / 4,
                           .keep_reread = true};
  core_->descent.Maintain(now, core_->ahead(), wish.min_gain);
  if (core_->segments.free() + core_->segments.waiting() >= core_->low_water) return;
  core_->reclaim.Run(now, wish);
  core_->segments.FreeUnpinned();
}

uint64_t MemoryTier::PromisableBytes() const {
  const uint32_t all = core_->region.segments();
  const uint32_t rings = core_->segments.kept_class() == kFreshClass ? 1 : 2;
  const uint32_t aside = all / 4 + core_->segments.hold_classes() + rings + core_->low_water;
  const uint64_t text = std::min(kLongestText, core_->region.segment_bytes() / 16);
  const uint64_t unused = kFirstRecord + shm::RecordBytes(core_->max_object_bytes, text, 0);
  return all > aside ? (all - aside) * (core_->region.segment_bytes() - unused) : 0;
}

uint64_t MemoryTier::max_object_bytes() const { return core_->max_object_bytes; }
uint64_t MemoryTier::segment_bytes() const { return core_->region.segment_bytes(); }

TierStats MemoryTier::Stats() const {
  const RecordCounters& records = core_->records.counters();
  const ReclaimCounters& reclaim = core_->reclaim.counters();
  return {.object_bytes = core_->region.segments() * core_->region.segment_bytes(),
          .live_bytes = records.live_bytes,
          .live_objects = records.live_objects,
          .held_bytes = records.held_bytes,
          .held_objects = records.held_objects,
          .segments = core_->region.segments(),
          .index_objects = core_->index.capacity(),
          .free_segments = core_->segments.free(),
          .waiting_segments = core_->segments.waiting(),
          .dropped_objects = reclaim.dropped_objects,
          .dropped_bytes = reclaim.dropped_bytes,
          .descended_objects = reclaim.descended_objects,
          .moved_bytes = reclaim.moved_bytes,
          .found_objects = core_->found.objects,
          .marks = core_->marks,
          .guest_segments = core_->segments.guests(),
          .taken_guests = core_->taken_guests,
          .read_guests = core_->read_guests,
          .kept_guests = reclaim.kept_guests,
          .dropped_guests = reclaim.dropped_guests};
}

}  // namespace holdfast::store
