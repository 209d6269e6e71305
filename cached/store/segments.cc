// SPDX-License-Identifier: Apache-2.0
#include "cached/store/segments.h"

#include <algorithm>
#include <utility>

#include "base/status.h"

namespace holdfast::store {
namespace {

// Among so many of the oldest segments of a ring reclaim chooses: more would let young records leave
// before old ones, fewer would move more held bytes.
uint32_t ReclaimCandidates(uint32_t segments) { return std::clamp<uint32_t>(segments / 16, 2, 16); }

// The fresh ring is to be so much of both, as S3-FIFO's small queue.
constexpr size_t kFreshPart = 10;

bool Contains(const std::vector<uint32_t>& segments, uint32_t segment) {
  return std::find(segments.begin(), segments.end(), segment) != segments.end();
}

}  // namespace

uint32_t HoldClassFor(Duration remaining, uint32_t hold_classes) {
  uint32_t k = 0;
  for (Duration below = 1min; k + 1 < hold_classes && remaining >= below; below *= 2) ++k;
  return k + 1;
}

Segments::Segments(const Region& region, Sessions* sessions, uint32_t hold_classes,
                   const Reattached& found)
    : region_(region),
      sessions_(sessions),
      hold_classes_(hold_classes),
      segments_(region.segments()) {
  open_.fill(kNone);
  tail_.fill(kNone);
  std::vector<uint32_t> in_use;
  for (uint32_t s = region.segments(); s > 0; --s) {
    if (found.segments.size() >= s && found.segments[s - 1].end != 0) {
      in_use.push_back(s - 1);
      continue;
    }
    // Of an earlier daemon it may lead somewhere; the index does not any more.
    std::atomic<uint64_t>& generation = region_.states()[s - 1].generation;
    generation.store(generation.load(std::memory_order_relaxed) | 1, std::memory_order_release);
    segments_[s - 1].use = SegmentUse::kWaiting;
    waiting_.push_back(s - 1);
  }
  std::sort(in_use.begin(), in_use.end(), [&found](uint32_t a, uint32_t b) {
    return std::pair(found.segments[a].youngest_us, a) <
           std::pair(found.segments[b].youngest_us, b);
  });
  for (uint32_t segment : in_use) AddToRing(segment, found.segments[segment]);
  FreeUnpinned();
}

void Segments::AddToRing(uint32_t segment, const Reattached::Segment& found) {
  Segment& s = segments_[segment];
  s.use = SegmentUse::kSealed;
  s.end = found.end;
  s.live_bytes = found.live_bytes;
  if (found.kept) s.owner = kKeptClass;
  JoinRing(segment);
}

Segments::ByAge& Segments::RingOf(const Segment& s) {
  if (s.owner == kGuestClass) return guest_ring_;
  return s.owner == kKeptClass ? kept_ : fresh_;
}

void Segments::JoinRing(uint32_t segment) {
  Segment& s = segments_[segment];
  s.ring_age = next_age_++;
  RingOf(s).emplace(s.ring_age, segment);
}

Place Segments::Take(uint32_t segment, uint64_t bytes) {
  Segment& s = segments_[segment];
  const Place place{segment, s.end};
  s.end += bytes;
  ++s.writers;
  return place;
}

std::optional<Place> Segments::Append(uint32_t owner, uint64_t bytes, uint32_t reserve) {
  uint32_t& open = open_[owner];
  // With a tail to go on with, what large records leave unused is a small record's size.
  if (Fits(tail_[owner], bytes)) return Take(tail_[owner], bytes);
  if (Fits(open, bytes)) return Take(open, bytes);
  if (free_.size() <= reserve) return std::nullopt;
  if (open != kNone) Seal(open);
  open = free_.back();
  free_.pop_back();
  Segment& s = segments_[open];
  s = Segment();
  s.use = SegmentUse::kOpen;
  s.owner = owner;
  if (owner == kGuestClass) ++guests_;
  std::atomic<uint64_t>& generation = region_.states()[open].generation;
  const uint64_t next = (generation.load(std::memory_order_relaxed) & ~kKeptSegment) + 1;
  generation.store(next | (owner == kKeptClass ? kKeptSegment : 0), std::memory_order_release);
  return Take(open, bytes);
}

std::optional<Place> Segments::AppendToAnyHold(uint64_t bytes) {
  for (uint32_t owner = 1; owner <= hold_classes_; ++owner) {
    if (Fits(tail_[owner], bytes)) return Take(tail_[owner], bytes);
    if (Fits(open_[owner], bytes)) return Take(open_[owner], bytes);
  }
  return std::nullopt;
}

void Segments::WriterDone(uint32_t segment) {
  HF_CHECK(segments_[segment].writers > 0);
  --segments_[segment].writers;
  JoinRingIfDone(segment);
}

void Segments::AddHeld(uint32_t segment, uint64_t bytes) {
  const bool stayed = Stays(segment);
  segments_[segment].held_bytes += bytes;
  if (!stayed && Stays(segment)) ++staying_guests_;
}

void Segments::RemoveHeld(uint32_t segment, uint64_t bytes) {
  HF_CHECK(segments_[segment].held_bytes >= bytes);
  const bool stayed = Stays(segment);
  segments_[segment].held_bytes -= bytes;
  if (stayed && !Stays(segment)) --staying_guests_;
  JoinRingIfDone(segment);
}

void Segments::Seal(uint32_t segment) {
  Segment& s = segments_[segment];
  s.use = SegmentUse::kSealed;
  tail_[s.owner] = segment;
  if (s.owner == kFreshClass || s.owner == kKeptClass || s.owner == kGuestClass) {
    JoinRing(segment);
  } else {
    JoinRingIfDone(segment);
  }
}

bool Segments::SealOpen() {
  bool any = false;
  for (uint32_t& open : open_) {
    if (open == kNone || !HasUnheld(open)) continue;
    const uint32_t segment = std::exchange(open, kNone);
    Seal(segment);
    Chosen(segment);  // with nothing more to come it can be taken once its writers are done
    any = true;
  }
  return any;
}

void Segments::JoinRingIfDone(uint32_t segment) {
  Segment& s = segments_[segment];
  if (s.use != SegmentUse::kSealed || s.ring_age != 0 || s.held_bytes != 0 || s.writers != 0)
    return;
  if (tail_[s.owner] == segment) tail_[s.owner] = kNone;
  s.joined = now_;
  JoinRing(segment);
}

bool Segments::CanTake(uint32_t segment) const {
  const Segment& s = segments_[segment];
  if (s.use != SegmentUse::kSealed || s.writers != 0 || Contains(copying_, segment)) return false;
  // Without this a pinned segment would lose its records and give no room.
  return !sessions_->SeemsPinned(segment);
}

void Segments::EndCopy(uint32_t segment) {
  std::erase(copying_, segment);
  copied_.push_back(segment);
}

uint32_t Segments::ChooseVictim(uint64_t min_gain, bool guests_only, bool unheld) {
  const auto gives = [&](uint32_t segment) { return !unheld || HasUnheld(segment); };
  const uint32_t guests = ChooseGuests(min_gain);
  if (guests_only || (guests != kNone && gives(guests))) return Chosen(guests);
  const uint32_t copied = ChooseCopied(min_gain);
  if (copied != kNone && gives(copied)) return Chosen(copied);
  return Chosen(ChooseOf(min_gain, [&](uint32_t segment) { return !gives(segment); }));
}

bool Segments::FreshFirst() const {
  return fresh_.size() >= (fresh_.size() + kept_.size()) / kFreshPart;
}

// The oldest of the ring whose turn it is, else of the other one.
uint32_t Segments::ChooseCopied(uint64_t min_gain) const {
  uint32_t other = kNone;
  for (uint32_t segment : copied_) {
    const uint64_t gain = region_.segment_bytes() - segments_[segment].held_bytes;
    if (gain < min_gain || !CanTake(segment)) continue;
    if ((segments_[segment].owner != kKeptClass) == FreshFirst()) return segment;
    if (other == kNone) other = segment;
  }
  return other;
}

uint32_t Segments::ChooseGuests(uint64_t min_gain) {
  auto gains = [&](uint32_t segment) {
    return region_.segment_bytes() - segments_[segment].held_bytes >= min_gain;
  };
  for (const auto& [age, segment] : guest_ring_) {
    if (gains(segment) && CanTake(segment)) return segment;
  }
  uint32_t& open = open_[kGuestClass];
  if (open == kNone || segments_[open].writers != 0 || !gains(open)) return kNone;
  const uint32_t segment = std::exchange(open, kNone);
  Seal(segment);
  return CanTake(segment) ? segment : kNone;
}

uint32_t Segments::ChooseToCopy(uint64_t min_gain, uint32_t except) {
  const uint64_t young = fresh_.empty() ? 0 : std::next(fresh_.begin(), fresh_.size() / 2)->first;
  return Chosen(ChooseOf(min_gain, [&](uint32_t segment) {
    const Segment& s = segments_[segment];
    return segment == except || s.owner == kGuestClass || Contains(copied_, segment) ||
           (s.owner != kKeptClass && s.ring_age > young);
  }));
}

uint32_t Segments::Chosen(uint32_t segment) {
  if (segment != kNone && tail_[segments_[segment].owner] == segment) {
    tail_[segments_[segment].owner] = kNone;
  }
  return segment;
}

template <typename Skip>
uint32_t Segments::ChooseOf(uint64_t min_gain, const Skip& skip) const {
  uint32_t best = kNone;
  uint64_t fewest = region_.segment_bytes() - std::min(min_gain, region_.segment_bytes()) + 1;
  auto consider = [&](uint32_t segment) {
    const Segment& s = segments_[segment];
    if (skip(segment) || !CanTake(segment)) return false;
    if (s.held_bytes < fewest) {
      best = segment;
      fewest = s.held_bytes;
    }
    return true;
  };
  auto consider_oldest = [&](const ByAge& ring) {
    uint32_t left = ReclaimCandidates(region_.segments());
    for (auto it = ring.begin(); it != ring.end() && left > 0; ++it) {
      if (consider(it->second)) --left;
    }
  };
  auto enough = [&] { return best != kNone && fewest <= region_.segment_bytes() / 4 * 3; };
  consider_oldest(FreshFirst() ? fresh_ : kept_);
  if (!enough()) consider_oldest(FreshFirst() ? kept_ : fresh_);
  for (uint32_t segment = 0; !enough() && segment < segments_.size(); ++segment) {
    if (segments_[segment].held_bytes < fewest) consider(segment);
  }
  return best;
}

void Segments::Emptied(uint32_t segment) {
  Segment& s = segments_[segment];
  HF_CHECK(s.use == SegmentUse::kSealed && s.live_bytes == 0 && s.held_bytes == 0 &&
           s.writers == 0);
  if (s.ring_age != 0) RingOf(s).erase(s.ring_age);
  if (s.owner == kGuestClass) --guests_;
  std::erase(copied_, segment);
  s = Segment();
  s.use = SegmentUse::kWaiting;
  region_.states()[segment].generation.fetch_add(1, std::memory_order_seq_cst);
  waiting_.push_back(segment);
}

uint32_t Segments::FreeUnpinned() {
  if (waiting_.empty()) return 0;
  // The rule of local reading: whoever pinned before the entries were cleared is seen from here on.
  const shm::Fenced fenced = shm::FullFence();
  const size_t before = waiting_.size();
  std::erase_if(waiting_, [&](uint32_t segment) {
    if (sessions_->Pinned(segment, fenced)) return false;
    segments_[segment].use = SegmentUse::kFree;
    free_.push_back(segment);
    return true;
  });
  return static_cast<uint32_t>(before - waiting_.size());
}

uint32_t Segments::PinnedSealed() const {
  uint32_t pinned = 0;
  for (uint32_t segment = 0; segment < segments_.size(); ++segment) {
    if (segments_[segment].use == SegmentUse::kSealed && sessions_->SeemsPinned(segment)) ++pinned;
  }
  return pinned;
}

}  // namespace holdfast::store
