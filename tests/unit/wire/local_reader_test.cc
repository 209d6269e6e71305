// SPDX-License-Identifier: Apache-2.0
// The reader over a region that was put together by hand. The store's tests have it beside a real
// daemon's tier.
#include "wire/local_reader.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>

#include <functional>
#include <string>
#include <vector>

namespace holdfast {
namespace {

constexpr uint32_t kSegments = 8;
constexpr uint32_t kBuckets = 16;
constexpr uint64_t kSegmentBytes = 16 * kKiB;

class Pages {
 public:
  explicit Pages(size_t size) : size_(shm::AlignUp(size, 4096)) {
    void* p = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    HF_CHECK(p != MAP_FAILED);
    data_ = static_cast<std::byte*>(p);
  }
  ~Pages() { munmap(data_, size_); }
  Pages(const Pages&) = delete;
  std::byte* data() const { return data_; }
  void Protect(int protection) const { HF_CHECK(mprotect(data_, size_, protection) == 0); }

 private:
  size_t size_;
  std::byte* data_;
};

class LocalReaderTest : public testing::Test {
 protected:
  LocalReaderTest() {
    *header() = {.magic = shm::kRegionMagic,
                 .layout_version = shm::kLayoutVersion,
                 .node = 1,
                 .incarnation = 42,
                 .region_bytes = kRegionBytes,
                 .segment_bytes = kSegmentBytes,
                 .segments = kSegments,
                 .buckets = kBuckets,
                 .bucket_offset = kBucketOffset,
                 .segment_offset = kSegmentOffset,
                 .padding = {}};
    FormatSession(session(), 9, kSegments, 42, 1);
    Grant(9, 2);
    reader_ = std::move(*LocalReader::Open(region(), session(), &forks_));
  }
  static constexpr uint64_t kBucketOffset = 4096;
  static constexpr uint64_t kSegmentOffset = 8192;
  static constexpr uint64_t kRegionBytes = kSegmentOffset + kSegments * kSegmentBytes;

  shm::RegionHeader* header() { return reinterpret_cast<shm::RegionHeader*>(region_.data()); }
  ByteView region() const { return {region_.data(), kRegionBytes}; }
  ByteSpan session() const { return {session_.data(), shm::SessionBytes(kSegments)}; }
  shm::SessionHeader* session_header() const {
    return reinterpret_cast<shm::SessionHeader*>(session_.data());
  }
  shm::Bucket* bucket(uint32_t b) {
    return reinterpret_cast<shm::Bucket*>(region_.data() + kBucketOffset) + b;
  }
  void Grant(uint32_t number, uint32_t view_segments) {
    auto* grants =
        reinterpret_cast<shm::SessionGrant*>(region_.data() + shm::GrantOffset(kSegments));
    grants[5].session.store(number);
    grants[5].view_segments.store(view_segments);
  }
  uint32_t Pins(uint32_t segment) const {
    const auto* pins =
        reinterpret_cast<const std::atomic<uint32_t>*>(session_.data() + shm::PinsOffset());
    uint32_t sum = 0;
    for (uint32_t lane = 0; lane < shm::kPinLanes; ++lane)
      sum += pins[lane * kSegments + segment].load();
    return sum;
  }
  shm::RecordHeader* Record(uint32_t segment, uint64_t offset) {
    return reinterpret_cast<shm::RecordHeader*>(region_.data() + kSegmentOffset +
                                                segment * kSegmentBytes + offset);
  }
  void Write(uint32_t segment, uint64_t offset, const Oid& oid, VersionHash version,
             const std::string& payload) {
    *Record(segment, offset) = {.magic = shm::kRecordMagic,
                                .name_bytes = 4,
                                .etag_bytes = 2,
                                .oid = oid,
                                .version = version,
                                .size = static_cast<uint32_t>(payload.size()),
                                .expires_s = 0,
                                .payload_hash = 1,
                                .header_hash = 2};
    const std::string all = payload + "name" + "et";
    std::memcpy(reinterpret_cast<char*>(Record(segment, offset)) + 64, all.data(), all.size());
  }
  // The entry of (segment, offset) into a free slot of one of the object's buckets.
  std::atomic<shm::Entry>* Link(uint32_t segment, uint64_t offset, const Oid& oid,
                                bool second = false) {
    uint32_t b = shm::FirstBucket(oid, kBuckets);
    if (second) b = shm::OtherBucket(b, shm::TagFor(oid), kBuckets);
    for (std::atomic<shm::Entry>& slot : bucket(b)->entries) {
      if (slot.load() != 0) continue;
      slot.store(shm::MakeEntry(shm::TagFor(oid), segment, offset));
      return &slot;
    }
    return nullptr;
  }
  LocalOutcome Copy(const Oid& oid, VersionHash version, std::string* into) {
    const LocalOutcome outcome =
        reader_->Copy({oid, version, {reinterpret_cast<std::byte*>(into->data()), into->size()}});
    if (outcome.code == Code::kOk) into->resize(outcome.size);
    return outcome;
  }

  std::atomic<uint32_t> forks_{3};
  Pages region_{kRegionBytes};
  Pages session_{shm::SessionBytes(kSegments)};
  std::unique_ptr<LocalReader> reader_;
};

TEST_F(LocalReaderTest, WhatHasExpiredIsNotFoundAndAViewOfItStays) {
  int64_t now_s = 1'000;
  reader_ = std::move(
      *LocalReader::Open(region(), session(), &forks_, [&now_s] { return WallTime{now_s}; }));
  const Oid oid{1, 2}, other{3, 4};
  Write(2, 64, oid, 7, "payload");
  Write(2, 640, other, 7, "stays");
  Record(2, 64)->expires_s = 1'001;
  Link(2, 64, oid);
  Link(2, 640, other);
  std::string into(100, ' ');
  EXPECT_EQ(Copy(oid, 7, &into).code, Code::kOk);
  bool over_grant = false;
  const LocalView view = reader_->View(oid, 7, &over_grant);
  ASSERT_TRUE(view);
  EXPECT_EQ(view.expires_s(), 1'001u);
  now_s = 1'001;
  into.assign(100, ' ');
  EXPECT_EQ(Copy(oid, 7, &into).code, Code::kNotFound);
  EXPECT_EQ(Copy(oid, 0, &into).code, Code::kNotFound);
  EXPECT_FALSE(reader_->View(oid, 7, &over_grant));
  EXPECT_FALSE(reader_->Pin(oid, 7));
  EXPECT_EQ(AsText(view.payload()), "payload");
  std::string second(100, ' ');
  const LocalRequest wanted[] = {
      {oid, 7, {reinterpret_cast<std::byte*>(into.data()), into.size()}},
      {other, 7, {reinterpret_cast<std::byte*>(second.data()), second.size()}}};
  LocalOutcome outcomes[2];
  reader_->CopyMany(wanted, outcomes);
  EXPECT_EQ(outcomes[0].code, Code::kNotFound);
  EXPECT_EQ(outcomes[1].code, Code::kOk);
}

// The daemon's own session lies on the heap: what was there before kept every segment from being
// taken back.
TEST_F(LocalReaderTest, ASessionOutOfUsedMemoryPinsNothing) {
  std::memset(session().data(), 0x5a, session().size());
  FormatSession(session(), 9, kSegments, 42, 1);
  for (uint32_t segment = 0; segment < kSegments; ++segment) EXPECT_EQ(Pins(segment), 0u);
  EXPECT_EQ(session_header()->mark_head.load(), 0u);
}

TEST_F(LocalReaderTest, CopiesFromEitherBucket) {
  const Oid a{1, 0x123456789abcdef0};
  const Oid b{2, 0x9abcdef012345678};
  Write(0, 64, a, 5, "hello");
  Write(1, 128, b, 6, "");
  Link(0, 64, a);
  Link(1, 128, b, true);
  std::string into(8, 'x');
  EXPECT_EQ(Copy(a, 5, &into).code, Code::kOk);
  EXPECT_EQ(into, "hello");
  EXPECT_EQ(Copy(b, 0, &into).version, 6u);
  EXPECT_EQ(into, "");
  EXPECT_EQ(Copy(a, 6, &into).code, Code::kNotFound);
  EXPECT_EQ(Pins(0) + Pins(1), 0u);
}

TEST_F(LocalReaderTest, SaysHowMuchRoomIsMissing) {
  const Oid a{1, 77};
  Write(0, 64, a, 5, "hello");
  Link(0, 64, a);
  std::string into(4, 'x');
  const LocalOutcome outcome = Copy(a, 5, &into);
  EXPECT_EQ(outcome.code, Code::kNoSpace);
  EXPECT_EQ(outcome.size, 5u);
  EXPECT_EQ(into, "xxxx");
}

// Objects with the same low half share buckets and tag; only the record tells them apart.
TEST_F(LocalReaderTest, TellsCollidingTagsApart) {
  constexpr uint64_t kLow = 0xfedcba9876543210;
  for (uint64_t i = 0; i < 12; ++i) {
    Write(static_cast<uint32_t>(i % 3), 64 + i * 128, {i, kLow}, 1, "object " + std::to_string(i));
    ASSERT_NE(Link(static_cast<uint32_t>(i % 3), 64 + i * 128, {i, kLow}, i >= 6), nullptr);
  }
  std::vector<std::string> into(13, std::string(16, ' '));
  std::vector<LocalRequest> requests;
  std::vector<LocalOutcome> outcomes(13);
  for (uint64_t i = 0; i < 13; ++i) {
    requests.push_back({{i, kLow}, 0, {reinterpret_cast<std::byte*>(into[i].data()), 16}});
    std::string one(16, ' ');
    EXPECT_EQ(Copy({i, kLow}, 0, &one).code, i < 12 ? Code::kOk : Code::kNotFound);
    EXPECT_TRUE(i == 12 || one == "object " + std::to_string(i));
  }
  reader_->CopyMany(requests, outcomes);
  for (uint64_t i = 0; i < 12; ++i) {
    ASSERT_EQ(outcomes[i].code, Code::kOk);
    EXPECT_EQ(into[i].substr(0, outcomes[i].size), "object " + std::to_string(i));
  }
  EXPECT_EQ(outcomes[12].code, Code::kNotFound);
  for (uint32_t s = 0; s < kSegments; ++s) EXPECT_EQ(Pins(s), 0u);
}

TEST_F(LocalReaderTest, ViewsPinAndCountAgainstTheGrant) {
  std::vector<LocalView> views;
  bool over_grant = false;
  for (uint64_t i = 0; i < 6; ++i) {
    Write(static_cast<uint32_t>(i / 2), 64 + i * 128, {i, i << 45}, 1, "view");
    Link(static_cast<uint32_t>(i / 2), 64 + i * 128, {i, i << 45});
  }
  for (uint64_t i = 0; i < 4; ++i) {
    views.push_back(reader_->View({i, i << 45}, 1, &over_grant));
    ASSERT_TRUE(views.back());
    EXPECT_EQ(AsText(views.back().payload()), "view");
    EXPECT_EQ(views.back().name(), "name");
    EXPECT_EQ(views.back().etag(), "et");
  }
  EXPECT_EQ(Pins(0), 2u);
  EXPECT_FALSE(reader_->View({4, uint64_t{4} << 45}, 1, &over_grant));
  EXPECT_TRUE(over_grant);
  EXPECT_EQ(Pins(2), 0u);
  EXPECT_TRUE(reader_->Pin({4, uint64_t{4} << 45}, 1));  // counts against no grant
  EXPECT_FALSE(reader_->View({7, 7}, 1, &over_grant));
  EXPECT_FALSE(over_grant);
  LocalView moved = std::move(views[0]);
  views.erase(views.begin(), views.begin() + 2);
  EXPECT_EQ(Pins(0), 1u);
  moved = LocalView();
  EXPECT_EQ(Pins(0), 0u);
  EXPECT_TRUE(reader_->View({4, uint64_t{4} << 45}, 1, &over_grant));
  Grant(8, 2);  // another session's: none for us
  EXPECT_FALSE(reader_->View({0, 0}, 1, &over_grant));
  EXPECT_TRUE(over_grant);
}

TEST_F(LocalReaderTest, LeavesTheParentsPinsAloneInAChild) {
  const Oid a{1, 77};
  Write(0, 64, a, 5, "hello");
  Link(0, 64, a);
  LocalView view = reader_->Pin(a, 5);
  ASSERT_TRUE(view);
  forks_.fetch_add(1);  // as the handler of pthread_atfork does in a child
  std::string into(8, 'x');
  EXPECT_EQ(Copy(a, 5, &into).code, Code::kNotFound);
  EXPECT_FALSE(reader_->Pin(a, 5));
  view.Release();
  EXPECT_EQ(Pins(0), 1u);
}

TEST_F(LocalReaderTest, WritesMarksOfWhatItRead) {
  const Oid a{1, 0x123456789abcdef0};
  Write(3, 640, a, 5, "hello");
  Link(3, 640, a);
  std::string into(8, 'x');
  for (int i = 0; i < 3; ++i) (void)Copy(a, 5, &into);
  (void)Copy({9, 9}, 0, &into);
  std::string small(3, 'x');
  EXPECT_EQ(Copy(a, 5, &small).code, Code::kNoSpace);
  const LocalView view = reader_->Pin(a, 5);
  EXPECT_EQ(session_header()->mark_head.load(), 3u);
  reader_->MarkRead(view);
  EXPECT_EQ(session_header()->mark_head.load(), 4u);
  const auto* marks =
      reinterpret_cast<const shm::Mark*>(session_.data() + shm::MarksOffset(kSegments));
  EXPECT_EQ(marks[2], shm::MakeEntry(0, 3, 640));
  EXPECT_EQ(marks[3], shm::MakeEntry(0, 3, 640));
}

TEST_F(LocalReaderTest, StaysInsideTheRegionWhateverItSays) {
  const Oid a{1, 0x123456789abcdef0};
  Link(kSegments + 5, 64, a);
  Link(1, kSegmentBytes + 640, a);
  Write(2, 64, a, 5, "hello");
  Record(2, 64)->size = 1 << 30;
  Link(2, 64, a);
  std::string into(8, 'x');
  EXPECT_EQ(Copy(a, 0, &into).code, Code::kNotFound);
}

TEST_F(LocalReaderTest, RefusesWhatIsNotTheLayout) {
  EXPECT_EQ(LocalReader::Open(region().first(10), session()).status().code(), Code::kCorrupt);
  EXPECT_EQ(LocalReader::Open(region(), session().first(10)).status().code(), Code::kCorrupt);
  EXPECT_EQ(LocalReader::Open(region().first(kRegionBytes - 64), session()).status().code(),
            Code::kCorrupt);
  session_header()->segments = 7;
  EXPECT_EQ(LocalReader::Open(region(), session()).status().code(), Code::kCorrupt);
  session_header()->segments = kSegments;
  header()->buckets = 1 << 20;
  EXPECT_EQ(LocalReader::Open(region(), session()).status().code(), Code::kCorrupt);
  header()->buckets = kBuckets;
  header()->layout_version = shm::kLayoutVersion + 1;
  EXPECT_EQ(LocalReader::Open(region(), session()).status().code(), Code::kInvalid);
  header()->layout_version = shm::kLayoutVersion;
  session_header()->layout_version = shm::kLayoutVersion + 1;
  EXPECT_EQ(LocalReader::Open(region(), session()).status().code(), Code::kInvalid);
}

// What happens just before the reader's pin becomes visible: its first access to the session
// faults, and the fault's handler is the daemon, in the one place where the second load is needed.
std::function<void()>* at_pin = nullptr;
void OnFault(int) { (*at_pin)(); }

class BeforeThePin : public LocalReaderTest {
 protected:
  // Runs `read` with `daemon` between the reader's load of the entry and its pin.
  void Interleave(const std::function<void()>& daemon, const std::function<void()>& read) {
    std::function<void()> handler = [&] {
      session_.Protect(PROT_READ | PROT_WRITE);
      daemon();
    };
    at_pin = &handler;
    struct sigaction act = {};
    struct sigaction old;
    act.sa_handler = OnFault;
    sigaction(SIGSEGV, &act, &old);
    session_.Protect(PROT_NONE);
    read();
    sigaction(SIGSEGV, &old, nullptr);
  }
};

TEST_F(BeforeThePin, ARecordThatIsBeingReplacedIsNotRead) {
  const Oid a{1, 0x123456789abcdef0};
  Write(0, 64, a, 5, "right");
  for (bool many : {false, true}) {
    std::atomic<shm::Entry>* slot = Link(0, 64, a);
    std::string into(5, 'x');
    LocalOutcome outcome;
    // The daemon takes the segment back and has begun to write the same object there again.
    Interleave(
        [&] {
          slot->store(0);
          Write(0, 64, a, 5, "wron");
        },
        [&] {
          const LocalRequest request{a, 5, {reinterpret_cast<std::byte*>(into.data()), 5}};
          if (many) {
            reader_->CopyMany({&request, 1}, {&outcome, 1});
          } else {
            outcome = reader_->Copy(request);
          }
        });
    EXPECT_EQ(outcome.code, Code::kNotFound);
    EXPECT_EQ(into, "xxxxx");
    EXPECT_EQ(Pins(0), 0u);
  }
}

TEST_F(BeforeThePin, ARecordThatMovesIsFoundWhereItIs) {
  const Oid a{1, 0x123456789abcdef0};
  Write(0, 64, a, 5, "right");
  std::atomic<shm::Entry>* slot = Link(0, 64, a);
  LocalView view;
  Interleave(
      [&] {
        Write(4, 640, a, 5, "right");
        slot->store(shm::MakeEntry(shm::TagFor(a), 4, 640));
        Write(0, 64, a, 5, "wrong");
      },
      [&] { view = reader_->Pin(a, 5); });
  ASSERT_TRUE(view);
  EXPECT_EQ(AsText(view.payload()), "right");
  EXPECT_EQ(view.segment(), 4u);
  EXPECT_EQ(Pins(0), 0u);
  EXPECT_EQ(Pins(4), 1u);
}

}  // namespace
}  // namespace holdfast
