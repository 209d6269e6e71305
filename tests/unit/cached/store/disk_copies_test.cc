// SPDX-License-Identifier: Apache-2.0
// A disk tier whose segments have copies elsewhere, or lie elsewhere themselves.
#include <gtest/gtest.h>

#include "tests/unit/cached/store/fake_disk.h"

namespace holdfast::store {
namespace {

// What the disk had when it was told to copy it.
class FakeCopies : public SegmentReader {
 public:
  FakeCopies(Clock* clock, const sim::DiskImage& image) : clock_(clock), image_(image) {}
  void Copy(const sim::DiskImage& image) { image_ = image; }
  void Read(uint32_t segment, uint64_t offset, ByteSpan into,
            std::function<void(Status, uint64_t)> done) override {
    ++reads;
    clock_->At(clock_->Now() + 1ms, [this, segment, offset, into, done = std::move(done)] {
      if (gone) return done(Status::NotFound("no copy"), 0);
      image_.Read(segment, offset, into);
      done({}, Hash64(into));
    });
  }

  uint64_t reads = 0;
  bool gone = false;

 private:
  Clock* clock_;
  sim::DiskImage image_;
};

class DiskCopies : public testing::Test {
 protected:
  DiskCopies() : copies_(&w_.clock, w_.image) {
    w_.copies = &copies_;
    HF_CHECK(w_.Start().ok());
  }
  void Damage() {
    const std::string noise(DiskWorld::kSegmentBytes - 4096, 'x');
    for (uint32_t segment = 0; segment < w_.image.segments(); ++segment)
      w_.image.Write(segment, 4096, {AsBytes(noise)});
  }

  DiskWorld w_;
  FakeCopies copies_;
};

TEST_F(DiskCopies, WhatIsDamagedIsReadFromTheCopy) {
  w_.Take(0, 40, 10'000);
  w_.Take(100, 20, 100);  // comes with its head
  copies_.Copy(w_.image);
  EXPECT_EQ(*w_.CountRight(0, 40, 10'000), 40u);
  EXPECT_EQ(copies_.reads, 0u);
  Damage();
  EXPECT_EQ(*w_.CountRight(0, 40, 10'000), 40u);
  EXPECT_EQ(*w_.CountRight(100, 20, 100), 20u);
  EXPECT_EQ(w_.tier->Stats().corrupt, 0u);
  EXPECT_GT(copies_.reads, 40u);
}

TEST_F(DiskCopies, ADiskThatCannotBeReadHasItsCopies) {
  w_.Take(0, 20, 10'000);
  copies_.Copy(w_.image);
  w_.disk.fail_reads = true;
  EXPECT_EQ(*w_.CountRight(0, 20, 10'000), 20u);
}

TEST_F(DiskCopies, WhatIsWrongInBothIsLost) {
  w_.Take(0, 20, 10'000);
  Damage();
  copies_.Copy(w_.image);
  EXPECT_EQ(*w_.CountRight(0, 20, 10'000), 0u);
  EXPECT_EQ(w_.tier->Stats().corrupt, 20u);
  w_.Take(0, 20, 10'000);
  copies_.gone = true;
  Damage();
  EXPECT_EQ(*w_.CountRight(0, 20, 10'000), 0u);
}

// The table and what is kept.
TEST_F(DiskCopies, ReclaimReadsTheCopies) {
  w_.reclaim_reads_copies = true;
  ASSERT_TRUE(w_.Start().ok());
  uint32_t n = 0;
  for (; w_.tier->Stats().reclaim.kept_bytes == 0; n += 10) {
    ASSERT_LT(n, 2'000u);
    w_.Take(n, 10, 10'000);
    copies_.Copy(w_.image);
    ASSERT_TRUE(w_.CountRight(n, 1, 10'000).ok());  // one of ten is read, and kept
  }
  EXPECT_GT(copies_.reads, 1u);
  EXPECT_EQ(w_.tier->Stats().reclaim.bad_tables, 0u);
  EXPECT_GT(*w_.CountRight(0, n, 10'000), 100u);
}

TEST_F(DiskCopies, ReclaimReadsTheDiskWhereTheCopiesAreWrong) {
  w_.reclaim_reads_copies = true;
  ASSERT_TRUE(w_.Start().ok());
  for (uint32_t n = 0; n < 400; n += 10) {
    copies_.gone = n % 20 == 0;  // or still empty
    w_.Take(n, 10, 10'000);
    ASSERT_TRUE(w_.CountRight(n, 1, 10'000).ok());
  }
  EXPECT_GT(w_.tier->Stats().reclaim.evicted_objects, 50u);
  EXPECT_EQ(w_.tier->Stats().reclaim.bad_tables, 0u);
}

// Segments on a storage server that does not answer in time.
TEST(DiskElsewhere, WhatCannotBeReadForWantOfTimeIsNotForgotten) {
  DiskWorld w;
  w.Take(0, 20, 10'000);
  w.disk.fail_code = Code::kTimeout;
  w.disk.fail_reads = true;
  EXPECT_EQ(*w.CountRight(0, 20, 10'000), 0u);
  w.disk.fail_reads = false;
  EXPECT_EQ(*w.CountRight(0, 20, 10'000), 20u);
  EXPECT_EQ(w.tier->Stats().corrupt, 0u);
}

}  // namespace
}  // namespace holdfast::store
