// SPDX-License-Identifier: Apache-2.0
// The segments of a tier: what state each is in, where the next record of a class goes, and what
// may be taken back.
//
//   free → open (one per class) → sealed → emptied → waiting (for readers) → free
//
// Sealed segments lie in a ring, oldest first, or belong to a hold class. The fresh ring is what was
// loaded without a promise, and where reclaim begins; a hold segment in which nothing is held any more
// joins it as its youngest. The kept ring is what reclaim kept. A fresh ring of a tenth, for all
// objects to show whether they are wanted again, is S3-FIFO's (Yang et al., SOSP 2023). Guests, records
// of other nodes, have a ring of their own: they leave before all others.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "base/units.h"
#include "cached/store/reattach.h"
#include "cached/store/region.h"
#include "cached/store/sessions.h"

namespace holdfast::store {

enum class SegmentUse : uint8_t { kFree, kOpen, kSealed, kWaiting };

// Class 0 is the fresh ring, 1 ... kMaxHoldClasses are the hold classes.
constexpr uint32_t kMaxHoldClasses = 16;
constexpr uint32_t kFreshClass = 0;
constexpr uint32_t kGuestClass = kMaxHoldClasses + 1;
constexpr uint32_t kKeptClass = kMaxHoldClasses + 2;
constexpr uint64_t kFirstRecord = shm::kRecordAlign;  // offset 0 is never a record

// The class of a record that is to stay for `remaining`: the k-th one (from 0) is for less than 1
// min · 2^k, the last one for everything longer.
uint32_t HoldClassFor(Duration remaining, uint32_t hold_classes);

struct Segment {
  SegmentUse use = SegmentUse::kFree;
  uint32_t owner = kFreshClass;  // its class
  uint32_t writers = 0;          // records that were allocated and not yet committed or aborted
  uint64_t end = kFirstRecord;   // where the next record goes
  uint64_t live_bytes = 0;
  uint64_t held_bytes = 0;
  uint64_t ring_age = 0;       // position in its ring, 0 when in none
  Time joined{INT64_MIN / 2};  // when it joined the ring, were its records held before
};

class Segments {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  // `hold_classes` is from 1 to kMaxHoldClasses. Segments in which records were found are in the kept
  // ring if they were, else in the fresh one, in the order of their youngest records; every other one
  // waits for its readers first.
  Segments(const Region& region, Sessions* sessions, uint32_t hold_classes,
           const Reattached& found);

  // What joins the ring from now on joins it at this time.
  void SetNow(Time now) { now_ = now; }

  const Segment& operator[](uint32_t segment) const { return segments_[segment]; }
  uint32_t hold_classes() const { return hold_classes_; }
  // The class of what reclaim keeps. Few segments have one ring, the fresh one: a second one would
  // leave another of them partly filled.
  uint32_t kept_class() const {
    return segments_.size() < kMinForTwoRings ? kFreshClass : kKeptClass;
  }
  uint32_t free() const { return static_cast<uint32_t>(free_.size()); }
  uint32_t waiting() const { return static_cast<uint32_t>(waiting_.size()); }
  // Those with guests, the open one included.
  uint32_t guests() const { return guests_; }
  // That are free, or can be as soon as somebody needs them.
  uint32_t ToCome() const { return free() + waiting() + copied() + guests() - staying_guests_; }

  // Room for `bytes` (a multiple of 64) at the end of the class's last sealed segment, which the
  // record for which it was sealed did not fit, in its open one, or in a new one when more than
  // `reserve` are free. The segment has one more writer.
  std::optional<Place> Append(uint32_t owner, uint64_t bytes, uint32_t reserve);
  // The same in whichever hold class has room in its open segment.
  std::optional<Place> AppendToAnyHold(uint64_t bytes);
  // The record was linked, or never will be.
  void WriterDone(uint32_t segment);

  void AddLive(uint32_t segment, uint64_t bytes) { segments_[segment].live_bytes += bytes; }
  void RemoveLive(uint32_t segment, uint64_t bytes) { segments_[segment].live_bytes -= bytes; }
  void AddHeld(uint32_t segment, uint64_t bytes);
  void RemoveHeld(uint32_t segment, uint64_t bytes);

  // The sealed segment from which reclaim gains most: the oldest with guests (sealed for that if it is
  // open), else, of the fresh ring or of the kept one while that has less than a tenth of both, the
  // one with the fewest held bytes among the oldest; when that gains less than a quarter of a segment,
  // of all. It has no writers and nobody pins it. kNone when none would gain `min_gain` bytes or, with
  // `unheld`, when none has records that nobody holds. Nothing is appended to it any more.
  uint32_t ChooseVictim(uint64_t min_gain, bool guests_only = false, bool unheld = false);
  // The same, but of those without guests whose records have not been copied to a lower tier, not
  // `except`, and of the fresh ring only of its older half: the younger shows first what is read again.
  uint32_t ChooseToCopy(uint64_t min_gain, uint32_t except);
  // Reclaim leaves a segment alone while its records are copied, and takes it before all that are not
  // once they are.
  void BeginCopy(uint32_t segment) { copying_.push_back(segment); }
  void EndCopy(uint32_t segment);
  uint32_t copying() const { return static_cast<uint32_t>(copying_.size()); }
  uint32_t copied() const { return static_cast<uint32_t>(copied_.size()); }
  // Seals what is open and has records that nobody holds: all that could make place for others in
  // the index may lie there. Nothing is appended to it any more. False when there was none.
  bool SealOpen();
  // All of its entries are cleared. It waits for its readers.
  void Emptied(uint32_t segment);
  // Frees the waiting segments that nobody pins; how many.
  uint32_t FreeUnpinned();
  // Sealed segments that cannot be taken back because readers pin them: for people.
  uint32_t PinnedSealed() const;

 private:
  void AddToRing(uint32_t segment, const Reattached::Segment& found);
  bool Fits(uint32_t segment, uint64_t bytes) const {
    return segment != kNone && segments_[segment].end + bytes <= region_.segment_bytes();
  }
  bool HasUnheld(uint32_t segment) const {
    return segments_[segment].live_bytes > segments_[segment].held_bytes;
  }
  // Guests, of which so much is held that it would give less than a quarter.
  bool Stays(uint32_t segment) const {
    const Segment& s = segments_[segment];
    return s.owner == kGuestClass && s.held_bytes > region_.segment_bytes() / 4 * 3;
  }
  static constexpr uint32_t kMinForTwoRings = 32;
  using ByAge = std::map<uint64_t, uint32_t>;
  ByAge& RingOf(const Segment& s);
  void JoinRing(uint32_t segment);
  bool FreshFirst() const;
  uint32_t ChooseCopied(uint64_t min_gain) const;
  void Seal(uint32_t segment);
  bool CanTake(uint32_t segment) const;
  template <typename Skip>
  uint32_t ChooseOf(uint64_t min_gain, const Skip& skip) const;
  uint32_t ChooseGuests(uint64_t min_gain);
  uint32_t Chosen(uint32_t segment);
  void JoinRingIfDone(uint32_t segment);
  Place Take(uint32_t segment, uint64_t bytes);

  Region region_;
  Sessions* sessions_;
  uint32_t hold_classes_;
  std::vector<Segment> segments_;
  std::array<uint32_t, kKeptClass + 1> open_;
  std::array<uint32_t, kKeptClass + 1> tail_;  // sealed last: smaller records still fit
  std::vector<uint32_t> free_;                 // the last one is taken next
  std::vector<uint32_t> waiting_;              // emptied, oldest first
  std::vector<uint32_t> copying_;
  std::vector<uint32_t> copied_;  // oldest first
  ByAge fresh_;
  ByAge kept_;
  ByAge guest_ring_;
  uint64_t next_age_ = 1;
  uint32_t staying_guests_ = 0;
  uint32_t guests_ = 0;  // segments
  Time now_{};
};

}  // namespace holdfast::store
