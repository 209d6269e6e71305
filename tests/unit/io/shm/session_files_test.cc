// SPDX-License-Identifier: Apache-2.0
#include "io/shm/session_files.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <fstream>

#include "tests/unit/io/shm/shm_testing.h"

namespace holdfast::shm {
namespace {

constexpr uint32_t kSegments = 16;
constexpr Time kStart{1'000'000};

bool LockFirstByte(int fd) {
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_len = 1;
  return ::fcntl(fd, F_SETLK, &lock) == 0;
}

class SessionFilesTest : public ::testing::Test {
 protected:
  SessionFilesTest() { Restart(); }

  void Restart() {
    files_.reset();
    attached_.clear();
    SessionFilesOptions options;
    options.directory = directory_.node();
    options.segments = kSegments;
    options.incarnation = 5;
    options.attach = [this](uint32_t id, ByteSpan memory) { attached_[id] = memory; };
    options.detach = [this](uint32_t id) { attached_.erase(id); };
    auto files = SessionFiles::Open(std::move(options));
    ASSERT_TRUE(files.ok()) << files.status().ToString();
    files_ = std::move(*files);
  }
  SessionFiles::Created Create() {
    auto created = files_->Create(42, kStart);
    EXPECT_TRUE(created.ok()) << created.status().ToString();
    return *created;
  }
  std::string PathOf(uint32_t session) const {
    return directory_.node() + "/session-" + std::to_string(session);
  }
  bool Exists(uint32_t session) const { return std::filesystem::exists(PathOf(session)); }
  // A process that holds the lock of this session until it is told to end.
  std::unique_ptr<Child> Holder(int fd) {
    auto child = std::make_unique<Child>([fd](Child& parent) {
      parent.Say(LockFirstByte(fd) ? 'l' : 'x');
      return static_cast<int>(parent.Hear());
    });
    EXPECT_EQ(child->Hear(), 'l');
    return child;
  }

  TestDirectory directory_;
  std::map<uint32_t, ByteSpan> attached_;
  std::unique_ptr<SessionFiles> files_;
};

TEST_F(SessionFilesTest, FileCarriesTheLayout) {
  auto created = Create();
  EXPECT_EQ(created.session, 1u);
  EXPECT_EQ(std::filesystem::file_size(PathOf(1)), SessionBytes(kSegments));
  SessionHeader header;
  ASSERT_EQ(::pread(created.fd, &header, sizeof(header), 0), static_cast<ssize_t>(sizeof(header)));
  EXPECT_EQ(header.magic, kSessionMagic);
  EXPECT_EQ(header.session, 1u);
  EXPECT_EQ(header.segments, kSegments);
  EXPECT_EQ(header.incarnation, 5u);
  EXPECT_EQ(header.pid, 42u);
}

TEST_F(SessionFilesTest, LivesAsLongAsItsProcess) {
  auto created = Create();
  EXPECT_EQ(files_->Confirm(1).code(), Code::kInvalid);  // nobody has locked it
  EXPECT_TRUE(attached_.empty());
  auto client = Holder(created.fd);
  EXPECT_TRUE(files_->Confirm(1).ok());
  EXPECT_EQ(attached_.size(), 1u);
  files_->Sweep(kStart + 3600s);
  EXPECT_EQ(files_->attached(), 1u);
  files_->Abandon(1);  // not for attached ones
  EXPECT_EQ(files_->attached(), 1u);
  client->Kill();
  files_->Sweep(kStart);
  EXPECT_TRUE(attached_.empty());
  EXPECT_FALSE(Exists(1));
  EXPECT_EQ(Create().session, 1u);
}

TEST_F(SessionFilesTest, StoppedProcessLives) {
  auto client = Holder(Create().fd);
  ASSERT_TRUE(files_->Confirm(1).ok());
  ::kill(client->pid(), SIGSTOP);
  files_->Sweep(kStart + 3600s);
  EXPECT_EQ(files_->attached(), 1u);
}

// A child that outlives its parent has the descriptor but not the lock.
TEST_F(SessionFilesTest, ForkedChildDoesNotInherit) {
  int fd = Create().fd;
  Child client([fd](Child& parent) {
    LockFirstByte(fd);
    pid_t child = ::fork();
    if (child == 0) {
      parent.Hear();  // until the test closes the pipe
      ::_exit(0);
    }
    parent.Say('l');
    return static_cast<int>(parent.Hear());
  });
  ASSERT_EQ(client.Hear(), 'l');
  ASSERT_TRUE(files_->Confirm(1).ok());
  client.Kill();
  files_->Sweep(kStart);
  EXPECT_EQ(files_->attached(), 0u);
}

TEST_F(SessionFilesTest, RestartFindsTheLivingAndRemovesTheDead) {
  auto first = Holder(Create().fd);
  auto second = Holder(Create().fd);
  ASSERT_TRUE(files_->Confirm(1).ok());
  ASSERT_TRUE(files_->Confirm(2).ok());
  auto pins = reinterpret_cast<std::atomic<uint32_t>*>(attached_[2].data() + PinsOffset());
  pins[3].store(1);
  Create();  // pending at the restart
  std::ofstream(directory_.node() + "/session-x") << "?";
  std::ofstream(directory_.node() + "/session-99999999999") << "?";
  first->Kill();
  Restart();
  ASSERT_EQ(attached_.size(), 1u);
  ASSERT_TRUE(attached_.contains(2));
  EXPECT_EQ(reinterpret_cast<std::atomic<uint32_t>*>(attached_[2].data() + PinsOffset())[3].load(),
            1u);
  EXPECT_FALSE(Exists(1));
  EXPECT_TRUE(Exists(2));
  EXPECT_FALSE(Exists(3));
  // The daemon's own use of the file has not touched the lock.
  files_->Sweep(kStart);
  EXPECT_EQ(files_->attached(), 1u);
  second->Kill();
  files_->Sweep(kStart);
  EXPECT_EQ(files_->attached(), 0u);
}

TEST_F(SessionFilesTest, NeverLockedIsRemovedAfterTenSeconds) {
  Create();
  files_->Sweep(kStart + 10s);
  EXPECT_TRUE(Exists(1));
  files_->Sweep(kStart + 10s + 1us);
  EXPECT_FALSE(Exists(1));
  EXPECT_EQ(files_->Confirm(1).code(), Code::kInvalid);
}

TEST_F(SessionFilesTest, LimitSaysSo) {
  for (uint32_t i = 0; i < kMaxSessions; ++i) Create();
  Status refused = files_->Create(42, kStart).status();
  EXPECT_EQ(refused.code(), Code::kNoSpace);
  EXPECT_NE(refused.message().find("256 sessions"), std::string::npos) << refused.message();
  files_->Abandon(7);
  EXPECT_EQ(Create().session, 7u);
}

// A client that shortens its file would end a daemon that reads it with SIGBUS.
TEST_F(SessionFilesTest, TruncatedByItsClient) {
  int fd = Create().fd;
  auto client = Holder(fd);
  ASSERT_TRUE(files_->Confirm(1).ok());
  ASSERT_EQ(::ftruncate(fd, 0), 0);
  auto pins = reinterpret_cast<std::atomic<uint32_t>*>(attached_[1].data() + PinsOffset());
  for (uint32_t i = 0; i < kPinLanes * kSegments; ++i) EXPECT_EQ(pins[i].load(), 0u);
  EXPECT_EQ(static_cast<int>(attached_[1].back()), 0);
  files_->Sweep(kStart);
  EXPECT_EQ(files_->attached(), 1u);
  // After a restart it is of no use to anybody.
  Restart();
  EXPECT_TRUE(attached_.empty());
  EXPECT_FALSE(Exists(1));
}

TEST(TruncationGuard, FaultsElsewhereStillEndTheProcess) {
  TestDirectory directory;
  std::string path = directory.path() + "/file";
  Child child([&](Child&) {
    ::signal(SIGBUS, SIG_DFL);
    int fd = ::open(path.c_str(), O_RDWR | O_CREAT, 0600);
    if (fd < 0 || ::ftruncate(fd, 8192) != 0) return 1;
    SessionFilesOptions options;
    options.directory = directory.node();
    options.segments = kSegments;
    options.attach = [](uint32_t, ByteSpan) {};
    options.detach = [](uint32_t) {};
    auto files = SessionFiles::Open(std::move(options));
    if (!files.ok() || !(*files)->Create(1, kStart).ok()) return 2;
    void* at = ::mmap(nullptr, 8192, PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED || ::ftruncate(fd, 0) != 0) return 3;
    return static_cast<int>(*static_cast<volatile char*>(at));
  });
  EXPECT_EQ(child.Wait(), -1);
}

}  // namespace
}  // namespace holdfast::shm
