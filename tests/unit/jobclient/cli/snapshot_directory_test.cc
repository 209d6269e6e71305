// SPDX-License-Identifier: Apache-2.0
#include "jobclient/cli/snapshot_directory.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <ctime>

#include "tests/unit/jobclient/cli/log_directory.h"

namespace holdfast::cli {
namespace {

using Numbers_ = std::vector<uint64_t>;
using snapshot::ExpectSame;
using snapshot::SnapshotLog;

class SnapshotDirectoryTest : public LogDirectory {
 protected:
  // But for ages, which a full snapshot tells to within 4.5 % to who has not seen those before it.
  void ExpectReadsAs(const SnapshotLog& expected) {
    const Result<SnapshotLog> read = ReadLogDirectory(options_.path, 1, {});
    ASSERT_TRUE(read.ok()) << read.status().ToString();
    ExpectSameNodes(*read, expected);
    ExpectSameEvidence(read->evidence(), expected.evidence());
    EXPECT_EQ(read->stamp(), expected.stamp());
    const auto places = [](const SnapshotLog& log) {
      std::vector<std::pair<NodeId, snapshot::Print>> all;
      for (const auto& [place, seen] : SightingsOf(log)) all.push_back(place);
      return all;
    };
    EXPECT_EQ(places(*read), places(expected));
  }
};

TEST_F(SnapshotDirectoryTest, AFullSnapshotBeginsAFileAndDifferencesFollow) {
  const auto directory = Open();
  EXPECT_TRUE(directory->WantsFull());
  ASSERT_TRUE(Collect(*directory).ok());
  EXPECT_FALSE(directory->WantsFull());
  ASSERT_TRUE(Collect(*directory).ok());
  ASSERT_TRUE(Collect(*directory, true).ok());
  ASSERT_EQ(Files().size(), 2u);
  EXPECT_EQ(Files()[0].path, options_.path + "/00000000000000000001.snap");
  EXPECT_EQ(Files()[1].first, 3u);
  EXPECT_EQ(Numbers(), (Numbers_{1, 2, 3}));
  EXPECT_EQ(directory->bytes(), Files()[0].bytes + Files()[1].bytes);
  // What is given to a node that knows nothing begins with the full one.
  ASSERT_TRUE(Collect(*directory).ok());
  EXPECT_EQ(directory->SinceFull()->size(), Bytes(Files()[1].path).size());
  ExpectReadsAs(*directory->log());
  EXPECT_TRUE(warnings_.empty());
}

TEST_F(SnapshotDirectoryTest, TheNextCollectorGoesOn) {
  SnapshotLog before(0);
  {
    const auto directory = Open();
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(Collect(*directory).ok());
    before = *directory->log();
  }
  const auto directory = Open();
  ExpectSame(*directory->log(), before);
  EXPECT_FALSE(directory->WantsFull());
  ASSERT_TRUE(Collect(*directory).ok());
  EXPECT_EQ(Files().size(), 1u);
  EXPECT_EQ(Numbers(), (Numbers_{1, 2, 3, 4}));
}

TEST_F(SnapshotDirectoryTest, AFullOneIsDueAfterSoManyOrSoManyBytes) {
  options_.full_every = 3;
  {
    const auto directory = Open();
    for (int i = 0; i < 7; ++i) ASSERT_TRUE(Collect(*directory).ok());
    ASSERT_EQ(Files().size(), 3u);
    EXPECT_EQ(Files()[1].first, 4u);
    EXPECT_EQ(Files()[2].first, 7u);
  }
  options_.full_every = 1'000;
  const auto directory = Open();
  for (int i = 0; i < 300 && Files().size() < 4; ++i) ASSERT_TRUE(Collect(*directory).ok());
  ASSERT_EQ(Files().size(), 4u) << "differences outgrew the full one long ago";
  const LogFile outgrown = Files()[2];
  const std::vector<uint64_t> offsets = Offsets(outgrown.path);
  const uint64_t full_bytes = offsets[1], differences = outgrown.bytes - full_bytes;
  EXPECT_GT(differences, full_bytes);
  EXPECT_LE(offsets.back() - full_bytes, full_bytes) << "not before";
}

TEST_F(SnapshotDirectoryTest, ATornEndIsCutOffWherever) {
  Fill(3, 10);
  const std::string path = Files()[0].path, whole = Bytes(path);
  const uint64_t last = Offsets(path)[2];
  for (uint64_t size = last + 1; size < whole.size(); size += 7) {
    SetBytes(path, whole.substr(0, size));
    EXPECT_EQ(Numbers(), (Numbers_{1, 2})) << size;
    ASSERT_EQ(faults_.size(), 1u);
    EXPECT_TRUE(faults_[0].torn);
    EXPECT_EQ(faults_[0].offset, last);
    EXPECT_EQ(Bytes(path).size(), size) << "who only reads changes nothing";

    warnings_.clear();
    const auto directory = Open();
    EXPECT_EQ(warnings_.size(), 1u);
    EXPECT_EQ(Bytes(path).size(), last);
    EXPECT_EQ(directory->log()->sequence(), 2u);
    EXPECT_FALSE(directory->WantsFull());
    ASSERT_TRUE(Collect(*directory).ok());
    EXPECT_EQ(Numbers(), (Numbers_{1, 2, 3}));
    EXPECT_TRUE(faults_.empty());
    EXPECT_EQ(Files().size(), 1u);
  }
}

TEST_F(SnapshotDirectoryTest, BehindDamageAFullOneBeginsAnew) {
  Fill(5, 10);
  const std::string path = Files()[0].path;
  Flip(path, Offsets(path)[2] + 70);
  const std::string damaged = Bytes(path);
  const auto directory = Open();
  EXPECT_EQ(directory->log()->sequence(), 2u);
  EXPECT_TRUE(directory->WantsFull());
  ASSERT_EQ(warnings_.size(), 1u);
  EXPECT_NE(warnings_[0].find(path + ": offset " + std::to_string(Offsets(path)[2])),
            std::string::npos)
      << warnings_[0];
  ASSERT_TRUE(Collect(*directory).ok());
  ASSERT_TRUE(Collect(*directory).ok());
  EXPECT_EQ(Bytes(path), damaged) << "it stays as it is";
  EXPECT_EQ(Numbers(), (Numbers_{1, 2, 3, 4}));
  EXPECT_EQ(faults_.size(), 1u);
  ExpectReadsAs(*directory->log());
}

TEST_F(SnapshotDirectoryTest, AFileInWhichNothingCanBeReadIsSetAside) {
  Fill(6, 3);
  Flip(Files()[1].path, 30);
  {
    const auto directory = Open();
    EXPECT_EQ(directory->log()->sequence(), 3u) << "by the file before";
    ASSERT_TRUE(Collect(*directory).ok());
    ASSERT_TRUE(Collect(*directory).ok());
  }
  ASSERT_EQ(Files().size(), 3u);
  EXPECT_TRUE(Files()[0].damaged);
  EXPECT_EQ(Files()[0].first, 4u);
  EXPECT_EQ(Numbers(), (Numbers_{1, 2, 3, 4, 5}));
  EXPECT_TRUE(faults_.empty());
  EXPECT_EQ(warnings_.size(), 2u);
  warnings_.clear();
  EXPECT_EQ(Open()->log()->sequence(), 5u);
  EXPECT_TRUE(warnings_.empty());
}

TEST_F(SnapshotDirectoryTest, OneThatBeginsAnewComesAfterWhatItCouldNotRead) {
  Fill(6, 3);
  for (const LogFile& file : Files()) Flip(file.path, 3);
  const auto directory = Open();
  EXPECT_EQ(directory->log()->sequence(), 0u);
  ASSERT_TRUE(Collect(*directory).ok());
  EXPECT_EQ(Numbers(), (Numbers_{1}));
  EXPECT_EQ(Open(), nullptr) << "the first one is at work still";
}

TEST_F(SnapshotDirectoryTest, NobodyElseCollectsMeanwhile) {
  EXPECT_FALSE(IsBeingWritten(options_.path));
  {
    const auto first = Open();
    EXPECT_TRUE(IsBeingWritten(options_.path));
    EXPECT_EQ(Open(), nullptr);
  }
  EXPECT_FALSE(IsBeingWritten(options_.path));
  EXPECT_NE(Open(), nullptr);
}

TEST_F(SnapshotDirectoryTest, AnotherClustersLogIsLeftAlone) {
  Fill(2, 10);
  options_.cluster = 1;
  const auto directory = SnapshotDirectory::Open(options_, [](const std::string&) {});
  EXPECT_EQ(directory.status().code(), Code::kInvalid);
  EXPECT_NE(directory.status().message().find("another cluster"), std::string::npos);
  EXPECT_NE(directory.status().message().find(Files()[0].path), std::string::npos);
}

TEST_F(SnapshotDirectoryTest, ANewerVersionIsLeftAlone) {
  Fill(2, 10);
  const std::string path = Files()[0].path;
  std::string bytes = Bytes(path);
  bytes[8] = snapshot::kLogVersion + 1;
  const uint64_t hash = Hash64(AsBytes(bytes).first(56));
  bytes.replace(56, 8, reinterpret_cast<const char*>(&hash), 8);
  SetBytes(path, bytes);
  const auto directory = SnapshotDirectory::Open(options_, [](const std::string&) {});
  EXPECT_EQ(directory.status().code(), Code::kInvalid);
  EXPECT_NE(
      directory.status().message().find("version " + std::to_string(snapshot::kLogVersion + 1)),
      std::string::npos);
  Numbers();
  EXPECT_EQ(read_.code(), Code::kInvalid);
  EXPECT_EQ(Check().size(), 1u);
  EXPECT_EQ(Bytes(path), bytes);
}

// Files of this process end at `bytes`, as on a disk that is full.
class FileLimit {
 public:
  explicit FileLimit(rlim_t bytes) {
    handler_ = std::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{.rlim_cur = bytes, .rlim_max = before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  void (*handler_)(int) = nullptr;
};

TEST_F(SnapshotDirectoryTest, ADiskThatIsFullLeavesTheLogAsItWas) {
  const auto directory = Open();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(Collect(*directory).ok());
  const std::string path = Files()[0].path, before = Bytes(path);
  SnapshotLog log = *directory->log();
  for (bool full : {false, true}) {
    SCOPED_TRACE(full);
    {
      FileLimit limit(full ? 100 : before.size() + 50);  // in the middle of a frame
      const Status status = Collect(*directory, full);
      EXPECT_EQ(status.code(), Code::kNoSpace);
      EXPECT_NE(status.message().find("cannot write the snapshot log"), std::string::npos);
    }
    EXPECT_EQ(Bytes(path), before);
    EXPECT_EQ(Files().size(), 1u);
    EXPECT_FALSE(std::filesystem::exists(options_.path + "/new"));
    ExpectSame(*directory->log(), log);
  }
  ASSERT_TRUE(Collect(*directory).ok());
  EXPECT_EQ(Numbers(), (Numbers_{1, 2, 3, 4}));
  EXPECT_TRUE(faults_.empty());
  EXPECT_TRUE(warnings_.empty());
}

TEST_F(SnapshotDirectoryTest, OldFilesGoAndTheNewestStays) {
  Fill(12, 3);
  const std::vector<LogFile> files = Files();
  ASSERT_EQ(files.size(), 4u);
  const auto age = [&](const LogFile& file, int64_t seconds) {
    const timespec then{.tv_sec = ::time(nullptr) - seconds, .tv_nsec = 0};
    const timespec times[2] = {then, then};
    ASSERT_EQ(::utimensat(AT_FDCWD, file.path.c_str(), times, 0), 0);
  };
  age(files[0], 8 * 86'400);
  age(files[1], 6 * 86'400);
  EXPECT_EQ(*Open()->Retire(), 1u);
  EXPECT_EQ(Files().front().path, files[1].path);

  options_.max_bytes = files[2].bytes + files[3].bytes;
  EXPECT_EQ(*Open()->Retire(), 1u);
  EXPECT_EQ(Files().front().path, files[2].path);
  EXPECT_EQ(*Open()->Retire(), 0u);

  options_.max_bytes = 0;
  options_.keep_for = 0s;
  age(files[3], 100 * 86'400);
  EXPECT_EQ(*Open()->Retire(), 1u);
  ASSERT_EQ(Files().size(), 1u);
  EXPECT_EQ(Open()->log()->sequence(), 12u);
}

TEST_F(SnapshotDirectoryTest, WhatWasSetAsideGoesFirst) {
  Fill(6, 3);
  Flip(Files()[1].path, 30);
  auto directory = Open();
  ASSERT_TRUE(Collect(*directory).ok());
  options_.max_bytes = directory->bytes() - 1;
  ASSERT_EQ(Files().size(), 3u);
  directory.reset();
  EXPECT_EQ(*Open()->Retire(), 1u);
  ASSERT_EQ(Files().size(), 2u);
  EXPECT_FALSE(Files()[0].damaged);
}

TEST_F(SnapshotDirectoryTest, APlaceThatCannotBe) {
  SetBytes(scratch_ + "/file", "of somebody");
  options_.path = scratch_ + "/file/log";
  const auto directory = SnapshotDirectory::Open(options_, [](const std::string&) {});
  EXPECT_EQ(directory.status().code(), Code::kNoSpace);
  EXPECT_NE(directory.status().message().find(options_.path), std::string::npos);
}

}  // namespace
}  // namespace holdfast::cli
