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
      : input_(input), cost_{input.record_bytes, input.name_bytes}, left_(input.room_bytes) {}

  bool Take(uint32_t index) {
    uint64_t bytes = input_.manifest->object_bytes(index);
    if (input_.record_bytes != nullptr) bytes = input_.record_bytes(bytes, input_.name_bytes);
    bytes = std::max(bytes, input_.least_record_bytes);
    if (bytes > left_) return false;
    left_ -= bytes;
    return true;
  }
  uint64_t taken() const { return input_.room_bytes - left_; }

 private:
  const BidInput& input_;
  RecordCost cost_;
  uint64_t left_;
};

uint64_t WordAt(const Bitmap& bitmap, size_t w) { return w < bitmap.words() ? bitmap.word(w) : 0; }

// The bits of word `w` of the chunk for which there is room, in ascending order.
uint64_t TakeWord(const BidInput& input, size_t w, uint64_t wanted, Room& room) {
  uint64_t taken = 0;
  for (uint64_t left = wanted; left != 0; left &= left - 1) {
    auto bit = static_cast<uint32_t>(std::countr_zero(left));
    if (room.Take(input.first + static_cast<uint32_t>(w) * 64 + bit)) taken |= uint64_t{1} << bit;
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
    uint64_t here = asked(w) & WordAt(input.here, w);
    uint64_t free = here & WordAt(input.held, w);
    out.keep.set_word(w, free | TakeWord(input, w, here & ~free, room));
  }
  for (size_t w = 0; w < words; ++w) {
    const uint64_t disk = WordAt(input.disk, w);
    uint64_t offer = asked(w) & ~WordAt(input.here, w) & (WordAt(*input.offer, base + w) | disk);
    offer = NotTooLarge(input, w, offer);
    uint64_t load = TakeWord(input, w, offer & WordAt(*input.home, base + w), room);
    out.load.set_word(w, load);
    out.spare.set_word(w, offer & ~load);
    out.near.set_word(w, offer & disk);
  }
  out.reserved_bytes = room.taken();
  return out;
}

}  // namespace holdfast::planner
