// SPDX-License-Identifier: Apache-2.0
// A snapshot log on disk that is gone afterwards, and what breaks it.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "base/hash.h"
#include "jobclient/cli/snapshot_directory.h"
#include "tests/unit/snapshot/log_fixture.h"

namespace holdfast::cli {

class LogDirectory : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "holdfast-log-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    scratch_ = name;
    options_ = {.path = scratch_ + "/log", .cluster = snapshot::kCluster};
  }
  void TearDown() override { std::filesystem::remove_all(scratch_); }

  std::unique_ptr<SnapshotDirectory> Open() {
    auto directory =
        SnapshotDirectory::Open(options_, [this](const std::string& t) { warnings_.push_back(t); });
    EXPECT_TRUE(directory.ok()) << directory.status().ToString();
    return directory.ok() ? *std::move(directory) : nullptr;
  }

  // Snapshot number n of two nodes, ten seconds after the one before it: since then the first node
  // has got one object, and evicted its oldest one.
  static std::vector<snapshot::NodeListing> Nodes(uint64_t n) {
    constexpr uint64_t kObjects = 1'000;
    std::vector<snapshot::HeldObject> changing, steady;
    for (uint64_t i = 0; i < kObjects; ++i) {
      const Duration after_it = 10s * static_cast<int64_t>(kObjects - 1 - i);
      changing.push_back({.print = Mix64(i + n) >> 24, .age = 1s + after_it});
      steady.push_back(
          {.print = Mix64(1'000'000 + i) >> 24, .age = 100s + 10s * static_cast<int64_t>(n)});
    }
    return {snapshot::Listing(1, changing), snapshot::Listing(2, steady)};
  }
  // As a collector does it, a snapshot every ten seconds.
  Status Collect(SnapshotDirectory& directory, bool full = false) {
    const uint64_t n = ++snapshots_;
    snapshot::RingEvidence evidence;
    evidence[snapshot::Ring::kKept].Evicted(Duration(0), 60s, n);
    return directory.Append(directory.log()->Append(snapshot::After(10s * static_cast<int64_t>(n)),
                                                    Nodes(n), evidence,
                                                    full || directory.WantsFull()));
  }
  // A log of so many snapshots, full ones as wished.
  void Fill(int snapshots, int full_every) {
    const auto directory = Open();
    for (int i = 0; i < snapshots; ++i) ASSERT_TRUE(Collect(*directory, i % full_every == 0).ok());
  }

  std::vector<LogFile> Files() const {
    Result<std::vector<LogFile>> files = ListLogFiles(options_.path);
    EXPECT_TRUE(files.ok());
    return files.ok() ? *files : std::vector<LogFile>();
  }
  // The numbers of the snapshots that can be read, in order; faults go to faults_.
  std::vector<uint64_t> Numbers(size_t newest = 0) {
    faults_.clear();
    std::vector<uint64_t> numbers;
    const LogVisitor visitor{.frame =
                                 [&](const LogFrame&, const snapshot::SnapshotLog& log) {
                                   numbers.push_back(log.sequence());
                                   return true;
                                 },
                             .fault = [&](const LogFault& f) { faults_.push_back(f); }};
    read_ = ReadLogDirectory(options_.path, newest, visitor).status();
    return numbers;
  }
  std::vector<LogFault> Check() const {
    std::vector<LogFault> faults;
    EXPECT_TRUE(
        CheckLogFiles(Files(), {.fault = [&](const LogFault& f) { faults.push_back(f); }}).ok());
    return faults;
  }
  // Where the frames of a file begin.
  static std::vector<uint64_t> Offsets(const std::string& path) {
    const std::string bytes = Bytes(path);
    std::vector<uint64_t> offsets;
    for (uint64_t at = 0; at < bytes.size();) {
      const auto header = snapshot::ReadFrameHeader(AsBytes(bytes).subspan(at));
      EXPECT_TRUE(header.ok());
      if (!header.ok()) break;
      offsets.push_back(at);
      at += header->frame_bytes();
    }
    return offsets;
  }

  static std::string Bytes(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static void SetBytes(const std::string& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  }
  static void Flip(const std::string& path, uint64_t byte) {
    std::string bytes = Bytes(path);
    bytes.at(byte) = static_cast<char>(bytes.at(byte) ^ 0x10);
    SetBytes(path, bytes);
  }

  std::string scratch_;
  DirectoryOptions options_;
  uint64_t snapshots_ = 0;
  std::vector<std::string> warnings_;
  std::vector<LogFault> faults_;
  Status read_;
};

}  // namespace holdfast::cli
