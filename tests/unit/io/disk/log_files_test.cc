// SPDX-License-Identifier: Apache-2.0
// The log in real files: what can be wrong with them, and a process that is killed under load.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <new>
#include <thread>
#include <vector>

#include "tests/unit/io/disk/directory_fixture.h"
#include "tests/unit/io/disk/log_fixture.h"

namespace holdfast::disk {
namespace {

class LogFiles : public InDirectory {
 protected:
  CommitLogOptions Options() const { return {.path = path_, .bytes = kRing}; }
  std::unique_ptr<CommitLog> MustOpenFile() {
    auto log = CommitLog::Open(Options());
    EXPECT_TRUE(log.ok()) << log.status().ToString();
    return log.ok() ? *std::move(log) : nullptr;
  }
  void Overwrite(uint64_t at, const std::string& bytes) {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(at));
    file << bytes;
  }
  // The text of the refusal names the file and says `advice`.
  void ExpectRefused(Code code, const std::string& advice) {
    Status status = CommitLog::Open(Options()).status();
    EXPECT_EQ(status.code(), code) << status.ToString();
    EXPECT_NE(status.message().find(path_), std::string::npos) << status.ToString();
    EXPECT_NE(status.message().find(advice), std::string::npos) << status.ToString();
  }

  const std::string path_ = directory_ + "/journal";
};

TEST_F(LogFiles, HoldsItsRecords) {
  for (bool sync : {true, false}) {
    CommitLogOptions options = Options();
    options.sync = sync;
    Records model;
    for (int life = 0; life < 3; ++life) {
      auto log = CommitLog::Open(options);
      ASSERT_TRUE(log.ok()) << log.status().ToString();
      EXPECT_EQ(ReplayAll(log->get()), model);
      for (uint64_t i = 0; i < 20; ++i) {
        const std::string text = TextOf(i, i * 500);
        model[MustAppend(log->get(), text)] = text;
      }
    }
    std::filesystem::remove(path_);
  }
}

TEST_F(LogFiles, AFileOfSomethingElseIsLeftAlone) {
  std::ofstream(path_) << std::string(20'000, 'x');
  ExpectRefused(Code::kInvalid, "is not a journal; move it away");
  EXPECT_EQ(std::filesystem::file_size(path_), 20'000u);
  std::ofstream(path_) << "short";
  ExpectRefused(Code::kInvalid, "is not a journal");
}

TEST_F(LogFiles, ANewerVersionIsRefusedByName) {
  MustOpenFile().reset();
  std::byte block[kBlockBytes];
  for (uint64_t copy : {0, 1}) {
    EncodeHead({.log_id = 1, .ring_bytes = kRing, .number = 9 + copy}, block);
    StoreAs<uint16_t>(block + 8, 2);
    StoreAs<uint64_t>(block + 64, Hash64(ByteView(block, 64)));
    Overwrite(copy * kBlockBytes, std::string(AsText(block)));
  }
  ExpectRefused(Code::kInvalid, "has version 2 of the journal and this is 1");
}

TEST_F(LogFiles, ATruncatedFileIsRefused) {
  MustOpenFile().reset();
  std::filesystem::resize_file(path_, kHeadsBytes + kRing - kBlockBytes);
  ExpectRefused(Code::kCorrupt, "it was cut off");
}

TEST_F(LogFiles, ASecondProcessIsRefused) {
  auto log = MustOpenFile();
  ExpectRefused(Code::kUnavailable, "another process is using");
  log.reset();
  MustOpenFile();
}

TEST_F(LogFiles, AFullDiskIsToldApartAndLeavesNothing) {
  const Status status = CommitLog::Open({.path = path_, .bytes = uint64_t{1} << 50}).status();
  EXPECT_EQ(status.code(), Code::kNoSpace) << status.ToString();
  EXPECT_NE(status.message().find("the disk is too full for " + path_), std::string::npos);
  EXPECT_TRUE(std::filesystem::is_empty(directory_));
}

TEST_F(LogFiles, ADirectoryThatCannotBeWrittenIsNamed) {
  for (const std::string directory : {"/proc/self", "/nowhere/at/all"}) {
    const Status status = CommitLog::Open({.path = directory + "/journal"}).status();
    EXPECT_FALSE(status.ok());
    EXPECT_NE(status.message().find(directory + "/journal"), std::string::npos);
    EXPECT_NE(status.message().find("must exist and be writable"), std::string::npos);
  }
  EXPECT_EQ(CommitLog::Open({.path = path_, .bytes = 4096}).status().code(), Code::kInvalid);
}

TEST_F(LogFiles, AFileHalfMadeIsMadeAnew) {
  std::ofstream(path_ + ".new") << std::string(9'000, 'x');
  MustOpenFile();
  EXPECT_FALSE(std::filesystem::exists(path_ + ".new"));
}

// What the child tells the parent, in memory that both map. By thread: how many of its records were
// acknowledged, and how many were begun.
struct Shared {
  static constexpr uint64_t kThreads = 6;
  std::atomic<uint64_t> acknowledged[kThreads];
  std::atomic<uint64_t> begun[kThreads];
};

// Record i of thread t says (t, i) and has bytes that follow from them.
std::string RecordOf(uint64_t thread, uint64_t i) {
  return TextOf(thread << 40 | i, 16 + Mix64(thread + i) % 3'000);
}

[[noreturn]] void AppendUntilKilled(const CommitLogOptions& options, Shared* shared) {
  auto log = CommitLog::Open(options);
  if (!log.ok()) ::_exit(3);
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < Shared::kThreads; ++t) {
    threads.emplace_back([&, t] {
      while (true) {
        const uint64_t i = shared->begun[t].load();
        std::string record(16, '\0');
        std::memcpy(record.data(), &t, 8);
        std::memcpy(record.data() + 8, &i, 8);
        shared->begun[t].store(i + 1);
        Result<uint64_t> sequence = (*log)->AppendAndWait(AsBytes(record + RecordOf(t, i)));
        while (!sequence.ok() && sequence.status().code() == Code::kNoSpace) {
          if (!(*log)->Truncate((*log)->end()).ok()) ::_exit(4);
          sequence = (*log)->AppendAndWait(AsBytes(record + RecordOf(t, i)));
        }
        if (!sequence.ok()) ::_exit(5);
        shared->acknowledged[t].store(i + 1);
      }
    });
  }
  threads[0].join();
  ::_exit(6);
}

class KilledLog : public LogFiles {
 protected:
  void SetUp() override {
    void* memory =
        ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(memory, MAP_FAILED);
    shared_ = new (memory) Shared();
  }
  void TearDown() override { ::munmap(shared_, sizeof(Shared)); }

  uint64_t Acknowledged() const {
    uint64_t sum = 0;
    for (const auto& n : shared_->acknowledged) sum += n.load();
    return sum;
  }

  void RunAndKill(Random* random, bool sync) {
    pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      CommitLogOptions options = Options();
      options.sync = sync;
      AppendUntilKilled(options, shared_);
    }
    // Most at an instant while it works, some while it starts.
    const uint64_t enough = random->Chance(0.8) ? Acknowledged() + 1 + random->Below(50) : 0;
    int status = 0;
    while (Acknowledged() < enough) {
      ASSERT_EQ(::waitpid(child, &status, WNOHANG), 0) << "the child ended by itself: " << status;
      std::this_thread::sleep_for(Duration(100));
    }
    std::this_thread::sleep_for(Duration(random->Below(3'000)));
    ::kill(child, SIGKILL);
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended by itself: " << status;
  }

  // Of each thread: one run without a gap, all bytes right, up to what was acknowledged at least and
  // to what was begun at most. Where it begins is the child's business: it gives space back.
  void CheckReplay(CommitLog* log) {
    std::vector<uint64_t> next(Shared::kThreads, UINT64_MAX);
    uint64_t wrong = 0;
    Status replayed = log->Replay([&](uint64_t, ByteView record) {
      const uint64_t t = LoadAs<uint64_t>(record.data());
      const uint64_t i = LoadAs<uint64_t>(record.data() + 8);
      if (t >= Shared::kThreads || (next[t] != UINT64_MAX && next[t] != i) ||
          AsText(record.subspan(16)) != RecordOf(t, i)) {
        ++wrong;
        return;
      }
      next[t] = i + 1;
      ++replayed_;
    });
    ASSERT_TRUE(replayed.ok()) << replayed.ToString();
    ASSERT_EQ(wrong, 0u);
    for (uint64_t t = 0; t < Shared::kThreads; ++t) {
      if (next[t] == UINT64_MAX) continue;  // all its records were given back
      ASSERT_GE(next[t], shared_->acknowledged[t].load()) << "thread " << t;
      ASSERT_LE(next[t], shared_->begun[t].load()) << "thread " << t;
    }
    for (uint64_t t = 0; t < Shared::kThreads; ++t) {  // the next child goes on from there
      const uint64_t from = next[t] != UINT64_MAX ? next[t] : shared_->acknowledged[t].load();
      shared_->begun[t] = shared_->acknowledged[t] = from;
    }
  }

  Shared* shared_ = nullptr;
  uint64_t replayed_ = 0;
};

// What is not synced survives the process all the same.
TEST_F(KilledLog, SixtyKillsLoseNothingAcknowledged) {
  Random random(5);
  for (int round = 0; round < 60; ++round) {
    RunAndKill(&random, round % 3 != 0);
    auto log = CommitLog::Open(Options());
    ASSERT_TRUE(log.ok()) << "round " << round << ": " << log.status().ToString();
    CheckReplay(log->get());
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(replayed_, 60u);
}

}  // namespace
}  // namespace holdfast::disk
