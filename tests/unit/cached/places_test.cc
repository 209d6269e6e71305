// SPDX-License-Identifier: Apache-2.0
// What lies together far away is loaded together.
#include "tests/unit/cached/node_fixture.h"

namespace holdfast::cached {
namespace {

constexpr uint32_t kObjects = 200;

class PlacesTest : public NodeTest {
 protected:
  // Object n lies in pack n % 5, but for every tenth.
  void StartWithPlaces(NodeOptions options = {}) {
    Start(8 * kMiB, options);
    for (uint32_t n = 0; n < kObjects; ++n) numbers_[OidOf(NameOfObject(n))] = n;
    world_->far.place = [this](const Oid& oid) { return PlaceOf(numbers_.at(oid)); };
  }
  static std::optional<FarPlace> PlaceOf(uint32_t n) {
    if (n % 10 == 9) return std::nullopt;
    return FarPlace{n % 5 + 1, n};
  }
  void LoadAll() {
    planner::Manifest manifest = ManifestOf(0, kObjects, kSize);
    ASSERT_NE(Call(manifest), nullptr);
    ASSERT_NE(Confirm(manifest, Bitmap(kObjects), Bitmap(kObjects, true)), nullptr);
  }
  std::vector<uint32_t> Asked() const {
    std::vector<uint32_t> asked;
    for (const std::string& uri : world_->far.uris) asked.push_back(numbers_.at(OidOf(uri)));
    return asked;
  }
  std::map<Oid, uint32_t> numbers_;
};

TEST_F(PlacesTest, APackIsAskedForFromItsBeginningToItsEnd) {
  StartWithPlaces();
  LoadAll();
  world_->clock.RunFor(5s);
  EXPECT_EQ(Progress().kept_objects, kObjects);
  const std::vector<uint32_t> asked = Asked();
  ASSERT_EQ(asked.size(), kObjects);
  std::vector<FarPlace> places;
  for (uint32_t n : asked) {
    if (PlaceOf(n)) places.push_back(*PlaceOf(n));
  }
  EXPECT_TRUE(std::is_sorted(places.begin(), places.end()));
}

TEST_F(PlacesTest, ManyOfThemAreUnderWayAtATime) {
  NodeOptions options;
  options.max_loads = 4;
  StartWithPlaces(options);
  world_->far.place = [this](const Oid& oid) { return FarPlace{1, numbers_.at(oid)}; };
  world_->far.latency = 1s;
  LoadAll();
  world_->clock.RunFor(500ms);
  EXPECT_EQ(Asked().size(), kObjects);
  world_->clock.RunFor(5s);
  EXPECT_EQ(Progress().kept_objects, kObjects);
  EXPECT_EQ(State()["loads"]["active"], 0);
  Check();
}

TEST_F(PlacesTest, RequestsAreThoseThatWereSpent) {
  StartWithPlaces();
  world_->far.requests = [](const std::string& uri) { return uri.back() == '0' ? 1u : 0u; };
  LoadAll();
  world_->clock.RunFor(5s);
  EXPECT_EQ(Progress().far_requests, kObjects / 10);
  EXPECT_EQ(State()["loads"]["far_requests"], kObjects / 10);
}

}  // namespace
}  // namespace holdfast::cached
