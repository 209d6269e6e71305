// SPDX-License-Identifier: Apache-2.0
#include "io/disk/segment_files.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>

#include "base/hash.h"
#include "base/random.h"

namespace holdfast::disk {
namespace {

constexpr uint64_t kSegment = 2 * kMiB;

// With io_uring, where the machine has it, and with threads.
class SegmentFilesTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "segments-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    root_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  SegmentFilesOptions Options() const {
    return {.directory = root_ + "/disk",
            .cluster = "c",
            .node = 3,
            .segments = 3,
            .segment_bytes = kSegment,
            .depth = 3,
            .log = nullptr};
  }
  // Callbacks run on the threads that made them, or in Await.
  Result<std::unique_ptr<SegmentFiles>> Open(const SegmentFilesOptions& options) {
    std::optional<Watcher> watcher;
    if (GetParam()) {
      watcher = Watcher{[this](int fd, std::function<void()> ready) {
                          watched_ = {fd, std::move(ready)};
                          return Status();
                        },
                        [this](int) {
                          watched_ = {-1, nullptr};
                        }};
    }
    return SegmentFiles::Open(
        options, [](std::function<void()> run) { run(); }, std::move(watcher));
  }
  void Await(const std::function<bool()>& done) {
    while (!done()) {
      pollfd readable{.fd = watched_.first, .events = POLLIN, .revents = 0};
      if (::poll(&readable, 1, 1) > 0) watched_.second();
    }
  }
  Status Await(std::future<Status> done) {
    Await([&] { return done.wait_for(std::chrono::seconds(0)) == std::future_status::ready; });
    return done.get();
  }
  Status Write(SegmentFiles& files, uint32_t segment, uint64_t offset,
               std::vector<ByteView> parts) {
    std::promise<Status> done;
    files.Write(segment, offset, std::move(parts), [&](Status status) { done.set_value(status); });
    return Await(done.get_future());
  }
  Status Read(SegmentFiles& files, uint32_t segment, uint64_t offset, ByteSpan into) {
    std::promise<Status> done;
    uint64_t hash = 0;
    files.Read(segment, offset, into, [&](Status status, uint64_t h) {
      hash = h;
      done.set_value(status);
    });
    Status status = Await(done.get_future());
    if (status.ok()) {
      EXPECT_EQ(hash, Hash64(into));
    }
    return status;
  }
  Status Sync(SegmentFiles& files, uint32_t segment) {
    std::promise<Status> done;
    files.Sync(segment, [&](Status status) { done.set_value(status); });
    return Await(done.get_future());
  }
  static std::vector<std::byte> RandomBytes(Random* random, uint64_t n) {
    std::vector<std::byte> bytes(n);
    for (std::byte& b : bytes) b = static_cast<std::byte>(random->Next());
    return bytes;
  }

  std::string root_;
  std::pair<int, std::function<void()>> watched_{-1, nullptr};
};

TEST_P(SegmentFilesTest, PartsComeBackFromAnyOffset) {
  auto files = Open(Options());
  ASSERT_TRUE(files.ok()) << files.status().ToString();
  Random random(1);
  std::vector<std::byte> all;
  std::vector<std::vector<std::byte>> owned;
  for (uint64_t n : {1, 63, 5'000, 1'500'000, 0, 7}) owned.push_back(RandomBytes(&random, n));
  std::vector<ByteView> parts(owned.begin(), owned.end());
  for (const auto& part : owned) all.insert(all.end(), part.begin(), part.end());
  ASSERT_TRUE(Write(**files, 1, 8'192, parts).ok());
  ASSERT_TRUE(Sync(**files, 1).ok());
  for (int i = 0; i < 200; ++i) {
    const uint64_t from = random.Below(all.size()), n = random.Below(all.size() - from) + 1;
    std::vector<std::byte> got(n);
    ASSERT_TRUE(Read(**files, 1, 8'192 + from, got).ok());
    ASSERT_TRUE(std::equal(got.begin(), got.end(), all.begin() + static_cast<int64_t>(from)));
  }
  // What is left of the last block is zero.
  std::vector<std::byte> rest(1);
  ASSERT_TRUE(Read(**files, 1, 8'192 + all.size(), rest).ok());
  EXPECT_EQ(rest[0], std::byte{0});
}

TEST_P(SegmentFilesTest, WhatWasWrittenIsThereForTheNextProcess) {
  const std::vector<std::byte> bytes(5'000, std::byte{42});
  {
    auto files = Open(Options());
    ASSERT_TRUE(files.ok());
    ASSERT_TRUE(Write(**files, 2, 4'096, {bytes}).ok());
  }
  auto files = Open(Options());
  ASSERT_TRUE(files.ok()) << files.status().ToString();
  std::vector<std::byte> got(bytes.size());
  ASSERT_TRUE(Read(**files, 2, 4'096, got).ok());
  EXPECT_EQ(got, bytes);
}

// Whoever may read the memory of the node may read these; without a group nobody else.
TEST_P(SegmentFilesTest, TheGroupMayReadTheSegments) {
  SegmentFilesOptions options = Options();
  const auto modes = [&] {
    const auto mode_of = [](const std::string& path) {
      return static_cast<unsigned>(std::filesystem::status(path).permissions());
    };
    return std::pair(mode_of(options.directory), mode_of(options.directory + "/000001.segment"));
  };
  ASSERT_TRUE(Open(options).ok());
  EXPECT_EQ(modes(), std::pair(0700u, 0600u));
  options.group = std::to_string(::getegid());
  ASSERT_TRUE(Open(options).ok());
  EXPECT_EQ(modes(), std::pair(0750u, 0640u));
  options.group.clear();
  ASSERT_TRUE(Open(options).ok());
  EXPECT_EQ(modes(), std::pair(0700u, 0600u));
  options.group = "no such group";
  EXPECT_EQ(Open(options).status().code(), Code::kInvalid);
}

TEST_P(SegmentFilesTest, ManyAtATime) {
  auto files = Open(Options());
  ASSERT_TRUE(files.ok());
  constexpr int kOperations = 300;
  const std::vector<std::byte> bytes(4'096, std::byte{1});
  std::vector<std::vector<std::byte>> into(kOperations, std::vector<std::byte>(100));
  std::atomic<int> done{0};
  for (int i = 0; i < kOperations; ++i) {
    (*files)->Write(0, static_cast<uint64_t>(i) * 4'096, {bytes}, [&](Status status) {
      EXPECT_TRUE(status.ok());
      ++done;
    });
    (*files)->Read(1, static_cast<uint64_t>(i) * 1'000, into[static_cast<size_t>(i)],
                   [&](Status status, uint64_t) {
                     EXPECT_TRUE(status.ok());
                     ++done;
                   });
  }
  Await([&] { return done == 2 * kOperations; });
  std::vector<std::byte> got(kOperations * 4'096);
  ASSERT_TRUE(Read(**files, 0, 0, got).ok());
  EXPECT_TRUE(std::all_of(got.begin(), got.end(), [](std::byte b) { return b == std::byte{1}; }));
}

// So many that the device is busy and is given some together; whoever gets one asks for the next.
TEST_P(SegmentFilesTest, EachReadThatEndsBeginsAnother) {
  SegmentFilesOptions options = Options();
  options.depth = 16;
  auto files = Open(options);
  ASSERT_TRUE(files.ok());
  Random random(5);
  const std::vector<std::byte> bytes = RandomBytes(&random, kSegment);
  ASSERT_TRUE(Write(**files, 1, 0, {bytes}).ok());
  constexpr int kChains = 40, kReads = 50;  // some wait for a place
  std::atomic<int> left{kChains};
  std::vector<std::vector<std::byte>> into(kChains);
  std::function<void(size_t, int)> next = [&](size_t chain, int reads) {
    if (reads == kReads) {
      --left;
      return;
    }
    const uint64_t size = 1 + (chain * 7'919 + static_cast<uint64_t>(reads) * 104'729) % 30'000;
    const uint64_t offset =
        (chain * 15'485'863 + static_cast<uint64_t>(reads) * 32'452'843) % (kSegment - size);
    into[chain].assign(size, std::byte{});
    (*files)->Read(1, offset, into[chain], [&, chain, reads, offset](Status status, uint64_t) {
      EXPECT_TRUE(status.ok());
      EXPECT_TRUE(std::equal(into[chain].begin(), into[chain].end(),
                             bytes.begin() + static_cast<ptrdiff_t>(offset)));
      next(chain, reads + 1);
    });
  };
  for (size_t chain = 0; chain < kChains; ++chain) next(chain, 0);
  Await([&] { return left == 0; });
}

TEST_P(SegmentFilesTest, ItsEndWaitsForWhatWasBegun) {
  SegmentFilesOptions options = Options();
  options.depth = 16;
  std::vector<std::vector<std::byte>> into(200, std::vector<std::byte>(100));
  for (size_t reads = 1; reads < into.size(); reads += 3) {
    auto files = Open(options);
    ASSERT_TRUE(files.ok());
    for (size_t i = 0; i < reads; ++i) {
      (*files)->Read(0, i * 1'000, into[i], [](const Status&, uint64_t) {});
    }
  }
}

TEST_P(SegmentFilesTest, ItsEndDropsWhatWaits) {
  std::atomic<int> done{0};
  std::vector<std::vector<std::byte>> into(200, std::vector<std::byte>(kSegment));
  {
    auto files = Open(Options());
    ASSERT_TRUE(files.ok());
    for (auto& bytes : into) (*files)->Read(0, 0, bytes, [&](const Status&, uint64_t) { ++done; });
  }
  const int at_the_end = done;
  EXPECT_LT(at_the_end, 200);
  usleep(10'000);
  EXPECT_EQ(done, at_the_end);
}

TEST_P(SegmentFilesTest, OneDaemonAtATime) {
  auto files = Open(Options());
  ASSERT_TRUE(files.ok());
  const Status second = Open(Options()).status();
  EXPECT_EQ(second.code(), Code::kUnavailable);
  EXPECT_NE(second.message().find("disk.directory"), std::string::npos) << second.message();
}

TEST_P(SegmentFilesTest, ADirectoryOfSomethingElseIsLeftAlone) {
  std::filesystem::create_directory(root_ + "/disk");
  ASSERT_EQ(::chmod((root_ + "/disk").c_str(), 0755), 0);
  std::ofstream(root_ + "/disk/thesis.txt") << "precious";
  const Status status = Open(Options()).status();
  EXPECT_EQ(status.code(), Code::kInvalid);
  EXPECT_NE(status.message().find("thesis.txt"), std::string::npos) << status.message();
  EXPECT_TRUE(std::filesystem::exists(root_ + "/disk/thesis.txt"));
  EXPECT_FALSE(std::filesystem::exists(root_ + "/disk/lock"));
  struct stat info {};
  ASSERT_EQ(::stat((root_ + "/disk").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0755u);
}

TEST_P(SegmentFilesTest, AFileSystemsOwnDirectoryIsNobodys) {
  std::filesystem::create_directories(root_ + "/disk/lost+found");
  ASSERT_TRUE(Open(Options()).ok());
  EXPECT_TRUE(Open(Options()).ok());
}

// A start that finds no room has settled nothing: the next one may have other sizes.
TEST_P(SegmentFilesTest, WhatHadNoRoomMayHaveOtherSizesTheNextTime) {
  SegmentFilesOptions large = Options();
  large.segment_bytes = uint64_t{1} << 50;
  const Status full = Open(large).status();
  EXPECT_EQ(full.code(), Code::kNoSpace);
  EXPECT_NE(full.message().find("disk.limit"), std::string::npos) << full.message();
  EXPECT_FALSE(std::filesystem::exists(root_ + "/disk/layout"));
  EXPECT_TRUE(Open(Options()).ok());
}

TEST_P(SegmentFilesTest, ALayoutThatACrashLeftEmptyIsWrittenAgain) {
  std::filesystem::create_directory(root_ + "/disk");
  for (const char* name : {"/disk/lock", "/disk/layout"}) std::ofstream(root_ + name) << "";
  { ASSERT_TRUE(Open(Options()).ok()); }
  SegmentFilesOptions other = Options();
  other.node = 4;
  EXPECT_NE(Open(other).status().message().find("of node 3"), std::string::npos);
}

TEST_P(SegmentFilesTest, AnotherNodeClusterSizeOrVersionIsRefused) {
  { ASSERT_TRUE(Open(Options()).ok()); }
  SegmentFilesOptions node = Options(), cluster = Options(), size = Options();
  node.node = 4;
  cluster.cluster = "d";
  size.segment_bytes = kMiB;
  EXPECT_NE(Open(node).status().message().find("of node 3"), std::string::npos);
  EXPECT_NE(Open(cluster).status().message().find("cluster \"c\""), std::string::npos);
  EXPECT_NE(Open(size).status().message().find("disk.segment"), std::string::npos);
  std::ofstream(root_ + "/disk/layout") << "holdfast-segments 9 3 2097152 c\n";
  EXPECT_NE(Open(Options()).status().message().find("version 9"), std::string::npos);
  std::ofstream(root_ + "/disk/layout") << "";
  EXPECT_EQ(Open(Options()).status().code(), Code::kInvalid);
}

TEST_P(SegmentFilesTest, AFileThatIsShortOrMissingIsAllocatedAgain) {
  { ASSERT_TRUE(Open(Options()).ok()); }
  std::filesystem::resize_file(root_ + "/disk/000001.segment", 5'000);
  std::filesystem::remove(root_ + "/disk/000002.segment");
  auto files = Open(Options());
  ASSERT_TRUE(files.ok()) << files.status().ToString();
  std::vector<std::byte> got(kSegment);
  EXPECT_TRUE(Read(**files, 1, 0, got).ok());
  EXPECT_TRUE(Read(**files, 2, 0, got).ok());
}

TEST_P(SegmentFilesTest, ALongerFileIsNotOurs) {
  { ASSERT_TRUE(Open(Options()).ok()); }
  std::filesystem::resize_file(root_ + "/disk/000001.segment", 2 * kSegment);
  EXPECT_EQ(Open(Options()).status().code(), Code::kInvalid);
}

TEST_P(SegmentFilesTest, ADiskThatShrankHasFewerFiles) {
  { ASSERT_TRUE(Open(Options()).ok()); }
  SegmentFilesOptions fewer = Options();
  fewer.segments = 1;
  ASSERT_TRUE(Open(fewer).ok());
  EXPECT_TRUE(std::filesystem::exists(root_ + "/disk/000000.segment"));
  EXPECT_FALSE(std::filesystem::exists(root_ + "/disk/000001.segment"));
  EXPECT_FALSE(std::filesystem::exists(root_ + "/disk/000002.segment"));
}

TEST_P(SegmentFilesTest, TooLargeForTheDisk) {
  SegmentFilesOptions huge = Options();
  huge.segment_bytes = uint64_t{1} << 50;
  const Status status = Open(huge).status();
  EXPECT_EQ(status.code(), Code::kNoSpace) << status.ToString();
  EXPECT_NE(status.message().find("disk.limit"), std::string::npos) << status.message();
}

TEST_P(SegmentFilesTest, AFileThatShrinksWhileItIsReadIsCorrupt) {
  auto files = Open(Options());
  ASSERT_TRUE(files.ok());
  std::filesystem::resize_file(root_ + "/disk/000000.segment", 4'096);
  std::vector<std::byte> got(100);
  EXPECT_EQ(Read(**files, 0, 8'192, got).code(), Code::kCorrupt);
}

INSTANTIATE_TEST_SUITE_P(Engines, SegmentFilesTest, testing::Bool(), [](const auto& engine) {
  return std::string(engine.param ? "IoUring" : "Threads");
});

}  // namespace
}  // namespace holdfast::disk
