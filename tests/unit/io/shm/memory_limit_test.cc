// SPDX-License-Identifier: Apache-2.0
#include "io/shm/memory_limit.h"

#include <gtest/gtest.h>

#include <fstream>

#include "tests/unit/io/shm/shm_testing.h"

namespace holdfast::shm {
namespace {

class MemoryLimitTest : public ::testing::Test {
 protected:
  MemoryLimitTest() {
    paths_.self_cgroup = directory_.path() + "/cgroup";
    paths_.cgroup_root = directory_.path() + "/fs";
    paths_.meminfo = directory_.path() + "/meminfo";
    Write("meminfo", "MemFree: 12 kB\nMemTotal:       16777216 kB\n");
    Write("cgroup", "");
  }
  void Write(const std::string& name, const std::string& text) {
    std::filesystem::path path = directory_.path() + "/" + name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  uint64_t Limit() {
    Result<MemoryLimit> limit = ReadMemoryLimit(paths_);
    return limit.ok() ? limit->bytes : 0;
  }

  TestDirectory directory_;
  MemoryLimitPaths paths_;
};

TEST_F(MemoryLimitTest, PhysicalMemoryWithoutCgroups) { EXPECT_EQ(Limit(), 16 * kGiB); }

TEST_F(MemoryLimitTest, SmallestOfTheAncestorsInVersion2) {
  Write("cgroup", "0::/pods/one/job\n");
  Write("fs/pods/one/job/memory.max", "max\n");
  Write("fs/pods/one/memory.max", "2147483648\n");
  Write("fs/pods/memory.max", "8589934592\n");
  EXPECT_EQ(Limit(), 2 * kGiB);
}

TEST_F(MemoryLimitTest, Version1IsUnlimitedByAHugeNumber) {
  Write("cgroup", "5:cpu,cpuacct:/x\n4:memory:/x\n0::/\n");
  Write("fs/memory/x/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(Limit(), 16 * kGiB);
  Write("fs/memory/memory.limit_in_bytes", "1073741824\n");
  EXPECT_EQ(Limit(), 1 * kGiB);
}

// In a container the path is the host's, and only the root of the hierarchy can be seen.
TEST_F(MemoryLimitTest, PathThatOnlyTheHostSees) {
  Write("cgroup", "4:memory:/docker/0123456789\n");
  Write("fs/memory/memory.limit_in_bytes", "536870912\n");
  EXPECT_EQ(Limit(), 512 * kMiB);
}

TEST_F(MemoryLimitTest, HybridHierarchy) {
  Write("cgroup", "0::/a\n");
  Write("fs/unified/a/memory.max", "1073741824\n");
  EXPECT_EQ(Limit(), 1 * kGiB);
}

TEST_F(MemoryLimitTest, GarbageIsNoLimit) {
  Write("cgroup", "nonsense\n:\n0:\n0::/a\n");
  Write("fs/a/memory.max", "12x\n");
  EXPECT_EQ(Limit(), 16 * kGiB);
}

TEST_F(MemoryLimitTest, NoMeminfoIsAnError) {
  paths_.meminfo = directory_.path() + "/none";
  EXPECT_EQ(ReadMemoryLimit(paths_).status().code(), Code::kUnavailable);
}

TEST_F(MemoryLimitTest, RefusalNamesBothFiguresAndTheKey) {
  Write("cgroup", "0::/a\n");
  Write("fs/a/memory.max", "1073741824\n");
  EXPECT_TRUE(CheckMemoryLimit(1 * kGiB, "memory.limit", paths_).ok());
  Status refused = CheckMemoryLimit(1 * kGiB + 1, "memory.limit", paths_);
  EXPECT_EQ(refused.code(), Code::kInvalid);
  EXPECT_NE(refused.message().find("memory.limit asks for 1.00 GiB"), std::string::npos)
      << refused.message();
  EXPECT_NE(refused.message().find("may have 1.00 GiB"), std::string::npos);
  EXPECT_NE(refused.message().find("fs/a/memory.max"), std::string::npos);
}

TEST(MemoryLimit, ThisMachineHasOne) {
  Result<MemoryLimit> limit = ReadMemoryLimit();
  ASSERT_TRUE(limit.ok());
  EXPECT_GT(limit->bytes, 64 * kMiB);
}

}  // namespace
}  // namespace holdfast::shm
