// SPDX-License-Identifier: Apache-2.0
// The part of the memory tier that keeps other nodes' records while nobody needs their room.
#include "cached/store/memory_core.h"

namespace holdfast::store {
namespace {

// Of the index: guests leave so much of it alone.
constexpr uint64_t kIndexPart = 16;

}  // namespace

// What is promised and not here yet finds room by reclaim, too, which takes guests first: to leave it
// free saves that work, and guests that would be gone at once.
uint32_t MemoryTier::Core::NotForGuests(uint64_t promised_bytes) const {
  const uint64_t filled = region.segment_bytes() / 4 * 3;
  const uint64_t promised = (promised_bytes + filled - 1) / filled;
  return low_water + kMoveReserve +
         static_cast<uint32_t>(std::min<uint64_t>(promised, region.segments()));
}

uint64_t MemoryTier::GuestRoom(uint64_t promised_bytes) const {
  const Segments& segments = core_->segments;
  const uint32_t not_for_guests = core_->NotForGuests(promised_bytes);
  if (segments.ToCome() < core_->quarter() || segments.free() < not_for_guests) return 0;
  const uint32_t room = segments.free() - not_for_guests + (core_->GuestsMayGo() ? 1 : 0);
  return room * (core_->region.segment_bytes() - kFirstRecord);
}

// The oldest guests make room for younger ones: else those that nobody wants would stay for as long as
// this node needs nothing.
std::optional<Place> MemoryTier::Core::PlaceForGuest(uint64_t bytes, Time now,
                                                     uint32_t not_for_guests) {
  std::optional<Place> place = segments.Append(kGuestClass, bytes, not_for_guests);
  const bool full = !place && segments.free() >= not_for_guests;
  if (!full || !GuestsMayGo() || reclaim.victim() != Segments::kNone) return place;
  const Reclaim::Wish wish{
      .min_gain = region.segment_bytes() / 4 * 3, .keep_reread = true, .guests_only = true};
  if (RunReclaim(now, wish) != Reclaim::Outcome::kEmptied) return std::nullopt;
  segments.FreeUnpinned();
  return segments.Append(kGuestClass, bytes, not_for_guests);
}

Result<MemoryTier::Slot> MemoryTier::AllocateGuest(const RecordSpec& spec, Time now,
                                                   uint64_t promised_bytes) {
  HF_RETURN_IF_ERROR(core_->CheckFits(spec));
  Index& index = core_->index;
  if (index.used() >= index.capacity() - index.capacity() / kIndexPart) {
    return Status::NoSpace("the index has no room for guests");
  }
  const std::optional<uint32_t> entry = index.Reserve(spec.oid);
  if (!entry) return Status::NoSpace("the index has no room for this guest");
  const uint64_t bytes = shm::RecordBytes(spec.size, spec.name.size(), spec.etag.size());
  const std::optional<Place> place =
      core_->PlaceForGuest(bytes, now, core_->NotForGuests(promised_bytes));
  if (!place) {
    index.ReleaseReserved(*entry);
    return Status::NoSpace("no free memory for guests");
  }
  return core_->Begin(*entry, *place, spec, now);
}

}  // namespace holdfast::store
