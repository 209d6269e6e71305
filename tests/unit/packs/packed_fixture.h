// SPDX-License-Identifier: Apache-2.0
// A data set of small objects in a far store in memory, and how it is packed.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "packs/packer.h"
#include "tests/unit/packs/fixture.h"

namespace holdfast::packs {

class PackedFixture : public testing::Test {
 protected:
  static constexpr int kObjects = 200;

  PackedFixture() {
    for (int n = 0; n < kObjects; ++n) far_.Set(UriOf(n), BytesOf(n));
  }

  std::vector<FarEntry> Listed() const {
    std::vector<FarEntry> entries;
    for (int n = 0; n < kObjects; ++n) entries.push_back({UriOf(n), far_.InfoOf(UriOf(n))});
    return entries;
  }
  Result<Packer::Report> Pack(std::optional<std::vector<FarEntry>> listed = std::nullopt) {
    Packer packer(&clock_, &far_, &far_, {.dest = kDest});
    std::vector<FarEntry> entries = listed ? *std::move(listed) : Listed();
    Plan plan = MakePlan(entries, {.pack_bytes = 10'000});
    std::optional<Result<Packer::Report>> report;
    packer.Start(std::move(entries), std::move(plan),
                 [&](Result<Packer::Report> r) { report.emplace(std::move(r)); });
    clock_.RunAll();
    if (!report) return Status::Timeout("the packer never ended");
    return *std::move(report);
  }
  PackIndex Index() {
    auto index = PackIndex::Decode(AsBytes(far_.objects[std::string(kDest) + "index"].bytes), kMiB);
    EXPECT_TRUE(index.ok()) << index.status().ToString();
    return *std::move(index);
  }

  FakeClock clock_;
  FakeFar far_{&clock_};
  FakeLog log_;
};

}  // namespace holdfast::packs
