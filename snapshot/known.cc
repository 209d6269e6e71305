// SPDX-License-Identifier: Apache-2.0
#include "snapshot/known.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/status.h"

namespace holdfast::snapshot {
namespace {

constexpr uint64_t kPrintMask = (uint64_t{1} << kPrintBits) - 1;
constexpr uint32_t kPrintShift = 64 - kPrintBits;
constexpr uint32_t kNodeShift = 8;
// Part of the key, so that no key is that of an empty slot.
constexpr uint64_t kUsed = 4;
constexpr uint64_t kKept = 2, kHeld = 1;
constexpr uint32_t kKeyShift = 2;

constexpr double kRebuiltLoad = 0.75, kMostLoad = 0.88, kLeastLoad = 0.69;
constexpr uint64_t kLeastHomes = 64;
constexpr uint64_t kShrinkFrom = 1024;

constexpr Stamp kNever{std::numeric_limits<int64_t>::min()};

uint64_t WordOf(Print print) { return print << kPrintShift; }
uint64_t KeyOf(uint64_t word) { return word >> kKeyShift; }
Print PrintIn(uint64_t word) { return word >> kPrintShift; }
NodeId NodeIn(uint64_t word) { return static_cast<NodeId>(word >> kNodeShift); }

uint64_t WordOf(Print print, const Sighting& sighting) {
  HF_CHECK(print <= kPrintMask && sighting.node != kNoNode);
  return WordOf(print) | uint64_t{sighting.node} << kNodeShift | kUsed |
         (sighting.ring == Ring::kKept ? kKept : 0) | (sighting.held ? kHeld : 0);
}

Sighting SightingOf(uint64_t word, int64_t written_us) {
  return {.node = NodeIn(word),
          .held = (word & kHeld) != 0,
          .ring = (word & kKept) != 0 ? Ring::kKept : Ring::kFresh,
          .written = {written_us}};
}

uint64_t Share(uint64_t n, double share) {
  return static_cast<uint64_t>(static_cast<double>(n) * share);
}

}  // namespace

size_t Known::HomeOf(uint64_t word) const {
  __extension__ using Wide = unsigned __int128;
  return static_cast<size_t>(Wide{WordOf(PrintIn(word))} * homes_ >> 64);
}

size_t Known::LowerBound(uint64_t word) const {
  size_t at = HomeOf(word);
  while (slots_[at].word != 0 && KeyOf(slots_[at].word) < KeyOf(word)) ++at;
  return at;
}

void Known::Add(Print print, const Sighting& sighting) {
  const uint64_t word = WordOf(print, sighting);
  if (size_ >= Share(homes_, kMostLoad)) Rebuild(size_ + 1);
  size_t at = LowerBound(word);
  if (KeyOf(slots_[at].word) != KeyOf(word)) {
    size_t end = at;  // of the run, which moves up by one
    while (slots_[end].word != 0) ++end;
    if (end + 1 == slots_.size()) {  // there must be an empty one after it
      Rebuild(size_ + 1);
      return Add(print, sighting);
    }
    std::copy_backward(slots_.begin() + static_cast<ptrdiff_t>(at),
                       slots_.begin() + static_cast<ptrdiff_t>(end),
                       slots_.begin() + static_cast<ptrdiff_t>(end) + 1);
    ++size_;
  }
  slots_[at] = {word, sighting.written.us};
}

bool Known::Erase(Print print, NodeId node) {
  if (size_ == 0) return false;
  const uint64_t word = WordOf(print, {.node = node});
  const size_t at = LowerBound(word);
  if (KeyOf(slots_[at].word) != KeyOf(word)) return false;
  CloseGap(at);
  --size_;
  return true;
}

// What follows moves down, up to one that is at its home.
void Known::CloseGap(size_t at) {
  size_t next = at + 1;
  for (; slots_[next].word != 0 && HomeOf(slots_[next].word) < next; ++next) {
    slots_[next - 1] = slots_[next];
  }
  slots_[next - 1] = {};
}

void Known::EraseNode(NodeId node) {
  if (node < seen_.size()) seen_[node] = kNever;
  // In the order of the table each of the others finds a place no later than its own.
  size_t free = 0;
  for (Slot& slot : slots_) {
    if (slot.word == 0) continue;
    const Slot moved = std::exchange(slot, Slot{});
    if (NodeIn(moved.word) == node) {
      --size_;
      continue;
    }
    const size_t to = std::max(free, HomeOf(moved.word));
    slots_[to] = moved;
    free = to + 1;
  }
}

void Known::Clear() { *this = Known(); }

void Known::Reserve(uint64_t sightings) {
  if (sightings > Share(homes_, kMostLoad)) Rebuild(sightings);
}

void Known::Fit() {
  if (homes_ >= kShrinkFrom && size_ < Share(homes_, kLeastLoad)) Rebuild(size_);
}

void Known::Rebuild(uint64_t sightings) {
  homes_ = std::max(Share(sightings, 1 / kRebuiltLoad) + 1, kLeastHomes);
  // Where the last one comes to stand, before there is a table.
  size_t end = 0;
  for (const Slot& slot : slots_) {
    if (slot.word != 0) end = std::max(end, HomeOf(slot.word)) + 1;
  }
  std::vector<Slot> slots(std::max<size_t>(end, homes_) + homes_ / 256 + 64);
  size_t free = 0;
  for (const Slot& slot : slots_) {
    if (slot.word == 0) continue;
    const size_t to = std::max(free, HomeOf(slot.word));
    slots[to] = slot;
    free = to + 1;
  }
  slots_ = std::move(slots);
}

size_t Known::Find(Print print, std::span<Sighting, kMost> into) const {
  if (size_ == 0) return 0;
  const uint64_t word = WordOf(print);
  size_t found = 0;
  // Less than the key of any node, so the print's first one is here, if it has any.
  for (size_t at = LowerBound(word); found < kMost; ++at, ++found) {
    const Slot& slot = slots_[at];
    if (slot.word == 0 || PrintIn(slot.word) != print) break;
    into[found] = SightingOf(slot.word, slot.written_us);
  }
  return found;
}

std::optional<Sighting> Known::At(Print print, NodeId node) const {
  if (size_ == 0) return std::nullopt;
  const uint64_t word = WordOf(print, {.node = node});
  const Slot& slot = slots_[LowerBound(word)];
  if (KeyOf(slot.word) != KeyOf(word)) return std::nullopt;
  return SightingOf(slot.word, slot.written_us);
}

void Known::Prefetch(Print print) const {
  if (size_ == 0) return;
  const Slot* slot = &slots_[HomeOf(WordOf(print))];
  __builtin_prefetch(slot);
  __builtin_prefetch(slot + 4);  // a run goes on in the next cache line
}

void Known::SetSeen(NodeId node, Stamp seen) {
  HF_CHECK(node != kNoNode);
  if (node >= seen_.size()) seen_.resize(size_t{node} + 1, kNever);
  seen_[node] = seen;
}

const Stamp* Known::SeenAt(NodeId node) const {
  return node < seen_.size() && seen_[node] != kNever ? &seen_[node] : nullptr;
}

void Known::ForEach(const std::function<void(Print, const Sighting&)>& visit) const {
  for (const Slot& slot : slots_) {
    if (slot.word != 0) visit(PrintIn(slot.word), SightingOf(slot.word, slot.written_us));
  }
}

uint64_t Known::memory_bytes() const {
  return slots_.capacity() * sizeof(Slot) + seen_.capacity() * sizeof(Stamp);
}

}  // namespace holdfast::snapshot
