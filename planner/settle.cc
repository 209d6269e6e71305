// SPDX-License-Identifier: Apache-2.0
#include "planner/settle.h"

#include <algorithm>
#include <bit>

#include "base/status.h"

namespace holdfast::planner {
namespace {

constexpr Duration kMargin = 100ms;
constexpr Duration kLongestStart = std::chrono::hours(24 * 30);

// A peer's word past the end of its bitmap is empty: nothing that it sends is relied upon.
uint64_t WordAt(const Bitmap& bitmap, size_t w) { return w < bitmap.words() ? bitmap.word(w) : 0; }

// So that no sum overflows.
RateModel Bounded(RateModel rate) {
  rate.start = std::clamp(rate.start, Duration{}, kLongestStart);
  return rate;
}

// Whether `a` is earlier than `b` by more than the margin.
bool EarlierByMargin(Duration a, Duration b) {
  return a * (100 + Settler::kMarginPercent) < b * 100 && a + kMargin < b;
}

struct Count {
  uint64_t objects = 0;
  uint64_t bytes = 0;
};

struct Bidder {
  const NodeBids* bids;
  NodeChoice* choice;
  NodeLoad* load;
  RateModel rate;
  RateModel near_rate;
  Count word{};  // of the word in hand, to load from far away

  Duration Finish(uint64_t objects, uint64_t bytes) const {
    return rate.Finish(load->objects + objects, load->bytes + bytes);
  }
  Duration FinishNear(uint64_t bytes) const {
    return near_rate.Finish(load->near_objects + 1, load->near_bytes + bytes);
  }
};

// Settles the words of one chunk, one after the other.
class ChunkSettling {
 public:
  ChunkSettling(const Manifest& manifest, const Placement& placement, NodeId reader, uint32_t first,
                RecordCost cost, std::vector<Bidder> bidders)
      : manifest_(manifest),
        placement_(placement),
        reader_(reader),
        first_(first),
        cost_(cost),
        bidders_(std::move(bidders)) {}

  // Returns the bits of `asked` that nobody gets.
  uint64_t SettleWord(size_t w, uint64_t asked) {
    uint64_t left = TakeReadersKeeps(w, asked);
    left = TakeKeeps(w, left);
    if (left != 0 && TakeUncontestedLoads(w, left)) return 0;
    uint64_t unassigned = 0;
    for (; left != 0; left &= left - 1) {
      auto bit = static_cast<uint32_t>(std::countr_zero(left));
      if (!TakeBestLoad(w, bit)) unassigned |= uint64_t{1} << bit;
    }
    return unassigned;
  }

 private:
  static void Give(Bitmap& to, size_t w, uint64_t bits) { to.set_word(w, to.word(w) | bits); }

  uint32_t Index(size_t w, uint32_t bit) const {
    return first_ + static_cast<uint32_t>(w * 64) + bit;
  }

  uint64_t TakeReadersKeeps(size_t w, uint64_t left) {
    for (Bidder& b : bidders_) {
      if (b.bids->node != reader_) continue;
      uint64_t taken = WordAt(b.bids->keep, w) & left;
      Give(b.choice->keep, w, taken);
      left &= ~taken;
    }
    return left;
  }

  uint64_t TakeKeeps(size_t w, uint64_t left) {
    uint64_t once = 0;
    uint64_t twice = 0;
    for (const Bidder& b : bidders_) {
      uint64_t keep = WordAt(b.bids->keep, w) & left;
      twice |= once & keep;
      once |= keep;
    }
    if (once == 0) return left;
    for (Bidder& b : bidders_) Give(b.choice->keep, w, WordAt(b.bids->keep, w) & left & ~twice);
    for (uint64_t several = twice; several != 0; several &= several - 1) {
      auto bit = static_cast<uint32_t>(std::countr_zero(several));
      NodeId home = placement_.PicksOf(manifest_.oid(Index(w, bit))).home;
      // Bidders are in the order of their ids.
      Bidder* chosen = nullptr;
      for (Bidder& b : bidders_) {
        if (((WordAt(b.bids->keep, w) >> bit) & 1) == 0) continue;
        if (chosen == nullptr || b.bids->node == home) chosen = &b;
      }
      Give(chosen->choice->keep, w, uint64_t{1} << bit);
    }
    return left & ~once;
  }

  // The common word: one reserved offer for every object, no other one near, and nobody so late that another's spare
  // offer could win. False, and nothing is assigned, for any other word.
  bool TakeUncontestedLoads(size_t w, uint64_t left) {
    uint64_t once = 0;
    for (const Bidder& b : bidders_) {
      uint64_t load = WordAt(b.bids->load, w) & left;
      if ((once & load) != 0 || (WordAt(b.bids->near, w) & left & ~load) != 0) return false;
      once |= load;
    }
    if (once != left) return false;
    Duration earliest = Duration::max();
    Duration latest{};
    for (Bidder& b : bidders_) {
      b.word = CountOf(w, WordAt(b.bids->load, w) & left & ~WordAt(b.bids->near, w));
      earliest = std::min(earliest, b.Finish(0, 0));
      latest = std::max(latest, b.Finish(b.word.objects, b.word.bytes));
    }
    if (EarlierByMargin(earliest, latest)) return false;
    for (Bidder& b : bidders_) {
      const uint64_t load = WordAt(b.bids->load, w) & left;
      const uint64_t near = WordAt(b.bids->near, w) & left;
      const Count from_disk = CountOf(w, near);
      Give(b.choice->load, w, load);
      Give(b.choice->near, w, near);
      b.load->objects += b.word.objects;
      b.load->bytes += b.word.bytes;
      b.load->near_objects += from_disk.objects;
      b.load->near_bytes += from_disk.bytes;
    }
    return true;
  }

  Count CountOf(size_t w, uint64_t bits) const {
    Count count;
    for (; bits != 0; bits &= bits - 1) {
      ++count.objects;
      count.bytes +=
          manifest_.object_bytes(Index(w, static_cast<uint32_t>(std::countr_zero(bits))));
    }
    return count;
  }

  // An offer to load one object.
  struct Offer {
    Bidder* bidder = nullptr;
    bool near = false;
    bool reserved = false;
    bool home = false;
    Duration finish{};

    // What is preferred when nobody is earlier by the margin.
    bool Before(const Offer& o) const {
      if (near != o.near) return near;
      if (reserved != o.reserved) return reserved;
      if (home != o.home) return home;
      return finish < o.finish;
    }
  };

  bool TakeBestLoad(size_t w, uint32_t bit) {
    const uint32_t index = Index(w, bit);
    const uint64_t bytes = manifest_.object_bytes(index);
    const uint64_t room = cost_.Of(bytes);
    const NodeId home = placement_.PicksOf(manifest_.oid(index)).home;
    Offer preferred;
    Offer earliest;
    for (Bidder& b : bidders_) {
      bool reserved = (WordAt(b.bids->load, w) >> bit) & 1;
      bool spare = ((WordAt(b.bids->spare, w) >> bit) & 1) && room <= b.load->spare_room_bytes;
      if (!reserved && !spare) continue;
      const bool near = (WordAt(b.bids->near, w) >> bit) & 1;
      Offer offer{&b, near, reserved, b.bids->node == home,
                  near ? b.FinishNear(bytes) : b.Finish(1, bytes)};
      if (preferred.bidder == nullptr || offer.Before(preferred)) preferred = offer;
      if (earliest.bidder == nullptr || offer.near > earliest.near ||
          (offer.near == earliest.near && offer.finish < earliest.finish)) {
        earliest = offer;
      }
    }
    if (preferred.bidder == nullptr) return false;
    // What one request brings together is not torn apart to be a little earlier: fair shares keep the
    // nodes even.
    const bool keeps = preferred.reserved && placement_.ComesWithOthers(manifest_.oid(index));
    const bool other = !keeps && EarlierByMargin(earliest.finish, preferred.finish);
    const Offer& best = other ? earliest : preferred;
    NodeLoad* load = best.bidder->load;
    ++(best.near ? load->near_objects : load->objects);
    (best.near ? load->near_bytes : load->bytes) += bytes;
    if (!best.reserved) load->spare_room_bytes -= room;
    Give(best.bidder->choice->load, w, uint64_t{1} << bit);
    if (best.near) Give(best.bidder->choice->near, w, uint64_t{1} << bit);
    return true;
  }

  const Manifest& manifest_;
  const Placement& placement_;
  NodeId reader_;
  uint32_t first_;
  RecordCost cost_;
  std::vector<Bidder> bidders_;
};

}  // namespace

Settler::Settler(const Manifest* manifest, const Placement* placement, NodeId reader,
                 std::vector<NodeLoad> nodes, RecordCost cost)
    : manifest_(manifest),
      placement_(placement),
      reader_(reader),
      loads_(std::move(nodes)),
      cost_(cost) {}

Settler::Outcome Settler::Settle(uint32_t first, uint32_t count, const Bitmap& asked,
                                 const std::vector<NodeBids>& bids) {
  HF_CHECK(first % 64 == 0 && uint64_t{first} + count <= manifest_->size() &&
           asked.size() == count);
  Outcome out{.choices = {}, .unassigned = Bitmap(count)};
  out.choices.reserve(bids.size());
  std::vector<Bidder> bidders;
  for (const NodeBids& b : bids) {
    out.choices.push_back({b.node, Bitmap(count), Bitmap(count), Bitmap(count)});
    auto load = std::find_if(loads_.begin(), loads_.end(),
                             [&](const NodeLoad& l) { return l.node == b.node; });
    if (load == loads_.end()) continue;
    bidders.push_back({&b, &out.choices.back(), &*load, Bounded(b.rate), Bounded(b.near_rate)});
  }
  std::stable_sort(bidders.begin(), bidders.end(),
                   [](const Bidder& a, const Bidder& b) { return a.bids->node < b.bids->node; });
  ChunkSettling chunk(*manifest_, *placement_, reader_, first, cost_, std::move(bidders));
  for (size_t w = 0; w < asked.words(); ++w) {
    if (asked.word(w) != 0) out.unassigned.set_word(w, chunk.SettleWord(w, asked.word(w)));
  }
  return out;
}

}  // namespace holdfast::planner
