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
  Offering(const Manifest& manifest, const std::vector<NodeLoad>& nodes, const Bitmap& asked,
           uint32_t round, NodeId reader, RecordCost cost)
      : manifest_(manifest), asked_(asked), cost_(cost) {
    for (const NodeLoad& n : nodes) {
      if (position_.size() <= n.node) position_.resize(size_t{n.node} + 1, kNobody);
      position_[n.node] = offers_.size();
      offers_.push_back({n.node, Bitmap(asked.size()), Bitmap(asked.size()), 0});
      room_.push_back(n.spare_room_bytes);
    }
    reader_ = round <= 1 ? PositionOf(reader) : kNobody;
  }

  // Objects are in the order of their OIDs, so those of one slot are neighbours and share their
  // candidates.
  std::vector<Offer> Run(const Placement& placement) {
    const uint32_t count = manifest_.size();
    for (uint32_t i = 0; i < count;) {
      const Oid oid = manifest_.oid(i);
      const uint32_t slot = Placement::SlotOf(oid);
      uint32_t end = i + 1;
      while (end < count && Placement::SlotOf(manifest_.oid(end)) == slot) ++end;
      OfferRange(i, end, placement.PicksOf(oid));
      i = end;
    }
    return std::move(offers_);
  }

 private:
  size_t PositionOf(NodeId node) const {
    return node < position_.size() ? position_[node] : kNobody;
  }

  void OfferRange(uint32_t begin, uint32_t end, const Picks& picks) {
    size_t first = PositionOf(picks.home);
    size_t second = PositionOf(picks.second);
    if (first == kNobody) std::swap(first, second);
    for (uint32_t w = begin / 64; w * 64 < end; ++w) {
      uint64_t bits = asked_.word(w);
      if (w == begin / 64) bits &= ~uint64_t{0} << (begin % 64);
      if (end - w * 64 < 64) bits &= (uint64_t{1} << (end % 64)) - 1;
      if (bits != 0) OfferWord(w, bits, first, second);
    }
  }

  void OfferWord(uint32_t w, uint64_t bits, size_t first, size_t second) {
    for (size_t node : {first, second, reader_}) {
      if (node != kNobody) Or(offers_[node].offer, w, bits);
    }
    if (first == kNobody) return;
    uint64_t at_first = 0;
    uint64_t at_second = 0;
    for (uint64_t left = bits; left != 0; left &= left - 1) {
      auto bit = static_cast<uint32_t>(std::countr_zero(left));
      uint64_t bytes = cost_.Of(manifest_.object_bytes(w * 64 + bit));
      if (TakeRoom(first, bytes)) {
        at_first |= uint64_t{1} << bit;
      } else if (second != kNobody && TakeRoom(second, bytes)) {
        at_second |= uint64_t{1} << bit;
      } else {
        at_first |= uint64_t{1} << bit;
      }
    }
    Or(offers_[first].home, w, at_first);
    if (at_second != 0) Or(offers_[second].home, w, at_second);
  }

  bool TakeRoom(size_t node, uint64_t bytes) {
    if (bytes > room_[node]) return false;
    room_[node] -= bytes;
    offers_[node].home_bytes += bytes;
    return true;
  }

  static void Or(Bitmap& bitmap, uint32_t w, uint64_t bits) {
    bitmap.set_word(w, bitmap.word(w) | bits);
  }

  const Manifest& manifest_;
  const Bitmap& asked_;
  RecordCost cost_;
  std::vector<size_t> position_;  // by node id
  std::vector<Offer> offers_;
  std::vector<uint64_t> room_;
  size_t reader_;
};

}  // namespace

std::vector<Offer> OffersFor(const Manifest& manifest, const Placement& placement,
                             const std::vector<NodeLoad>& nodes, const Bitmap& asked,
                             uint32_t round, NodeId reader, RecordCost cost) {
  HF_CHECK(asked.size() == manifest.size());
  Offering offering(manifest, nodes, asked, round, reader, cost);
  if (round <= 1) return offering.Run(placement);
  std::vector<NodeWeight> rooms;
  uint64_t room = 0;
  for (const NodeLoad& n : nodes) {
    rooms.push_back({n.node, n.spare_room_bytes});
    room = std::max(room, n.spare_room_bytes);
  }
  return offering.Run(room == 0 ? placement : Placement(std::move(rooms)));
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
