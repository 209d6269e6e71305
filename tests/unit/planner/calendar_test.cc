// SPDX-License-Identifier: Apache-2.0
#include "planner/calendar.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/random.h"

namespace holdfast::planner {
namespace {

Time At(int64_t seconds) { return {seconds * 1'000'000}; }

TEST(Calendar, ReservesUpToItsCapacity) {
  Calendar c(100);
  EXPECT_EQ(c.Room(), 100u);
  EXPECT_TRUE(c.Reserve(60, At(0), At(10)));
  EXPECT_FALSE(c.Reserve(41, At(0), At(10)));
  EXPECT_EQ(c.reserved(), 60u);
  EXPECT_TRUE(c.Reserve(40, At(5), At(6)));
  EXPECT_EQ(c.Room(), 0u);
  c.Release(40, At(6));
  c.Release(60, At(10));
  EXPECT_EQ(c.reserved(), 0u);
}

TEST(Calendar, SaysWhenThereWillBeRoom) {
  Calendar c(100);
  EXPECT_EQ(c.RoomFor(100, At(3)), At(3));
  EXPECT_EQ(c.RoomFor(101, At(3)), Time::Max());
  ASSERT_TRUE(c.Reserve(50, At(0), At(10)));
  ASSERT_TRUE(c.Reserve(30, At(0), At(20)));
  EXPECT_EQ(c.RoomFor(20, At(1)), At(1));
  EXPECT_EQ(c.RoomFor(21, At(1)), At(10));
  EXPECT_EQ(c.RoomFor(70, At(1)), At(10));
  EXPECT_EQ(c.RoomFor(71, At(1)), At(20));
  // An end that has passed without a release may be released at any moment.
  EXPECT_EQ(c.RoomFor(21, At(15)), At(15));
}

TEST(CalendarDeathTest, ReleasingMoreThanWasReservedIsOurMistake) {
  Calendar c(100);
  ASSERT_TRUE(c.Reserve(10, At(0), At(10)));
  EXPECT_DEATH(c.Release(11, At(10)), "");
  EXPECT_DEATH(c.Release(10, At(11)), "");
}

struct Booking {
  uint64_t bytes;
  int64_t until;
};

// The model: what is reserved at every second to come.
class Model {
 public:
  explicit Model(uint64_t capacity) : capacity_(capacity) {}
  void Add(const Booking& b) {
    for (int64_t s = 0; s < b.until; ++s) busy_[static_cast<size_t>(s)] += b.bytes;
  }
  void Remove(const Booking& b) {
    for (int64_t s = 0; s < b.until; ++s) busy_[static_cast<size_t>(s)] -= b.bytes;
  }
  uint64_t Busy(int64_t s) const { return busy_[static_cast<size_t>(s)]; }
  int64_t RoomFor(uint64_t bytes, int64_t now) const {
    while (capacity_ - Busy(now) < bytes) ++now;
    return now;
  }

 private:
  uint64_t capacity_;
  std::vector<uint64_t> busy_ = std::vector<uint64_t>(100'000);
};

// Few distinct ends: the calendar is exact. Every booking is released at its end, as the daemon
// does.
TEST(Calendar, AgreesWithAnArrayOfSeconds) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Random random(seed);
    Calendar calendar(1000);
    Model model(1000);
    std::vector<Booking> booked;
    for (int64_t now = 0; now < 300; ++now) {
      std::erase_if(booked, [&](const Booking& b) {
        if (b.until > now) return false;
        calendar.Release(b.bytes, At(b.until));
        return true;
      });
      ASSERT_EQ(calendar.reserved(), model.Busy(now));
      Booking b{1 + random.Below(200), now + 1 + static_cast<int64_t>(random.Below(50))};
      bool fits = model.Busy(now) + b.bytes <= 1000;
      ASSERT_EQ(calendar.Reserve(b.bytes, At(now), At(b.until)), fits);
      if (fits) {
        model.Add(b);
        booked.push_back(b);
      } else {
        ASSERT_EQ(calendar.RoomFor(b.bytes, At(now)), At(model.RoomFor(b.bytes, now)));
      }
      if (!booked.empty() && random.Chance(0.3)) {
        size_t victim = random.Below(booked.size());
        calendar.Release(booked[victim].bytes, At(booked[victim].until));
        model.Remove(booked[victim]);
        booked.erase(booked.begin() + static_cast<ptrdiff_t>(victim));
      }
    }
  }
}

// Thousands of ends: room is exact now, and said to come at the right time or later, never before,
// and not much later.
TEST(Calendar, RoundsEndsUpWhenThereAreMany) {
  Random random(7);
  Calendar calendar(1'000'000);
  Model model(1'000'000);
  std::vector<Booking> booked;
  for (int i = 0; i < 3000; ++i) {
    // Remaining times over four orders of magnitude, as jobs of minutes and of days have.
    int64_t until = 5 + static_cast<int64_t>(random.Below(uint64_t{10} << random.Below(13)));
    Booking b{1 + random.Below(300), until};
    ASSERT_TRUE(calendar.Reserve(b.bytes, At(0), At(until)));
    model.Add(b);
    booked.push_back(b);
  }
  ASSERT_EQ(calendar.reserved(), model.Busy(0));
  for (uint64_t bytes = calendar.Room(); bytes <= 1'000'000; bytes += 10'000) {
    int64_t exact = model.RoomFor(bytes, 0);
    Time said = calendar.RoomFor(bytes, At(0));
    EXPECT_GE(said, At(exact));
    EXPECT_LE(said.us, At(exact).us * 2);
  }
  random.Shuffle(booked);
  for (const Booking& b : booked) {
    calendar.Release(b.bytes, At(b.until));
    model.Remove(b);
    uint64_t bytes = calendar.Room() + 1;
    if (bytes <= 1'000'000) {
      ASSERT_GE(calendar.RoomFor(bytes, At(0)), At(model.RoomFor(bytes, 0)));
    }
  }
  EXPECT_EQ(calendar.reserved(), 0u);
}

}  // namespace
}  // namespace holdfast::planner
