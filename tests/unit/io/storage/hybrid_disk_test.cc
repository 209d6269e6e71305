// SPDX-License-Identifier: Apache-2.0
#include "io/storage/hybrid_disk.h"

#include <map>

#include "tests/unit/io/storage/fixture.h"
#include "wire/disk_segment.h"

namespace holdfast::storage {
namespace {

constexpr uint32_t kSegments = 4;
constexpr uint64_t kBytes = 64 * kKiB;

class NearDisk : public Disk {
 public:
  explicit NearDisk(Clock* clock) : clock_(clock), bytes_(kSegments * kBytes) {}
  uint32_t segments() const override { return kSegments; }
  uint64_t segment_bytes() const override { return kBytes; }
  void Read(uint32_t segment, uint64_t offset, ByteSpan into,
            std::function<void(Status, uint64_t)> done) override {
    clock_->At(clock_->Now(), [this, segment, offset, into, done = std::move(done)] {
      if (gone) return done(Status::Unavailable("the disk is gone"), 0);
      std::memcpy(into.data(), bytes_.data() + segment * kBytes + offset, into.size());
      done({}, Hash64(into));
    });
  }
  void Write(uint32_t segment, uint64_t offset, std::vector<ByteView> parts,
             std::function<void(Status)> done) override {
    std::byte* at = bytes_.data() + segment * kBytes + offset;
    for (ByteView part : parts) at = std::copy(part.begin(), part.end(), at);
    clock_->At(clock_->Now(), [done = std::move(done)] { done({}); });
  }
  void Sync(uint32_t, std::function<void(Status)> done) override {
    clock_->At(clock_->Now(), [done = std::move(done)] { done({}); });
  }
  bool gone = false;

 private:
  Clock* clock_;
  std::vector<std::byte> bytes_;
};

// The same disk in the next life of the process.
class ForwardingDisk : public Disk {
 public:
  explicit ForwardingDisk(Disk* disk) : disk_(disk) {}
  uint32_t segments() const override { return disk_->segments(); }
  uint64_t segment_bytes() const override { return disk_->segment_bytes(); }
  void Read(uint32_t segment, uint64_t offset, ByteSpan into,
            std::function<void(Status, uint64_t)> done) override {
    disk_->Read(segment, offset, into, std::move(done));
  }
  void Write(uint32_t segment, uint64_t offset, std::vector<ByteView> parts,
             std::function<void(Status)> done) override {
    disk_->Write(segment, offset, std::move(parts), std::move(done));
  }
  void Sync(uint32_t segment, std::function<void(Status)> done) override {
    disk_->Sync(segment, std::move(done));
  }

 private:
  Disk* disk_;
};

class FakeFar : public FarStore, public FarWriter {
 public:
  explicit FakeFar(Clock* clock) : clock_(clock) {}
  void Get(FarGet get, std::function<void(Status, FarInfo, uint64_t)> done) override {
    ++gets;
    HF_CHECK(get.pieces != nullptr && !get.whole);
    auto found = objects.find(get.uri);
    const Status status = found == objects.end() ? Status::NotFound(get.uri) : Status();
    for (FarPiece& piece : *get.pieces) {
      HF_CHECK(piece.offset >= get.offset &&
               piece.offset + piece.into.size() <= get.offset + get.length);
      piece.filled = status.ok() && piece.offset + piece.into.size() <= found->second.size();
      if (!piece.filled) continue;
      std::memcpy(piece.into.data(), found->second.data() + piece.offset, piece.into.size());
      piece.hash = Hash64(piece.into);
    }
    clock_->At(clock_->Now(), [status, done = std::move(done)] { done(status, {}, 0); });
  }
  void Put(FarPut put, std::function<void(Result<FarInfo>)> done) override {
    clock_->At(clock_->Now() + 2ms, [this, put = std::move(put), done = std::move(done)] {
      if (fails) return done(Status::Denied("the far store takes nothing"));
      objects[put.uri] = std::string(AsText(put.bytes));
      done(FarInfo{.size = put.bytes.size(), .etag = "e"});
    });
  }
  void Head(const std::string&, Time, std::function<void(Result<FarInfo>)>) override {}
  void List(const std::string&, const std::string&, bool, Time,
            std::function<void(Result<FarPage>)>) override {}
  FarCounters Counters() const override { return {}; }

  std::map<std::string, std::string> objects;
  uint64_t gets = 0;
  bool fails = false;

 private:
  Clock* clock_;
};

class HybridDiskTest : public StorageTest {
 protected:
  HybridDiskTest() : far_(loop_.get()) {
    auto near = std::make_unique<NearDisk>(loop_.get());
    near_ = near.get();
    hybrid_ = std::make_unique<HybridDisk>(std::move(near), Options());
  }
  HybridDisk::Options Options() {
    return {.prefix = "file:///far/",
            .node = 3,
            .clock = loop_.get(),
            .far = &far_,
            .writer = &far_,
            .log = nullptr,
            .rest = 2ms};
  }
  void Write(uint32_t segment, uint64_t offset, std::string text) {
    bool done = false;
    hybrid_->Write(segment, offset, {AsBytes(text)}, [&](const Status& status) {
      EXPECT_TRUE(status.ok());
      done = true;
    });
    Until([&] { return done; });
  }
  // As the disk tier seals a segment.
  void Seal(uint32_t segment) {
    bool done = false;
    hybrid_->Sync(segment, [&](const Status&) { done = true; });
    Until([&] { return done; });
    std::string block(disk::kBlock, '\0');
    disk::EncodeSeal({.node = 3, .sequence = 1, .segment_bytes = kBytes, .table_offset = 8192},
                     reinterpret_cast<std::byte*>(block.data()));
    Write(segment, 0, block);
  }
  using StorageTest::Read;
  Result<std::string> Read(uint32_t segment, uint64_t offset, size_t bytes) {
    return Read(static_cast<SegmentReader*>(hybrid_.get()), segment, offset, bytes);
  }

  FakeFar far_;
  NearDisk* near_ = nullptr;
  std::unique_ptr<HybridDisk> hybrid_;
};

TEST_F(HybridDiskTest, ASealedSegmentHasACopy) {
  const std::string text = TextOf(1, 20'000);
  Write(1, 4096, text);
  EXPECT_EQ(Read(hybrid_->copies(), 1, 4096, 100).status().code(), Code::kNotFound);
  Seal(1);
  Until([&] { return hybrid_->counters().copies == 1; });
  EXPECT_EQ(far_.objects.count("file:///far/node-3/000001.segment"), 1u);
  EXPECT_EQ(*Read(hybrid_->copies(), 1, 4096, text.size()), text);
  EXPECT_EQ(*Read(1, 4096, text.size()), text);
  EXPECT_EQ(far_.gets, 1u) << "what is near is read there";
  near_->gone = true;
  EXPECT_EQ(*Read(1, 5000, 500), text.substr(904, 500));
  EXPECT_EQ(*Read(1, 5000, 0), "");
  EXPECT_EQ(Read(2, 0, 10).status().code(), Code::kUnavailable) << "what the disk said";
}

TEST_F(HybridDiskTest, OneThatIsWrittenAgainHasNoneUntilItsNextSeal) {
  Write(1, 4096, "old");
  Seal(1);
  Until([&] { return hybrid_->counters().copies == 1; });
  Write(1, 0, std::string(disk::kBlock, '\0'));
  Write(1, 4096, "new");
  near_->gone = true;
  EXPECT_FALSE(Read(1, 4096, 3).ok());
  EXPECT_EQ(Read(hybrid_->copies(), 1, 4096, 3).status().code(), Code::kNotFound);
  near_->gone = false;
  Seal(1);
  Until([&] { return hybrid_->counters().copies == 2; });
  near_->gone = true;
  EXPECT_EQ(*Read(1, 4096, 3), "new");
}

TEST_F(HybridDiskTest, OneThatIsWrittenWhileItIsCopiedHasNone) {
  Write(1, 4096, "old");
  Seal(1);
  Write(1, 0, std::string(disk::kBlock, '\0'));
  Until([&] { return hybrid_->counters().copies == 1; });
  EXPECT_EQ(Read(hybrid_->copies(), 1, 4096, 3).status().code(), Code::kNotFound);
}

TEST_F(HybridDiskTest, AFarStoreThatTakesNothingDoesNotHinder) {
  far_.fails = true;
  for (uint32_t segment = 0; segment < kSegments; ++segment) Seal(segment);
  Until([&] { return hybrid_->counters().failed_copies == kSegments; });
  Write(1, 4096, "text");
  EXPECT_EQ(*Read(1, 4096, 4), "text");
  far_.fails = false;
  Until([&] { return hybrid_->counters().copies == kSegments - 1; });  // 1 was written to
  EXPECT_EQ(Read(hybrid_->copies(), 1, 4096, 4).status().code(), Code::kNotFound);
  Seal(1);
  Until([&] { return hybrid_->counters().copies == kSegments; });
  EXPECT_EQ(*Read(hybrid_->copies(), 1, 4096, 4), "text");
}

TEST_F(HybridDiskTest, ACopyThatFailedIsWrittenLater) {
  const std::string text = TextOf(1, 20'000);
  far_.fails = true;
  Write(2, 4096, text);
  Seal(2);
  Until([&] { return hybrid_->counters().failed_copies == 3; });
  EXPECT_EQ(Read(hybrid_->copies(), 2, 4096, 10).status().code(), Code::kNotFound);
  far_.fails = false;
  Until([&] { return hybrid_->counters().copies == 1; });
  EXPECT_EQ(*Read(hybrid_->copies(), 2, 4096, text.size()), text);
}

TEST_F(HybridDiskTest, WhatTheDiskCannotReadHoldsUpNoCopies) {
  near_->gone = true;
  Seal(1);
  Until([&] { return hybrid_->counters().failed_copies == 1; });
  near_->gone = false;
  Seal(2);
  Until([&] { return hybrid_->counters().copies == 1; });
  EXPECT_EQ(far_.objects.count("file:///far/node-3/000001.segment"), 0u);
  EXPECT_EQ(hybrid_->counters().failed_copies, 1u);
}

TEST_F(HybridDiskTest, AStartCopiesWhatHasNoCopyOrAnOlderOne) {
  Write(0, 4096, "none");
  Seal(0);
  Write(1, 4096, "right");
  Seal(1);
  Write(2, 4096, "older");
  Seal(2);
  Until([&] { return hybrid_->counters().copies == 3; });
  const auto name = [](char n) { return std::string("file:///far/node-3/00000") + n + ".segment"; };
  far_.objects.erase(name('0'));
  far_.objects[name('2')] = std::string(kBytes, 'o');
  HybridDisk next(std::make_unique<ForwardingDisk>(near_), Options());
  far_.gets = 0;
  next.Check();
  Until([&] { return next.counters().copies == 2; });
  EXPECT_EQ(far_.gets, 3u) << "one for each that is sealed";
  EXPECT_EQ(*Read(next.copies(), 0, 4096, 4), "none");
  EXPECT_EQ(*Read(next.copies(), 2, 4096, 5), "older");
  EXPECT_EQ(far_.objects[name('1')].substr(4096, 5), "right");
}

TEST_F(HybridDiskTest, WhatIsReadTogetherSharesARequest) {
  const std::string text = TextOf(1, 20'000);
  Write(1, 4096, text);
  Seal(1);
  Until([&] { return hybrid_->counters().copies == 1; });
  std::vector<std::string> into(6, std::string(500, '?'));
  const uint64_t offsets[] = {9000, 4096, 15'000, 9200, 9000, 20'000};  // some overlap
  size_t done = 0;
  for (size_t i = 0; i < 6; ++i) {
    hybrid_->copies()->Read(1, offsets[i],
                            ByteSpan(reinterpret_cast<std::byte*>(into[i].data()), 500),
                            [&, i](const Status& status, uint64_t) {
                              EXPECT_TRUE(status.ok());
                              EXPECT_EQ(into[i], text.substr(offsets[i] - 4096, 500));
                              ++done;
                            });
  }
  Until([&] { return done == 6; });
  EXPECT_EQ(far_.gets, 3u);
}

// After a restart it is not known which copies there are.
TEST_F(HybridDiskTest, CopiesOfAnEarlierStartAreFound) {
  far_.objects["file:///far/node-3/000002.segment"] = std::string(kBytes, 'c');
  EXPECT_EQ(*Read(hybrid_->copies(), 2, 100, 3), "ccc");
  far_.objects["file:///far/node-3/000002.segment"] = "cut";
  EXPECT_EQ(Read(hybrid_->copies(), 2, 100, 3).status().code(), Code::kNotFound);
}

}  // namespace
}  // namespace holdfast::storage
