// SPDX-License-Identifier: Apache-2.0
#include "io/disk/record_reader.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <thread>

#include "base/hash.h"
#include "base/random.h"
#include "base/uri.h"
#include "tests/unit/io/disk/segment_directory.h"

namespace holdfast::disk {
namespace {

constexpr uint64_t kSizes[] = {0, 1, 100, 4'000, 65'536, 300'000, 1'500'000};

using Outcome = RecordReader::Outcome;

class RecordReaderTest : public SegmentDirectory {
 protected:
  Outcome Read(RecordReader& reader, const Place& place, const RecordReader::Want& want) {
    std::promise<Outcome> done;
    reader.Read(place, want, Time::Max(), [&](Outcome o) { done.set_value(std::move(o)); });
    return done.get_future().get();
  }
  Outcome Read(RecordReader& reader, const Place& place, const Object& object,
               bool size_known = true) {
    into_.assign(object.bytes.size(), std::byte{0xee});
    return Read(reader, place,
                {.oid = object.oid(),
                 .version = object.version(),
                 .size = size_known ? object.bytes.size() : 0,
                 .into = into_});
  }
  void ExpectRight(const Outcome& outcome, const Object& object) {
    ASSERT_TRUE(outcome.status.ok()) << outcome.status.ToString();
    EXPECT_EQ(outcome.size, object.bytes.size());
    EXPECT_EQ(outcome.version, object.version());
    EXPECT_EQ(outcome.hash, Hash64(object.bytes));
    EXPECT_TRUE(into_ == object.bytes);
  }

  std::vector<std::byte> into_;
};

TEST_F(RecordReaderTest, RecordsOfEverySizeAreReadWhereTheyLie) {
  RecordReader reader({.directory = directory_});
  uint64_t n = 0;
  for (uint32_t segment : {0, 1}) {
    MakeSegment(segment);
    uint64_t offset = kFirstRecord;
    for (uint64_t size : kSizes) {
      // Also with a name that makes the head as long as it can be.
      const Object object = MakeObject(++n, size, segment == 0 ? 40 : kMaxText - 4);
      const Place place = Write(segment, offset, object);
      for (bool known : {true, false}) {
        ASSERT_NO_FATAL_FAILURE(ExpectRight(Read(reader, place, object, known), object)) << size;
      }
      offset += RecordOf(object, offset).size();
    }
    const Object last = MakeObject(++n, 70'000);
    const uint64_t end = kSegment - RecordOf(last, kFirstRecord).size();
    const Place place = Write(segment, end, last);
    ASSERT_NO_FATAL_FAILURE(ExpectRight(Read(reader, place, last), last));
  }
}

TEST_F(RecordReaderTest, WhatHasExpiredIsAMiss) {
  MakeSegment(0);
  std::atomic<int64_t> now_s{100};
  RecordReader reader({.directory = directory_, .wall = [&] { return WallTime{now_s}; }});
  Object object = MakeObject(1, 9'000);
  object.expires_s = 101;
  const Place place = Write(0, kFirstRecord, object);
  ASSERT_NO_FATAL_FAILURE(ExpectRight(Read(reader, place, object), object));
  now_s = 101;
  EXPECT_EQ(Read(reader, place, object).status.code(), Code::kNotFound);
  EXPECT_EQ(into_, std::vector<std::byte>(9'000, std::byte{0xee}));
}

TEST_F(RecordReaderTest, AnyVersionIsReadIfNoneIsAskedFor) {
  MakeSegment(0);
  RecordReader reader({.directory = directory_});
  const Object object = MakeObject(1, 50'000);
  const Place place = Write(0, kFirstRecord, object);
  into_.assign(100'000, {});
  const Outcome outcome = Read(reader, place, {.oid = object.oid(), .into = into_});
  ASSERT_TRUE(outcome.status.ok());
  EXPECT_EQ(outcome.version, object.version());
  into_.resize(outcome.size);
  EXPECT_TRUE(into_ == object.bytes);
}

TEST_F(RecordReaderTest, ALargerOneSaysItsSize) {
  MakeSegment(0);
  RecordReader reader({.directory = directory_});
  const Object object = MakeObject(1, 50'000);
  const Place place = Write(0, kFirstRecord, object);
  into_.assign(49'999, std::byte{0xee});
  const Outcome outcome = Read(reader, place, {.oid = object.oid(), .into = into_});
  EXPECT_EQ(outcome.status.code(), Code::kNoSpace);
  EXPECT_EQ(outcome.size, 50'000u);
  EXPECT_EQ(into_, std::vector<std::byte>(49'999, std::byte{0xee}));
}

TEST_F(RecordReaderTest, EveryGarbledByteIsAMiss) {
  MakeSegment(0);
  RecordReader reader({.directory = directory_});
  const Object object = MakeObject(1, 9'000);
  const Place place = Write(0, kFirstRecord, object);
  const std::vector<std::byte> record = RecordOf(object, kFirstRecord);
  const uint64_t used = RecordOf(MakeObject(1, 0), kFirstRecord).size() + object.bytes.size();
  for (uint64_t at = 0; at < used; at += at < 200 ? 1 : 97) {
    // Between the texts and the payload, where nothing stands, anything may.
    const bool padding =
        at >= sizeof(shm::RecordHeader) + object.name.size() + object.etag.size() &&
        at < used - object.bytes.size();
    Overwrite(0, kFirstRecord + at, {record[at] ^ std::byte{0x40}});
    const Outcome outcome = Read(reader, place, object);
    EXPECT_EQ(outcome.status.ok(), padding) << at;
    EXPECT_FALSE(outcome.file_failed);
    Overwrite(0, kFirstRecord + at, {record[at]});
  }
  ASSERT_NO_FATAL_FAILURE(ExpectRight(Read(reader, place, object), object));
}

TEST_F(RecordReaderTest, WhatWasWrittenThereSinceIsAMiss) {
  MakeSegment(0);
  RecordReader reader({.directory = directory_});
  const Object object = MakeObject(1, 50'000);
  const Place place = Write(0, kFirstRecord, object);
  Object newer = object;  // another version of the same size
  newer.etag = "other";
  Write(0, kFirstRecord, newer);
  EXPECT_EQ(Read(reader, place, object).status.code(), Code::kNotFound);
  Write(0, kFirstRecord, MakeObject(2, 50'000));
  EXPECT_EQ(Read(reader, place, object).status.code(), Code::kNotFound);
  EXPECT_EQ(Read(reader, {0, kFirstRecord + 64}, object).status.code(), Code::kCorrupt);
  EXPECT_EQ(Read(reader, {0, kSegment - 64}, object).status.code(), Code::kCorrupt);
  EXPECT_EQ(Read(reader, {0, kSegment + 64}, object).status.code(), Code::kNotFound);
  // Its beginning, while the rest is another's already.
  Write(0, kFirstRecord, object);
  Overwrite(0, kFirstRecord + 40'000, std::vector<std::byte>(4'096));
  EXPECT_EQ(Read(reader, place, object).status.code(), Code::kCorrupt);
}

TEST_F(RecordReaderTest, FilesThatCannotBeReadAreToldApart) {
  RecordReader reader({.directory = directory_});
  const Object object = MakeObject(1, 50'000);
  Outcome outcome = Read(reader, {3, kFirstRecord}, object);
  EXPECT_TRUE(outcome.file_failed);
  EXPECT_EQ(outcome.status.code(), Code::kNotFound);
  std::filesystem::create_symlink("/dev/zero", PathOf(4));
  EXPECT_TRUE(Read(reader, {4, kFirstRecord}, object).file_failed);
  std::filesystem::create_directory(PathOf(5));
  EXPECT_TRUE(Read(reader, {5, kFirstRecord}, object).file_failed);
  // One that comes is found, and one that was cut off is noticed.
  MakeSegment(3);
  const Place place = Write(3, kFirstRecord, object);
  ASSERT_NO_FATAL_FAILURE(ExpectRight(Read(reader, place, object), object));
  std::filesystem::resize_file(PathOf(3), 2 * kBlock);
  EXPECT_TRUE(Read(reader, place, object).file_failed);
  EXPECT_FALSE(Read(reader, place, object).status.ok());
}

// As a daemon does it all the time: what is right when it is read is read, and nothing else is.
TEST_F(RecordReaderTest, SegmentsAreWrittenAnewWhileTheyAreRead) {
  MakeSegment(0);
  RecordReader reader({.directory = directory_, .threads = 3});
  const Object object = MakeObject(1, 700'000);
  const Object other = MakeObject(2, 700'000);
  const std::vector<std::byte> records[] = {RecordOf(object, kFirstRecord),
                                            RecordOf(other, kFirstRecord)};
  Write(0, kFirstRecord, object);
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (int turn = 0; !stop; ++turn) {
      Overwrite(0, kFirstRecord, records[turn % 2]);
      std::this_thread::yield();
    }
  });
  int right = 0, missed = 0;
  for (int i = 0; i < 100'000 && (i < 300 || right == 0 || missed == 0); ++i) {
    const Outcome outcome = Read(reader, {0, kFirstRecord}, object);
    if (!outcome.status.ok()) {
      ++missed;
      continue;
    }
    ++right;
    ASSERT_NO_FATAL_FAILURE(ExpectRight(outcome, object));
  }
  stop = true;
  writer.join();
  EXPECT_GT(right, 0);
  EXPECT_GT(missed, 0);
}

TEST_F(RecordReaderTest, WhatIsLateEndsOnceAndIsNotWrittenAfter) {
  // To open a pipe to which nobody writes hangs, as a device may that does not answer.
  RecordReader reader({.directory = directory_, .threads = 1});
  ASSERT_EQ(::mkfifo(PathOf(0).c_str(), 0600), 0);
  MakeSegment(1);
  const Object object = MakeObject(1, 200'000);
  Write(1, kFirstRecord, object);
  std::vector<std::byte> into(object.bytes.size(), std::byte{0xee});
  std::atomic<int> ended{0};
  std::promise<Outcome> hung, behind;
  const RecordReader::Want want{
      .oid = object.oid(), .version = object.version(), .size = into.size(), .into = into};
  reader.Read({0, kFirstRecord}, want, Time{100}, [&](Outcome o) { ++ended, hung.set_value(o); });
  reader.Read({1, kFirstRecord}, want, Time{200}, [&](Outcome o) { ++ended, behind.set_value(o); });
  std::this_thread::sleep_for(50ms);  // the thread hangs by now, mostly
  reader.Expire(Time{99});
  EXPECT_EQ(ended, 0);
  reader.Expire(Time{150});
  EXPECT_EQ(hung.get_future().get().status.code(), Code::kTimeout);
  reader.Expire(Time{300});
  const bool read =
      behind.get_future().get().status.ok();             // a thread that was so late did not hang
  const int writer = ::open(PathOf(0).c_str(), O_RDWR);  // which ends the open
  ASSERT_GE(writer, 0);
  reader.Stop();
  ::close(writer);
  EXPECT_EQ(ended, 2);
  EXPECT_TRUE(into == (read ? object.bytes : std::vector<std::byte>(into.size(), std::byte{0xee})));
}

TEST_F(RecordReaderTest, StopEndsEverything) {
  MakeSegment(0);
  const Object object = MakeObject(1, 100'000);
  const Place place = Write(0, kFirstRecord, object);
  constexpr int kMany = 500;
  std::vector<std::vector<std::byte>> into(kMany, std::vector<std::byte>(object.bytes.size()));
  std::atomic<int> right{0}, ended{0};
  {
    RecordReader reader({.directory = directory_, .threads = 2, .most_waiting = kMany / 2});
    for (int i = 0; i < kMany; ++i) {
      reader.Read(
          place,
          {.oid = object.oid(), .size = object.bytes.size(), .into = into[static_cast<size_t>(i)]},
          Time::Max(), [&](const Outcome& outcome) {
            ++ended;
            if (outcome.status.ok()) ++right;
            EXPECT_TRUE(outcome.status.ok() || outcome.status.code() == Code::kUnavailable);
          });
    }
    reader.Stop();
    EXPECT_EQ(ended, kMany);
    EXPECT_EQ(Read(reader, place, object).status.code(), Code::kUnavailable);
  }
  EXPECT_EQ(ended, kMany);
}

TEST_F(RecordReaderTest, FewFilesAreOpenAtATime) {
  RecordReader reader({.directory = directory_, .threads = 2, .most_files = 2});
  std::vector<Object> objects;
  for (uint32_t segment = 0; segment < 6; ++segment) {
    MakeSegment(segment);
    objects.push_back(MakeObject(segment, 40'000));
    Write(segment, kFirstRecord, objects.back());
  }
  for (int round = 0; round < 3; ++round) {
    for (uint32_t segment = 0; segment < 6; ++segment) {
      ASSERT_NO_FATAL_FAILURE(
          ExpectRight(Read(reader, {segment, kFirstRecord}, objects[segment]), objects[segment]));
    }
  }
  size_t open = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    const std::string to = std::filesystem::read_symlink(entry.path(), gone).string();
    if (to.starts_with(directory_)) ++open;
  }
  EXPECT_LE(open, 2u);
}

}  // namespace
}  // namespace holdfast::disk
