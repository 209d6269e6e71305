// SPDX-License-Identifier: Apache-2.0
#include "io/shm/region_file.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cstring>
#include <fstream>

#include "tests/unit/io/shm/shm_testing.h"

namespace holdfast::shm {
namespace {

class RegionFileTest : public ::testing::Test {
 protected:
  RegionFileTest() {
    options_.directory = directory_.node();
    options_.plan = SmallPlan();
    options_.huge = HugePages::kOff;
  }
  std::unique_ptr<RegionFile> Open() {
    Result<std::unique_ptr<RegionFile>> file = RegionFile::Open(options_);
    EXPECT_TRUE(file.ok()) << file.status().ToString();
    return file.ok() ? std::move(*file) : nullptr;
  }
  Status Refused() { return RegionFile::Open(options_).status(); }
  struct stat Look() {
    struct stat info = {};
    ::stat((directory_.node() + "/memory/region").c_str(), &info);
    return info;
  }

  TestDirectory directory_;
  RegionFileOptions options_;
};

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_F(RegionFileTest, IsAllocatedInFullAndWrittenByNobodyElse) {
  uint64_t seen = 0;
  options_.progress = [&](uint64_t done, uint64_t total) {
    EXPECT_EQ(total, options_.plan.region_bytes);
    EXPECT_GT(done, seen);
    seen = done;
  };
  auto file = Open();
  EXPECT_EQ(seen, options_.plan.region_bytes);
  EXPECT_EQ(file->memory().size(), options_.plan.region_bytes);
  EXPECT_GE(static_cast<uint64_t>(Look().st_blocks) * 512, options_.plan.region_bytes);
  EXPECT_EQ(Look().st_mode & 0777, 0600u);
  EXPECT_TRUE(Contains(file->description(), "switched off")) << file->description();
  void* writable = ::mmap(nullptr, file->memory().size(), PROT_READ | PROT_WRITE, MAP_SHARED,
                          file->read_only_fd(), 0);
  EXPECT_EQ(writable, MAP_FAILED);
}

TEST_F(RegionFileTest, GroupMayRead) {
  options_.group = std::to_string(::getegid());
  auto file = Open();
  EXPECT_EQ(Look().st_mode & 0777, 0640u);
  EXPECT_EQ(Look().st_gid, ::getegid());
}

TEST_F(RegionFileTest, UnknownGroup) {
  options_.group = "no-such-group-here";
  EXPECT_EQ(Refused().code(), Code::kInvalid);
  EXPECT_TRUE(Contains(Refused().message(), "no-such-group-here"));
}

TEST_F(RegionFileTest, SecondDaemonIsToldWhoHoldsIt) {
  auto file = Open();
  Status refused = Refused();
  EXPECT_EQ(refused.code(), Code::kUnavailable);
  EXPECT_TRUE(Contains(refused.message(), "process " + std::to_string(::getpid())))
      << refused.message();
}

TEST_F(RegionFileTest, SurvivesAKill) {
  Child daemon([&](Child& parent) {
    auto file = Open();
    Format(file->memory(), options_.plan, 77);
    std::memcpy(file->memory().data() + options_.plan.segment_offset, "bytes", 5);
    parent.Say('r');
    return parent.Hear();
  });
  EXPECT_EQ(daemon.Hear(), 'r');
  EXPECT_EQ(Refused().code(), Code::kUnavailable);
  daemon.Kill();
  ino_t inode = Look().st_ino;
  auto file = Open();
  EXPECT_TRUE(file->reused());
  EXPECT_EQ(Look().st_ino, inode);
  EXPECT_EQ(std::memcmp(file->memory().data() + options_.plan.segment_offset, "bytes", 5), 0);
}

TEST_F(RegionFileTest, AnotherLayoutIsANewFileAndOldMappingsLiveOn) {
  auto file = Open();
  Format(file->memory(), options_.plan, 77);
  void* old =
      ::mmap(nullptr, file->memory().size(), PROT_READ, MAP_SHARED, file->read_only_fd(), 0);
  ASSERT_NE(old, MAP_FAILED);
  std::filesystem::create_directories(file->session_directory());
  std::ofstream(file->session_directory() + "/session-1") << "x";
  ino_t inode = Look().st_ino;
  uint64_t old_bytes = file->memory().size();
  file.reset();
  options_.plan = SmallPlan(16);
  file = Open();
  EXPECT_FALSE(file->reused());
  EXPECT_NE(Look().st_ino, inode);
  EXPECT_FALSE(std::filesystem::exists(file->session_directory()));
  EXPECT_EQ(static_cast<const RegionHeader*>(old)->incarnation, 77u);
  ::munmap(old, old_bytes);
  // Same size, other layout.
  Format(file->memory(), options_.plan, 78);
  inode = Look().st_ino;
  file.reset();
  options_.plan.buckets = 32;
  EXPECT_FALSE(Open()->reused());
}

class Lines : public Log {
 public:
  void Write(LogLevel, std::string_view text) override { lines.emplace_back(text); }
  std::vector<std::string> lines;
};

TEST_F(RegionFileTest, WhyAnEarlierOneIsNotUsedIsSaid) {
  Lines lines;
  options_.log = &lines;
  Format(Open()->memory(), options_.plan, 77);
  EXPECT_TRUE(Open()->reused());
  options_.plan = SmallPlan(16);
  lines.lines.clear();
  auto file = Open();
  ASSERT_EQ(lines.lines.size(), 2u);
  EXPECT_TRUE(Contains(lines.lines[0], "/memory/region")) << lines.lines[0];
  EXPECT_TRUE(Contains(lines.lines[0], "in 8 segments")) << lines.lines[0];
  EXPECT_TRUE(Contains(lines.lines[0], "in 16 segments")) << lines.lines[0];
  Format(file->memory(), options_.plan, 78);
  reinterpret_cast<RegionHeader*>(file->memory().data())->layout_version = kLayoutVersion + 1;
  file.reset();
  lines.lines.clear();
  file = Open();
  EXPECT_FALSE(file->reused());
  EXPECT_TRUE(Contains(lines.lines[0], "version " + std::to_string(kLayoutVersion + 1)))
      << lines.lines[0];
  Format(file->memory(), options_.plan, 79);
  file.reset();
  ASSERT_EQ(::truncate((directory_.node() + "/memory/region").c_str(), 2 * kMiB), 0);
  lines.lines.clear();
  EXPECT_FALSE(Open()->reused());
  EXPECT_TRUE(Contains(lines.lines[0], "its file has 2.0 MiB")) << lines.lines[0];
}

TEST_F(RegionFileTest, DirectoryOfSomethingElseIsLeftAsItIs) {
  std::filesystem::create_directories(directory_.node());
  ASSERT_EQ(::chmod(directory_.node().c_str(), 0755), 0);
  std::ofstream(directory_.node() + "/thesis.txt") << "precious";
  EXPECT_EQ(Refused().code(), Code::kInvalid);
  EXPECT_TRUE(Contains(Refused().message(), "thesis.txt")) << Refused().message();
  EXPECT_TRUE(Contains(Refused().message(), "state_directory")) << Refused().message();
  struct stat info = {};
  ASSERT_EQ(::stat(directory_.node().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0755u);
  EXPECT_FALSE(std::filesystem::exists(directory_.node() + "/lock"));
}

// A daemon that was killed while it allocated leaves a file of the right size with holes.
TEST_F(RegionFileTest, HolesOfAnUnfinishedStartAreFilled) {
  Open();
  ASSERT_EQ(::truncate((directory_.node() + "/memory/region").c_str(), 0), 0);
  ASSERT_EQ(::truncate((directory_.node() + "/memory/region").c_str(),
                       static_cast<off_t>(options_.plan.region_bytes)),
            0);
  ASSERT_EQ(Look().st_blocks, 0);
  auto file = Open();
  EXPECT_TRUE(file->reused());
  EXPECT_GE(static_cast<uint64_t>(Look().st_blocks) * 512, options_.plan.region_bytes);
}

TEST_F(RegionFileTest, FullTmpfsNamesPathNeedAndRoom) {
  options_.plan.region_bytes = 64 * 1024 * kGiB;
  Status refused = Refused();
  EXPECT_EQ(refused.code(), Code::kNoSpace);
  EXPECT_TRUE(Contains(refused.message(), directory_.node())) << refused.message();
  EXPECT_TRUE(Contains(refused.message(), FormatBytes(options_.plan.region_bytes)));
  EXPECT_TRUE(Contains(refused.message(), " are free"));
  EXPECT_FALSE(std::filesystem::exists(directory_.node() + "/memory/region"));
}

TEST_F(RegionFileTest, DirectoryOfOthersIsNotTrusted) {
  std::filesystem::create_directories(directory_.node());
  ASSERT_EQ(::chmod(directory_.node().c_str(), 0777), 0);
  EXPECT_EQ(Refused().code(), Code::kDenied);
  EXPECT_TRUE(Contains(Refused().message(), directory_.node()));
}

TEST_F(RegionFileTest, SymbolicLinksAreNotFollowed) {
  ASSERT_EQ(::symlink("/tmp", directory_.node().c_str()), 0);
  EXPECT_FALSE(Refused().ok());
}

TEST_F(RegionFileTest, DirectoryOnADiskWithoutAMount) {
  options_.directory = "/proc/holdfast";
  EXPECT_FALSE(Refused().ok());
  std::string disk = std::filesystem::current_path();
  for (const char* other : {"/var/tmp", "/tmp", "/var/lib"}) {
    if (OnTmpfs(disk)) disk = other;
  }
  std::string here = disk + "/holdfast-region-test-" + std::to_string(::getpid());
  options_.directory = here;
  EXPECT_EQ(Refused().code(), Code::kInvalid);
  EXPECT_TRUE(Contains(Refused().message(), "on a disk")) << Refused().message();
  std::filesystem::remove_all(here);
}

// With the right to mount there are large pages, without it the text says why there are none.
TEST_F(RegionFileTest, LargePagesOrTheReason) {
  options_.huge = HugePages::kAuto;
  auto file = Open();
  if (IsOurMount(directory_.node() + "/memory")) {
    EXPECT_TRUE(Contains(file->description(), "2 MiB pages at")) << file->description();
    file.reset();
    file = Open();
    EXPECT_TRUE(file->reused());
    EXPECT_TRUE(Contains(file->description(), "found from an earlier start"));
    file.reset();
    options_.plan = SmallPlan(16);
    file = Open();
    EXPECT_TRUE(Contains(file->description(), "2 MiB pages at")) << file->description();
  } else {
    EXPECT_TRUE(Contains(file->description(), "no 2 MiB pages: ")) << file->description();
  }
  file->Remove();
  EXPECT_FALSE(std::filesystem::exists(directory_.node()));
}

// Else the next start would take the directory for somebody else's.
TEST_F(RegionFileTest, WhatElseLiesThereKeepsTheLock) {
  const std::string damaged = directory_.node() + "/promises.journal.damaged";
  auto file = Open();
  std::ofstream(damaged) << "what was";
  file->Remove();
  file.reset();
  EXPECT_TRUE(std::filesystem::exists(damaged));
  EXPECT_NE(Open(), nullptr);
}

TEST_F(RegionFileTest, RemoveLeavesNothing) {
  auto file = Open();
  file->Remove();
  EXPECT_FALSE(std::filesystem::exists(directory_.node()));
  EXPECT_TRUE(Open() != nullptr);
}

}  // namespace
}  // namespace holdfast::shm
