// SPDX-License-Identifier: Apache-2.0
#include "planner/offers.h"

#include <algorithm>
#include <bit>

#include "base/status.h"

namespace holdfast::planner {
namespace {

constexpr size_t kNobody = SIZE_MAX;

// The work of one call: node ids become positions in the result once, and room is used up as
// objects are offered.
class Offering {
 public:
  Offering(const Manifest& manifest, const std::vector<NodeLoad>& nodes, NodeId reader,
           RecordCost cost)
      : manifest_(manifest), cost_(cost) {
    for (const NodeLoad& n : nodes) {
      if (position_.size() <= n.node) position_.resize(size_t{n.node} + 1, kNobody);
      position_[n.node] = offers_.size();
      offers_.push_back({n.node, Bitmap(manifest.size()), Bitmap(manifest.size()), 0});
      room_.push_back(n.spare_room_bytes);
    }
    reader_ = PositionOf(reader);
  }

  // Nobody reserves more than its fair part of `asked`, by weight, and a little: the busiest node
  // decides when a job is ready. The little is 2 % and 64 objects of the mean size, so that small
  // lists stay at their homes.
  void LimitToFairShares(const Bitmap& asked, const std::vector<NodeWeight>& weights) {
    uint64_t bytes = 0;
    uint64_t objects = 0;
    asked.ForEach([&](size_t i) {
      bytes += cost_.Of(manifest_.object_bytes(static_cast<uint32_t>(i)));
      ++objects;
    });
    unsigned __int128 total = 0;
    for (const NodeWeight& w : weights) total += PositionOf(w.node) == kNobody ? 0 : w.weight;
    if (objects == 0 || total == 0) return;
    fair_.assign(offers_.size(), 0);
    for (const NodeWeight& w : weights) {
      if (PositionOf(w.node) == kNobody) continue;
      auto part = static_cast<uint64_t>(static_cast<unsigned __int128>(bytes) * w.weight / total);
      fair_[PositionOf(w.node)] = part + part / 50 + 64 * (bytes / objects);
    }
  }
  void LiftLimits() { fair_.clear(); }

  // Offers what one of its two candidates has room for; returns the rest.
  Bitmap OfferWithRoom(const Placement& placement, const Bitmap& wanted) {
    Bitmap rest(wanted.size());
    ForEachWord(placement, wanted, [&](uint32_t w, uint64_t bits, size_t first, size_t second) {
      uint64_t at_first = TakeRoom(placement, first, w, bits);
      uint64_t at_second = TakeRoom(placement, second, w, bits & ~at_first);
      Give(w, at_first | at_second, first, second);
      Reserve(w, at_first, first);
      Reserve(w, at_second, second);
      Or(rest, w, bits & ~(at_first | at_second));
    });
    return rest;
  }

  // Offers without regard to room: the node knows better.
  void OfferAnyhow(const Placement& placement, const Bitmap& wanted) {
    ForEachWord(placement, wanted, [&](uint32_t w, uint64_t bits, size_t first, size_t second) {
      Give(w, bits, first, second);
      Reserve(w, bits, first);
    });
  }

  Placement ByRoomLeft(const Placement& placement) const {
    std::vector<NodeWeight> weights;
    for (size_t n = 0; n < offers_.size(); ++n) weights.push_back({offers_[n].node, room_[n]});
    return placement.With(std::move(weights));
  }

  std::vector<Offer> Take() { return std::move(offers_); }

 private:
  size_t PositionOf(NodeId node) const {
    return node < position_.size() ? position_[node] : kNobody;
  }

  // Objects are in the order of their OIDs, so those of one slot are neighbours and share their
  // candidates.
  template <typename Visit>
  void ForEachWord(const Placement& placement, const Bitmap& wanted, Visit visit) {
    const uint32_t count = manifest_.size();
    for (uint32_t begin = 0, end = 0; begin < count; begin = end) {
      const Oid oid = manifest_.oid(begin);
      const uint32_t slot = placement.SlotOf(oid);
      for (end = begin + 1; end < count && placement.SlotOf(manifest_.oid(end)) == slot;) ++end;
      const Picks picks = placement.PicksOf(oid);
      size_t first = PositionOf(picks.home);
      size_t second = PositionOf(picks.second);
      if (first == kNobody) std::swap(first, second);
      for (uint32_t w = begin / 64; w * 64 < end; ++w) {
        uint64_t bits = wanted.word(w);
        if (w == begin / 64) bits &= ~uint64_t{0} << (begin % 64);
        if (end - w * 64 < 64) bits &= (uint64_t{1} << (end % 64)) - 1;
        if (bits != 0) visit(w, bits, first, second);
      }
    }
  }

  // The bits for which `node` has room; uses it up.
  uint64_t TakeRoom(const Placement& placement, size_t node, uint32_t w, uint64_t bits) {
    if (node == kNobody) return 0;
    uint64_t taken = 0;
    uint64_t left = fair_.empty() ? room_[node] : std::min(room_[node], fair_[node]);
    const uint64_t before = left;
    bool ended = false;
    for (; bits != 0; bits &= bits - 1) {
      auto bit = static_cast<uint32_t>(std::countr_zero(bits));
      uint64_t bytes = cost_.Of(manifest_.object_bytes(w * 64 + bit));
      // A share ends with the first object of a group that exceeds it: to fill it up with smaller ones
      // would tear the group into many requests.
      ended =
          bytes > left && !fair_.empty() && placement.ComesWithOthers(manifest_.oid(w * 64 + bit));
      if (ended) break;
      if (bytes > left) continue;
      left -= bytes;
      taken |= uint64_t{1} << bit;
    }
    room_[node] -= before - left;
    if (!fair_.empty()) fair_[node] = ended ? 0 : fair_[node] - (before - left);
    offers_[node].home_bytes += before - left;
    return taken;
  }

  void Give(uint32_t w, uint64_t bits, size_t first, size_t second) {
    for (size_t node : {first, second, reader_}) {
      if (node != kNobody) Or(offers_[node].offer, w, bits);
    }
  }

  void Reserve(uint32_t w, uint64_t bits, size_t node) {
    if (node != kNobody) Or(offers_[node].home, w, bits);
  }

  static void Or(Bitmap& bitmap, uint32_t w, uint64_t bits) {
    bitmap.set_word(w, bitmap.word(w) | bits);
  }

  const Manifest& manifest_;
  RecordCost cost_;
  std::vector<size_t> position_;  // by node id
  std::vector<Offer> offers_;
  std::vector<uint64_t> room_;
  std::vector<uint64_t> fair_;  // what is left of the fair shares; empty: no limit
  size_t reader_;
};

}  // namespace

std::vector<Offer> OffersFor(const Manifest& manifest, const Placement& placement,
                             const std::vector<NodeLoad>& nodes, const Bitmap& asked,
                             uint32_t round, NodeId reader, RecordCost cost) {
  HF_CHECK(asked.size() == manifest.size());
  Offering offering(manifest, nodes, round <= 1 ? reader : kNoNode, cost);
  if (round <= 1) offering.LimitToFairShares(asked, placement.weights());
  Bitmap rest = offering.OfferWithRoom(placement, asked);
  offering.LiftLimits();
  if (!rest.None()) rest = offering.OfferWithRoom(offering.ByRoomLeft(placement), rest);
  if (!rest.None()) offering.OfferAnyhow(placement, rest);
  return offering.Take();
}

std::vector<NodeLoad> AfterOffers(std::vector<NodeLoad> nodes, const std::vector<Offer>& offers) {
  for (NodeLoad& n : nodes) {
    for (const Offer& o : offers) {
      if (o.node == n.node) n.spare_room_bytes -= std::min(n.spare_room_bytes, o.home_bytes);
    }
  }
  return nodes;
}

}  // namespace holdfast::planner
