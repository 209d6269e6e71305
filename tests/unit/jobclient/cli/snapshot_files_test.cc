// SPDX-License-Identifier: Apache-2.0
#include "jobclient/cli/snapshot_files.h"

#include "tests/unit/jobclient/cli/log_directory.h"

namespace holdfast::cli {
namespace {

using SnapshotFiles = LogDirectory;
using Numbers_ = std::vector<uint64_t>;

TEST_F(SnapshotFiles, ThereIsNoneYet) {
  Numbers();
  EXPECT_EQ(read_.code(), Code::kNotFound);
  EXPECT_NE(read_.message().find("snapshot collect"), std::string::npos);
  std::filesystem::create_directories(options_.path);
  Numbers();
  EXPECT_EQ(read_.code(), Code::kNotFound);
}

TEST_F(SnapshotFiles, OtherFilesAreNoneOfTheLog) {
  Fill(4, 2);
  for (const char* name : {"new", "README", "0001.snap", "00000000000000000009.snap.gz",
                           "0000000000000000000x.snap", "99999999999999999999.snap"}) {
    SetBytes(options_.path + "/" + name, "of somebody");
  }
  EXPECT_EQ(Files().size(), 2u);
  EXPECT_EQ(Numbers(), (Numbers_{1, 2, 3, 4}));
  EXPECT_TRUE(faults_.empty());
}

TEST_F(SnapshotFiles, TheNewestFilesAreEnoughToKnowWhatIs) {
  Fill(6, 2);
  EXPECT_EQ(Numbers(1), (Numbers_{5, 6}));
  EXPECT_EQ(Numbers(2), (Numbers_{3, 4, 5, 6}));
  EXPECT_EQ(Numbers(9), (Numbers_{1, 2, 3, 4, 5, 6}));
  Flip(Files()[2].path, 10);
  EXPECT_EQ(Numbers(1), (Numbers_{3, 4})) << "or older ones, when nothing in them can be read";
  EXPECT_EQ(faults_.size(), 1u);
}

// Wherever a bit is flipped, it is told with file and offset, what stands before it is read, and
// what stands in the next file.
TEST_F(SnapshotFiles, AFlippedBitCostsTheRestOfItsFile) {
  Fill(7, 4);
  const std::string path = Files()[0].path, whole = Bytes(path);
  const std::vector<uint64_t> offsets = Offsets(path);
  ASSERT_EQ(offsets.size(), 4u);
  for (uint64_t byte = 0; byte < whole.size(); byte += 5) {
    Flip(path, byte);
    size_t frame = 0;
    while (frame + 1 < offsets.size() && offsets[frame + 1] <= byte) ++frame;
    Numbers_ expected;
    for (uint64_t n = 1; n <= frame; ++n) expected.push_back(n);
    expected.insert(expected.end(), {5, 6, 7});
    EXPECT_EQ(Numbers(), expected) << byte;
    ASSERT_EQ(faults_.size(), 1u) << byte;
    EXPECT_EQ(faults_[0].path, path);
    EXPECT_EQ(faults_[0].offset, offsets[frame]) << byte;
    EXPECT_FALSE(faults_[0].torn);
    EXPECT_EQ(Check().size(), 1u) << byte;
    SetBytes(path, whole);
  }
}

TEST_F(SnapshotFiles, ChecksFindWhatIsBehindAFault) {
  Fill(5, 5);
  const std::string path = Files()[0].path;
  const std::vector<uint64_t> offsets = Offsets(path);
  Flip(path, offsets[1] + 70);
  Flip(path, offsets[3] + 70);
  const std::vector<LogFault> faults = Check();
  ASSERT_EQ(faults.size(), 2u);
  EXPECT_EQ(faults[0].offset, offsets[1]);
  EXPECT_EQ(faults[1].offset, offsets[3]);
  EXPECT_NE(faults[1].Text().find(path + ": offset " + std::to_string(offsets[3]) + ": "),
            std::string::npos);
}

TEST_F(SnapshotFiles, AnEmptyFileAndOneThatBeginsWithADifference) {
  Fill(4, 2);
  const std::string first = Files()[0].path, second = Files()[1].path;
  SetBytes(second, Bytes(second).substr(Offsets(second)[1]));
  EXPECT_EQ(Numbers(), (Numbers_{1, 2}));
  ASSERT_EQ(faults_.size(), 1u);
  EXPECT_EQ(faults_[0].path, second);
  SetBytes(first, "");
  EXPECT_EQ(Numbers(), Numbers_());
  EXPECT_EQ(read_.code(), Code::kCorrupt);
  EXPECT_EQ(faults_.size(), 2u);
  EXPECT_EQ(Check().size(), 2u);
}

// Even one that follows what was read before: every file stands for itself.
TEST_F(SnapshotFiles, ADifferenceBeginsNoFile) {
  Fill(2, 2);
  const std::string path = Files()[0].path, whole = Bytes(path);
  const uint64_t second = Offsets(path)[1];
  SetBytes(path, whole.substr(0, second));
  SetBytes(options_.path + "/00000000000000000002.snap", whole.substr(second));
  EXPECT_EQ(Numbers(), (Numbers_{1}));
  EXPECT_EQ(faults_.size(), 1u);
  EXPECT_EQ(Check().size(), 1u);
}

TEST_F(SnapshotFiles, TwoClustersInOnePlaceAreRefused) {
  Fill(2, 2);
  const std::string mine = Files()[0].path;
  snapshot::SnapshotLog other(99);
  const snapshot::Frame frame = other.Append(snapshot::kStart, {}, {}, true);
  SetBytes(options_.path + "/00000000000000000000.snap", std::string(AsText(frame)));
  Numbers();
  EXPECT_EQ(read_.code(), Code::kInvalid);
  EXPECT_NE(read_.message().find("00000000000000000000.snap: offset 0"), std::string::npos);
  ASSERT_EQ(Check().size(), 1u);
  EXPECT_NE(Check()[0].path, mine) << "the newest file says whose log it is";
}

}  // namespace
}  // namespace holdfast::cli
