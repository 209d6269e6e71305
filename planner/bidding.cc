// SPDX-License-Identifier: Apache-2.0
#include "planner/bidding.h"

#include <algorithm>
#include <bit>

#include "base/status.h"
#include "planner/record_cost.h"

namespace holdfast::planner {
namespace {

// What is left of the room while a chunk is bid for.
class Room {
 public:
  explicit Room(const BidInput& input)
      : input_(input),
        cost_{input.record_bytes, input.name_bytes},
        left_(input.room_bytes),
        left_on_disk_(input.disk_room_bytes) {}

  bool TakeAny(uint32_t index) { return Take(index) || TakeOnDisk(index); }
  bool TakeOnDisk(uint32_t index) {
    if (input_.disk_record_bytes == nullptr) return false;
    const uint64_t size = input_.manifest->object_bytes(index);
    if (size < input_.disk_least_bytes || size > input_.disk_most_bytes) return false;
    const uint64_t bytes = std::max(input_.disk_record_bytes(size), input_.disk_least_record_bytes);
    if (bytes > left_on_disk_) return false;
    left_on_disk_ -= bytes;
    return true;
  }
  bool Take(uint32_t index) {
    uint64_t bytes = input_.manifest->object_bytes(index);
    if (input_.record_bytes != nullptr) bytes = input_.record_bytes(bytes, input_.name_bytes);
    bytes = std::max(bytes, input_.least_record_bytes);
    if (bytes > left_) return false;
    left_ -= bytes;
    return true;
  }
  uint64_t taken() const { return input_.room_bytes - left_; }
  uint64_t taken_on_disk() const { return input_.disk_room_bytes - left_on_disk_; }

 private:
  const BidInput& input_;
  RecordCost cost_;
  uint64_t left_;
  uint64_t left_on_disk_;
};

uint64_t WordAt(const Bitmap& bitmap, size_t w) { return w < bitmap.words() ? bitmap.word(w) : 0; }

// The bits of word `w` of the chunk for which there is room, in ascending order.
uint64_t TakeWord(const BidInput& input, size_t w, uint64_t wanted, Room& room,
                  bool (Room::*take)(uint32_t)) {
  uint64_t taken = 0;
  for (uint64_t left = wanted; left != 0; left &= left - 1) {
    auto bit = static_cast<uint32_t>(std::countr_zero(left));
    const uint32_t index = input.first + static_cast<uint32_t>(w) * 64 + bit;
    if ((room.*take)(index)) taken |= uint64_t{1} << bit;
  }
  return taken;
}

// Of the bits `wanted`, those of objects that a record of this node can hold.
uint64_t NotTooLarge(const BidInput& input, size_t w, uint64_t wanted) {
  uint64_t fitting = 0;
  for (uint64_t left = wanted; left != 0; left &= left - 1) {
    auto bit = static_cast<uint32_t>(std::countr_zero(left));
    uint64_t bytes =
        input.manifest->object_bytes(input.first + static_cast<uint32_t>(w) * 64 + bit);
    if (bytes <= input.max_object_bytes) fitting |= uint64_t{1} << bit;
  }
  return fitting;
}

}  // namespace

BidOutcome BidForChunk(const BidInput& input) {
  HF_CHECK(input.first % 64 == 0 && uint64_t{input.first} + input.count <= input.manifest->size());
  BidOutcome out{.keep = Bitmap(input.count),
                 .load = Bitmap(input.count),
                 .spare = Bitmap(input.count),
                 .near = Bitmap(input.count)};
  Room room(input);
  const size_t base = input.first / 64;
  const size_t words = out.keep.words();
  const uint64_t tail =
      input.count % 64 == 0 ? ~uint64_t{0} : (uint64_t{1} << (input.count % 64)) - 1;
  auto asked = [&](size_t w) {
    return WordAt(*input.asked, base + w) & (w + 1 == words ? tail : ~uint64_t{0});
  };
  for (size_t w = 0; w < words; ++w) {
    const uint64_t here = asked(w) & WordAt(input.here, w);
    const uint64_t free = here & WordAt(input.held, w);
    const uint64_t costs = here & ~free & ~WordAt(input.disk_held, w);
    out.keep.set_word(w, free | TakeWord(input, w, costs, room, &Room::Take));
  }
  for (size_t w = 0; w < words; ++w) {
    const uint64_t disk = WordAt(input.disk, w);
    uint64_t offer = asked(w) & ~WordAt(input.here, w) & (WordAt(*input.offer, base + w) | disk);
    offer = NotTooLarge(input, w, offer);
    const uint64_t held = WordAt(input.disk_held, w);
    const uint64_t home = offer & ~held & WordAt(*input.home, base + w);
    const uint64_t load = (offer & held) | TakeWord(input, w, home, room, &Room::TakeAny);
    const uint64_t no_keep = asked(w) & WordAt(input.here, w) & ~out.keep.word(w);
    const uint64_t down =
        (no_keep & held) | TakeWord(input, w, no_keep & ~held, room, &Room::TakeOnDisk);
    out.load.set_word(w, load | down);
    out.spare.set_word(w, offer & ~load);
    out.near.set_word(w, (offer & disk) | down);
  }
  out.reserved_bytes = room.taken();
  out.disk_reserved_bytes = room.taken_on_disk();
  return out;
}

}  // namespace holdfast::planner
