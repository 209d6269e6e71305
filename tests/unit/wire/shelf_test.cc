// SPDX-License-Identifier: Apache-2.0
#include "wire/shelf.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "base/hash.h"
#include "base/uri.h"
#include "wire/local_reader.h"

namespace holdfast::stream {
namespace {

constexpr uint32_t kPlaces = 8;
constexpr uint64_t kPlaceBytes = 10'000;

class ShelfTest : public testing::Test {
 protected:
  ShelfTest() : plan_(Shelf::Plan(kPlaces, kPlaceBytes)), region_(plan_.region_bytes) {
    session_ = Buffer(shm::SessionBytes(kPlaces));
    std::memset(region_.data(), 0, region_.size());
    std::memset(session_.data(), 0, session_.size());
    shelf_ = std::make_unique<Shelf>(region_.span(), plan_);
    FormatSession(session_.span(), 1, kPlaces, 1, 0);
    shelf_->ServedBy(session_.span());
    Result<std::unique_ptr<LocalReader>> reader =
        LocalReader::Open(region_.view(), session_.span());
    HF_CHECK(reader.ok());
    reader_ = *std::move(reader);
  }
  static std::string Name(uint32_t n) { return "stream:0/0/" + std::to_string(n); }
  void Show(uint32_t place, uint32_t n, const std::string& bytes) {
    std::memcpy(shelf_->Room(place).data(), bytes.data(), bytes.size());
    ASSERT_TRUE(shelf_->Show(place, Name(n), n + 1, bytes.size(), Hash64(AsBytes(bytes))));
  }
  LocalView Pin(uint32_t n) { return reader_->Pin(OidOf(Name(n)), n + 1); }

  shm::RegionPlan plan_;
  Buffer region_;
  Buffer session_;
  std::unique_ptr<Shelf> shelf_;
  std::unique_ptr<LocalReader> reader_;
};

TEST_F(ShelfTest, WhatIsShownIsReadAndWhatIsHiddenIsNot) {
  for (uint32_t place = 0; place < kPlaces; ++place) {
    ASSERT_GE(shelf_->Room(place).size(), kPlaceBytes);
    Show(place, place, std::string(kPlaceBytes - place, static_cast<char>('a' + place)));
  }
  for (uint32_t place = 0; place < kPlaces; ++place) {
    LocalView view = Pin(place);
    ASSERT_TRUE(static_cast<bool>(view));
    EXPECT_EQ(AsText(view.payload()),
              std::string(kPlaceBytes - place, static_cast<char>('a' + place)));
    EXPECT_EQ(view.payload_hash(), Hash64(view.payload()));
    EXPECT_EQ(view.name(), Name(place));
  }
  EXPECT_FALSE(static_cast<bool>(reader_->Pin(OidOf(Name(0)), 99)));
  shelf_->Hide(3);
  EXPECT_FALSE(static_cast<bool>(Pin(3)));
  EXPECT_TRUE(static_cast<bool>(Pin(4)));
  Show(3, 100, "");
  EXPECT_EQ(Pin(100).payload().size(), 0u);
}

TEST_F(ShelfTest, APlaceIsNotFreeWhileItIsRead) {
  Show(5, 5, "bytes");
  {
    LocalView view = Pin(5);
    EXPECT_FALSE(shelf_->Unread(5));
    shelf_->Hide(5);
    EXPECT_FALSE(shelf_->Unread(5));
    EXPECT_EQ(AsText(view.payload()), "bytes");
  }
  EXPECT_TRUE(shelf_->Unread(5));
}

}  // namespace
}  // namespace holdfast::stream
