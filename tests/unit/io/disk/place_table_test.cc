// SPDX-License-Identifier: Apache-2.0
#include "io/disk/place_table.h"

#include <gtest/gtest.h>

#include <map>

#include "base/hash.h"
#include "base/random.h"

namespace holdfast::disk {
namespace {

TEST(PlaceTable, HoldsWhatAMapHolds) {
  Random random(1);
  PlaceTable table;
  std::map<Oid, uint64_t> model;
  auto oid_at = [](uint64_t n) { return Oid{Mix64(n) & ~uint64_t{0xff}, n}; };  // they collide
  for (uint64_t step = 1; step <= 20'000; ++step) {
    const Oid oid = oid_at(random.Below(3'000));
    const uint64_t sequence = 1 + random.Below(step);  // often lower than the one that is there
    table.Note({oid, sequence, 1});
    model[oid] = std::max(model[oid], sequence);
    if (step % 5'000 == 0) {
      table.DropBefore(step / 4);
      std::erase_if(model, [step](const auto& m) { return m.second < step / 4; });
    }
    ASSERT_EQ(table.size(), model.size());
    const Oid other = oid_at(random.Below(3'000));
    const PlaceTable::Place* place = table.Find(other);
    ASSERT_EQ(place != nullptr, model.contains(other));
    if (place != nullptr) {
      ASSERT_EQ(place->sequence, model[other]);
    }
  }
  EXPECT_GT(model.size(), 1'000u);
}

}  // namespace
}  // namespace holdfast::disk
