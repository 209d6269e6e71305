// SPDX-License-Identifier: Apache-2.0
#include "io/storage/remote_disk.h"

#include "base/random.h"
#include "tests/unit/io/storage/fixture.h"

namespace holdfast::storage {
namespace {

class RemoteDiskTest : public StorageTest {
 protected:
  std::unique_ptr<RemoteDisk> MustOpen(const RemoteOptions& options) {
    Status opened;
    auto disk = NewDisk(options, &opened);
    EXPECT_TRUE(opened.ok()) << opened.ToString();
    return disk;
  }
  Status Write(Disk* disk, uint32_t segment, uint64_t offset, std::vector<ByteView> parts) {
    std::optional<Status> ended;
    disk->Write(segment, offset, std::move(parts), [&](const Status& status) { ended = status; });
    EXPECT_FALSE(ended) << "called from inside the call";
    Until([&] { return ended.has_value(); });
    return *ended;
  }
  Status Sync(Disk* disk, uint32_t segment) {
    std::optional<Status> ended;
    disk->Sync(segment, [&](const Status& status) { ended = status; });
    Until([&] { return ended.has_value(); });
    return *ended;
  }
};

TEST_F(RemoteDiskTest, ReadsWhatWasWritten) {
  ServerThread server(ServerOptions());
  auto disk = MustOpen(ClientOptions(server.endpoint()));
  EXPECT_EQ(disk->segments(), 8u);
  const std::string a = TextOf(1, 1'500'000), b = TextOf(2, 1'700'001), c = TextOf(3, 10);
  ASSERT_TRUE(Write(disk.get(), 2, 8192, {AsBytes(a), AsBytes(b), {}, AsBytes(c)}).ok());
  ASSERT_TRUE(Sync(disk.get(), 2).ok());
  const std::string all = a + b + c;
  for (const auto& [at, bytes] : std::vector<std::pair<size_t, size_t>>{
           {0, all.size()}, {0, 0}, {17, 100}, {1'499'990, 20}, {100, 1'048'576}, {3, 2'200'000}}) {
    auto read = Read(disk.get(), 2, 8192 + at, bytes);
    ASSERT_TRUE(read.ok());
    EXPECT_EQ(*read, all.substr(at, bytes));
  }
  // What was left of the last block.
  EXPECT_EQ(*Read(disk.get(), 2, 8192 + all.size(), 5), std::string(5, '\0'));
  disk.reset();
  server.Stop();
  server.Start();
  disk = MustOpen(ClientOptions(server.endpoint()));
  EXPECT_EQ(*Read(disk.get(), 2, 8192, all.size()), all);
}

TEST_F(RemoteDiskTest, ManyAtATime) {
  ServerThread server(ServerOptions());
  auto disk = MustOpen(ClientOptions(server.endpoint()));
  constexpr size_t kPieces = 500, kBytes = 20'000, kApart = 20'480;
  std::vector<std::string> texts;
  for (size_t i = 0; i < kPieces; ++i) texts.push_back(TextOf(i, kBytes));
  size_t done = 0;
  for (size_t i = 0; i < kPieces; ++i) {
    disk->Write(i % 8, i / 8 * kApart, {AsBytes(texts[i])}, [&](const Status& status) {
      EXPECT_TRUE(status.ok());
      ++done;
    });
  }
  Until([&] { return done == kPieces; });
  std::vector<Buffer> into;
  for (size_t i = 0; i < kPieces; ++i) into.emplace_back(kBytes);
  for (size_t i = 0; i < kPieces; ++i) {
    disk->Read(i % 8, i / 8 * kApart, into[i].span(), [&, i](const Status& status, uint64_t hash) {
      EXPECT_TRUE(status.ok());
      EXPECT_EQ(AsText(into[i].view()), texts[i]);
      EXPECT_EQ(hash, Hash64(AsBytes(texts[i])));
      ++done;
    });
  }
  Until([&] { return done == 2 * kPieces; });
}

// Cut anywhere: what was answered is so, whatever had to be asked twice.
TEST_F(RemoteDiskTest, BrokenConnectionsAreNotSeen) {
  ServerThread server(ServerOptions());
  Relay relay(server.endpoint());
  auto disk = MustOpen(ClientOptions(relay.endpoint()));
  Random random(3);
  for (uint64_t round = 0; round < 20; ++round) {
    relay.CutAfter(static_cast<int64_t>(random.Below(6'000'000)));
    const std::string text = TextOf(round, 3'000'000);
    ASSERT_TRUE(Write(disk.get(), round % 8, 4096, {AsBytes(text)}).ok());
    ASSERT_TRUE(Sync(disk.get(), round % 8).ok());
    auto read = Read(disk.get(), round % 8, 4096, text.size());
    ASSERT_TRUE(read.ok());
    ASSERT_EQ(*read, text);
  }
  EXPECT_GT(relay.cuts(), 5);
}

TEST_F(RemoteDiskTest, ASyncThatSpansARestartFails) {
  ServerThread server(ServerOptions());
  auto disk = MustOpen(ClientOptions(server.endpoint()));
  const std::string text = TextOf(1, 5000);
  ASSERT_TRUE(Write(disk.get(), 1, 0, {AsBytes(text)}).ok());
  ASSERT_TRUE(Write(disk.get(), 2, 0, {AsBytes(text)}).ok());
  ASSERT_TRUE(Sync(disk.get(), 2).ok());
  server.Stop();
  server.Start();
  EXPECT_EQ(Sync(disk.get(), 1).code(), Code::kUnavailable);
  EXPECT_TRUE(Sync(disk.get(), 2).ok());
  ASSERT_TRUE(Write(disk.get(), 1, 0, {AsBytes(text)}).ok());
  EXPECT_TRUE(Sync(disk.get(), 1).ok());
  // What a segment had before its first block was written anew need not be synced: packs never are.
  ASSERT_TRUE(Write(disk.get(), 3, disk::kBlock, {AsBytes(text)}).ok());
  server.Stop();
  server.Start();
  ASSERT_TRUE(Write(disk.get(), 3, 0, {AsBytes(text)}).ok());
  EXPECT_TRUE(Sync(disk.get(), 3).ok());
}

TEST_F(RemoteDiskTest, OneThatIsSlowOrGoneIsNotWaitedFor) {
  ServerThread server(ServerOptions());
  Relay relay(server.endpoint());
  RemoteOptions options = ClientOptions(relay.endpoint());
  options.patience = 500ms;
  auto disk = MustOpen(options);
  const std::string text = TextOf(1, 5000);
  ASSERT_TRUE(Write(disk.get(), 1, 0, {AsBytes(text)}).ok());
  relay.Stall(true);
  EXPECT_EQ(Read(disk.get(), 1, 0, 5000).status().code(), Code::kTimeout);
  EXPECT_EQ(Write(disk.get(), 1, 8192, {AsBytes(text)}).code(), Code::kTimeout);
  relay.Stall(false);
  Until([&] { return Read(disk.get(), 1, 0, 5000).ok(); });
  EXPECT_EQ(*Read(disk.get(), 1, 0, 5000), text);
  server.Stop();
  EXPECT_EQ(Read(disk.get(), 1, 0, 5000).status().code(), Code::kTimeout);
  server.Start();
  Until([&] { return Read(disk.get(), 1, 0, 5000).ok(); });
  EXPECT_EQ(*Read(disk.get(), 1, 0, 5000), text);
}

TEST_F(RemoteDiskTest, TheNewerProcessFencesTheOlder) {
  ServerThread server(ServerOptions());
  auto older = MustOpen(ClientOptions(server.endpoint()));
  auto newer = MustOpen(ClientOptions(server.endpoint()));
  EXPECT_EQ(Write(older.get(), 1, 0, {AsBytes("late")}).code(), Code::kDenied);
  EXPECT_TRUE(Write(newer.get(), 1, 0, {AsBytes("right")}).ok());
  EXPECT_EQ(*Read(newer.get(), 1, 0, 5), "right");
}

TEST_F(RemoteDiskTest, ADiskThatFailsSaysSo) {
  ServerThread server(ServerOptions());
  auto disk = MustOpen(ClientOptions(server.endpoint()));
  std::filesystem::resize_file(directory_ + "/storage/segments/node-3/files/000005.segment", 4096);
  EXPECT_TRUE(Read(disk.get(), 5, 0, 100).ok());
  EXPECT_EQ(Read(disk.get(), 5, 8192, 100).status().code(), Code::kCorrupt);
  EXPECT_EQ(Read(disk.get(), 5, 0, 3'000'000).status().code(), Code::kCorrupt);
  EXPECT_TRUE(Read(disk.get(), 4, 8192, 100).ok());
}

TEST_F(RemoteDiskTest, SizesThatCannotBeAreRefused) {
  StorageServerOptions options = ServerOptions();
  options.stores->limit = 40 * kMiB;
  ServerThread server(options);
  Status opened;
  NewDisk(ClientOptions(server.endpoint()), &opened, 11);
  EXPECT_EQ(opened.code(), Code::kNoSpace) << opened.ToString();
  NewDisk(ClientOptions(server.endpoint()), &opened, 10);
  EXPECT_TRUE(opened.ok()) << opened.ToString();
  // Fewer, and more again.
  NewDisk(ClientOptions(server.endpoint()), &opened, 3);
  EXPECT_TRUE(opened.ok()) << opened.ToString();
  NewDisk(ClientOptions(server.endpoint()), &opened, 9);
  EXPECT_TRUE(opened.ok()) << opened.ToString();
}

}  // namespace
}  // namespace holdfast::storage
