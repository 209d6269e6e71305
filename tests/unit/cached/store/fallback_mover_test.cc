// SPDX-License-Identifier: Apache-2.0
// Reclaim whose bytes are moved by a worker elsewhere, which does it, does not, or lies.
#include "cached/store/fallback_mover.h"

#include <gtest/gtest.h>

#include "tests/unit/cached/store/fake_disk.h"

namespace holdfast::store {
namespace {

constexpr uint64_t kSize = 10'000;

// A worker on another machine, with a connection of its own to the same segments.
class FakeWorker : public SegmentMover {
 public:
  enum class Does { kWork, kFail, kTimeOut, kNothing, kHalf, kDeny };

  FakeWorker(Clock* clock, Disk* disk) : clock_(clock), mover_(disk, nullptr) {}
  void Move(SegmentMove move, std::function<void(Moved)> done) override {
    ++asked;
    if (does == Does::kWork) return mover_.Move(std::move(move), std::move(done));
    if (does == Does::kHalf) {  // and then it is gone
      return mover_.Move(std::move(move), [done = std::move(done)](Moved moved) {
        moved.status = Status::Unavailable("the worker is gone");
        done(std::move(moved));
      });
    }
    if (does == Does::kDeny) {
      return mover_.Move(std::move(move), [done = std::move(done)](Moved moved) {
        moved.right = Bitmap(moved.right.size());
        moved.right.Set(0);
        done(std::move(moved));
      });
    }
    Moved moved{.right = Bitmap(move.records.size(), true)};
    if (does == Does::kFail) moved.status = Status::Unavailable("the worker is gone");
    if (does == Does::kTimeOut) moved.status = Status::Timeout("the worker does not answer");
    clock_->At(clock_->Now() + 1ms, [moved, done = std::move(done)] { done(moved); });
  }

  Does does = Does::kWork;
  uint64_t asked = 0;

 private:
  Clock* clock_;
  RecordMover mover_;
};

class FallbackMoverTest : public testing::Test {
 protected:
  FallbackMoverTest() : w_(16), worker_(&w_.clock, &w_.disk) {
    w_.mover = &worker_;
    HF_CHECK(w_.Start().ok());
    w_.Take(0, 20, kSize);
    for (uint32_t n = 0; n < 20; ++n) {
      uint32_t holds = 0;
      HF_CHECK(w_.tier->Hold(w_.Key(n, kSize).oid, w_.Key(n, kSize).version, kSize, &holds));
    }
  }
  // As much as the disk has, twice; of each twenty one is read.
  void Churn() {
    for (const uint32_t end = next_ + 800; next_ < end; next_ += 20) {
      w_.Take(next_, 20, kSize);
      ASSERT_TRUE(w_.CountRight(next_, 1, kSize).ok());
    }
  }
  void ExpectAllHeld() {
    EXPECT_EQ(*w_.CountRight(0, 20, kSize), 20u);
    EXPECT_FALSE(w_.tier->TakeLost().any());
    EXPECT_EQ(w_.tier->Stats().corrupt, 0u);
  }
  FallbackMover::Counters moves() const { return w_.tier->Stats().moves; }

  DiskWorld w_;
  FakeWorker worker_;
  uint32_t next_ = 1'000;
};

TEST_F(FallbackMoverTest, TheWorkerDoesIt) {
  Churn();
  EXPECT_GT(moves().elsewhere, 5u);
  EXPECT_EQ(moves().here, 0u);
  EXPECT_GT(w_.tier->Stats().reclaim.kept_bytes, 100'000u);
  ExpectAllHeld();
}

TEST_F(FallbackMoverTest, WhatTheWorkerDoesNotDoTheNodeDoes) {
  for (const auto does :
       {FakeWorker::Does::kFail, FakeWorker::Does::kTimeOut, FakeWorker::Does::kHalf}) {
    worker_.does = does;
    w_.clock.RunFor(FallbackMover::kMostRest);
    const FallbackMover::Counters before = moves();
    Churn();
    EXPECT_GT(moves().failed, before.failed);
    EXPECT_EQ(moves().elsewhere, before.elsewhere);
    EXPECT_GT(moves().here, before.here);
    ExpectAllHeld();
  }
}

TEST_F(FallbackMoverTest, AWorkerThatIsBackIsAskedAgain) {
  worker_.does = FakeWorker::Does::kFail;
  Churn();
  worker_.does = FakeWorker::Does::kWork;
  w_.clock.RunFor(FallbackMover::kMostRest);
  const FallbackMover::Counters before = moves();
  Churn();
  EXPECT_GT(moves().elsewhere, before.elsewhere);
  EXPECT_EQ(moves().here, before.here);
  ExpectAllHeld();
}

// Not with every move is somebody waited for who is not there.
TEST_F(FallbackMoverTest, AWorkerThatFailsRests) {
  worker_.does = FakeWorker::Does::kTimeOut;
  Churn();
  EXPECT_LT(worker_.asked, moves().here);
}

// It says to have moved what it has not: the sample shows it, the node moves it, and nothing is lost.
TEST_F(FallbackMoverTest, AWorkerThatLiesIsFoundOut) {
  worker_.does = FakeWorker::Does::kNothing;
  Churn();
  EXPECT_EQ(moves().wrong, 1u);
  EXPECT_EQ(worker_.asked, 1u);
  EXPECT_EQ(moves().elsewhere, 0u);
  ExpectAllHeld();
  worker_.does = FakeWorker::Does::kWork;
  w_.clock.RunFor(FallbackMover::kDistrust);
  Churn();
  EXPECT_GT(moves().elsewhere, 0u);
  ExpectAllHeld();
}

// What is damaged in the victim is nobody's: the rest of it is kept.
TEST_F(FallbackMoverTest, WhatIsDamagedIsLeftOut) {
  w_.Take(500, 20, kSize);  // in another segment than what is held
  w_.Take(100, 5, kSize);
  ASSERT_EQ(*w_.CountRight(100, 5, kSize), 5u);
  const std::optional<disk::Place> place =
      w_.tier->PlaceOf(w_.Key(102, kSize).oid, w_.Key(102, kSize).version);
  ASSERT_TRUE(place.has_value());
  const uint64_t block = place->offset / 4096 * 4096 + 4096;
  std::string bytes(4096, '\0');
  w_.image.Read(place->segment, block, {reinterpret_cast<std::byte*>(bytes.data()), bytes.size()});
  bytes[100] ^= 1;
  w_.image.Write(place->segment, block, {AsBytes(bytes)});
  // Read before, so reclaim wants to keep it.
  for (int i = 0; i < 2; ++i) {
    for (const uint32_t end = next_ + 400; next_ < end; next_ += 20) {
      w_.Take(next_, 20, kSize);
      for (const uint32_t n : {100u, 101u, 103u, 104u})
        ASSERT_TRUE(w_.tier->PlaceOf(w_.Key(n, kSize).oid, w_.Key(n, kSize).version).has_value());
    }
  }
  EXPECT_EQ(*w_.CountRight(100, 5, kSize), 4u);
  ExpectAllHeld();
}

// It denies what is there: the node looks for itself, and nothing that is promised is given up.
TEST_F(FallbackMoverTest, AWorkerThatDeniesIsNotBelieved) {
  worker_.does = FakeWorker::Does::kDeny;
  Churn();
  EXPECT_GT(moves().failed, 0u);
  EXPECT_GT(moves().here, 0u);
  ExpectAllHeld();
}

// Without a disk that answers there is nobody who can move.
TEST_F(FallbackMoverTest, AnAwayDiskLosesNothing) {
  Churn();
  worker_.does = FakeWorker::Does::kTimeOut;
  w_.disk.fail_code = Code::kTimeout;
  const uint64_t failed = moves().failed, asked = worker_.asked;
  for (int i = 0; i < 30; ++i, next_ += 20) {
    w_.disk.fail_reads = true;
    w_.disk.good_reads = 1;  // of the victim's table
    w_.Take(next_, 20, kSize);
    w_.clock.RunFor(2s);  // the next victim
  }
  EXPECT_GT(worker_.asked, asked);
  EXPECT_GT(moves().failed, failed);
  w_.disk.fail_reads = false;
  worker_.does = FakeWorker::Does::kWork;
  w_.clock.RunFor(FallbackMover::kMostRest);
  Churn();
  ExpectAllHeld();
}

}  // namespace
}  // namespace holdfast::store
