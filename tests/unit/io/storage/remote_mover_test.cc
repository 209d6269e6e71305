// SPDX-License-Identifier: Apache-2.0
// Records that a worker moves between the segments of a storage server: over connections that are slow,
// gone and back, and with keys that are not valid any more.
#include "io/storage/remote_mover.h"

#include "base/random.h"
#include "tests/unit/io/storage/fixture.h"
#include "tests/unit/wire/records.h"
#include "wire/record_mover.h"

namespace holdfast::storage {
namespace {

// A server that keeps nothing.
StorageServerOptions WorkerOptions() {
  return {.endpoint = "tcp://127.0.0.1:0", .cluster = "test"};
}

class RemoteMoverTest : public StorageTest {
 protected:
  RemoteMoverTest() : storage_(ServerOptions()), worker_(WorkerOptions()) {
    Status opened;
    disk_ = NewDisk(ClientOptions(storage_.endpoint()), &opened);
    EXPECT_TRUE(opened.ok()) << opened.ToString();
    uint64_t offset = disk::kFirstRecord;
    std::string all;
    for (uint64_t n = 0; n < 30; ++n) {
      all += test::RecordOf(n, 1'000 + 3'000 * n, offset, &entries_.emplace_back());
      offset = entries_.back().end();
    }
    EXPECT_TRUE(Write(disk_.get(), 1, disk::kFirstRecord, all).ok());
  }
  ~RemoteMoverTest() override {
    mover_.reset();
    disk_.reset();
  }

  Status Write(Disk* disk, uint32_t segment, uint64_t offset, const std::string& text) {
    std::optional<Status> ended;
    disk->Write(segment, offset, {AsBytes(text)}, [&](const Status& status) { ended = status; });
    Until([&] { return ended.has_value(); });
    return *ended;
  }
  // `at` the storage server, or a worker.
  void Open(const std::string& at, Duration patience = 20s) {
    RemoteOptions options = ClientOptions(at);
    options.patience = patience;
    mover_ = std::make_unique<RemoteMover>(loop_.get(), options,
                                           at == storage_.endpoint() ? std::string() : segments_at_,
                                           loop_.get(), disk_.get(), Post());
    mover_->Start();
  }
  SegmentMove MoveOf(std::vector<size_t> chosen, uint64_t offset = 8192) const {
    SegmentMove move{.from = 1, .to = 2, .offset = offset};
    for (const size_t n : chosen) move.records.push_back(entries_[n]);
    return move;
  }
  Moved Move(const SegmentMove& move) {
    std::optional<Moved> ended;
    mover_->Move(move, [&](Moved moved) { ended = std::move(moved); });
    EXPECT_FALSE(ended.has_value()) << "called from inside the call";
    Until([&] { return ended.has_value(); });
    return *std::move(ended);
  }
  // When it is connected.
  Moved MoveAtLast(const SegmentMove& move) {
    Moved moved;
    Until([&] {
      moved = Move(move);
      return moved.status.code() != Code::kUnavailable;
    });
    return moved;
  }
  bool LieThere(const SegmentMove& move) {
    uint64_t at = move.offset;
    for (const disk::Entry& record : move.records) {
      disk::Entry there = record;
      there.offset = at;
      auto bytes = Read(disk_.get(), move.to, at, record.end() - record.offset);
      at += record.end() - record.offset;
      if (!bytes.ok() || !IsRecord(AsBytes(*bytes), there, kSegmentBytes)) return false;
    }
    return true;
  }

  ServerThread storage_, worker_;
  std::string segments_at_ = storage_.endpoint();  // as the worker is told
  std::unique_ptr<RemoteDisk> disk_;
  std::unique_ptr<RemoteMover> mover_;
  std::vector<disk::Entry> entries_;
};

TEST_F(RemoteMoverTest, TheStorageServerMovesWhatItHas) {
  Open(storage_.endpoint());
  const SegmentMove move = MoveOf({0, 3, 4, 5, 20, 29});
  const Moved moved = MoveAtLast(move);
  ASSERT_TRUE(moved.status.ok()) << moved.status.ToString();
  EXPECT_EQ(moved.right.Count(), 6u);
  EXPECT_TRUE(LieThere(move));
}

TEST_F(RemoteMoverTest, AWorkerMovesWhatIsElsewhere) {
  Open(worker_.endpoint());
  const SegmentMove move = MoveOf({0, 3, 4, 5, 20, 29});
  const Moved moved = MoveAtLast(move);
  ASSERT_TRUE(moved.status.ok()) << moved.status.ToString();
  EXPECT_EQ(moved.right.Count(), 6u);
  EXPECT_TRUE(LieThere(move));
}

TEST_F(RemoteMoverTest, WhatIsDamagedIsSaid) {
  ASSERT_TRUE(Write(disk_.get(), 1, entries_[20].payload_offset() / 4096 * 4096 + 4096,
                    std::string(4096, 'x'))
                  .ok());
  for (const std::string& at : {storage_.endpoint(), worker_.endpoint()}) {
    Open(at);
    const Moved moved = MoveAtLast(MoveOf({19, 20, 21}));
    ASSERT_TRUE(moved.status.ok());
    EXPECT_TRUE(moved.right.Get(0) && !moved.right.Get(1) && moved.right.Get(2));
  }
}

TEST_F(RemoteMoverTest, ManyAtATime) {
  Open(worker_.endpoint());
  ASSERT_TRUE(MoveAtLast(MoveOf({0})).status.ok());
  std::vector<SegmentMove> moves;
  for (size_t i = 0; i < 25; ++i) {
    moves.push_back(MoveOf({i, i + 1, i + 3}, 4096 + i / 5 * 512 * kKiB));
    moves.back().to = static_cast<uint32_t>(2 + i % 5);
  }
  size_t done = 0;
  for (const SegmentMove& move : moves) {
    mover_->Move(move, [&](const Moved& moved) {
      EXPECT_TRUE(moved.status.ok()) << moved.status.ToString();
      ++done;
    });
  }
  Until([&] { return done == moves.size(); });
  for (const SegmentMove& move : moves) EXPECT_TRUE(LieThere(move));
}

// Nobody waits for a worker that is not there.
TEST_F(RemoteMoverTest, AWorkerThatIsGoneAndBack) {
  worker_.Stop();
  Open(worker_.endpoint());
  EXPECT_EQ(Move(MoveOf({1})).status.code(), Code::kUnavailable);
  worker_.Start();
  EXPECT_TRUE(MoveAtLast(MoveOf({1})).status.ok());
  worker_.Stop();
  Until([&] { return Move(MoveOf({1})).status.code() == Code::kUnavailable; });
  worker_.Start();
  EXPECT_TRUE(MoveAtLast(MoveOf({1})).status.ok());
}

// The worker's connections break anywhere, on either side of it: a move that is done is right.
TEST_F(RemoteMoverTest, BrokenConnections) {
  Relay to_storage(storage_.endpoint()), to_worker(worker_.endpoint());
  segments_at_ = to_storage.endpoint();
  Open(to_worker.endpoint());
  Random random(7);
  int right = 0;
  for (size_t round = 0; round < 60; ++round) {
    Relay& relay = round % 2 == 0 ? to_storage : to_worker;
    relay.CutAfter(static_cast<int64_t>(random.Below(400'000)));
    const SegmentMove move =
        MoveOf({round % 28, round % 28 + 1, 29}, 4096 + round % 7 * 512 * kKiB);
    const Moved moved = Move(move);
    if (!moved.status.ok()) continue;
    ASSERT_EQ(moved.right.Count(), 3u);
    ASSERT_TRUE(LieThere(move));
    ++right;
  }
  EXPECT_GT(to_storage.cuts() + to_worker.cuts(), 5);
  EXPECT_TRUE(MoveAtLast(MoveOf({5})).status.ok());
  EXPECT_GT(right, 0);
}

// A worker that stands still in the middle of a move, and goes on when its place has other bytes.
TEST_F(RemoteMoverTest, AWorkerThatIsLateWritesNowhere) {
  Relay to_storage(storage_.endpoint());
  segments_at_ = to_storage.endpoint();
  Open(worker_.endpoint(), 300ms);
  ASSERT_TRUE(MoveAtLast(MoveOf({0})).status.ok());
  for (size_t round = 0; round < 10; ++round) {
    to_storage.Stall(true);
    const SegmentMove move = MoveOf({5, 6, 7, 29}, 64 * kKiB);
    EXPECT_EQ(Move(move).status.code(), Code::kTimeout);
    const std::string now = TextOf(round, 300'000);
    ASSERT_TRUE(Write(disk_.get(), 2, 64 * kKiB, now).ok());
    to_storage.Stall(false);
    // What the worker had begun ends before the next that it does.
    Until([&] { return Move(MoveOf({1})).status.ok(); });
    EXPECT_EQ(*Read(disk_.get(), 2, 64 * kKiB, now.size()), now);
  }
}

TEST_F(RemoteMoverTest, AStorageServerThatIsGoneAndBack) {
  Open(worker_.endpoint());
  ASSERT_TRUE(MoveAtLast(MoveOf({0})).status.ok());
  storage_.Stop();
  std::optional<Moved> ended;
  mover_->Move(MoveOf({1}), [&](Moved moved) { ended = std::move(moved); });
  storage_.Start();
  Until([&] { return ended.has_value(); });
  Until([&] { return Move(MoveOf({1})).status.ok(); });
  EXPECT_TRUE(LieThere(MoveOf({1})));
}

// What a worker wrote is not synced any more than what the node did.
TEST_F(RemoteMoverTest, ASyncThatSpansARestartFails) {
  Open(storage_.endpoint());
  std::optional<Status> synced;
  const auto sync = [&] {
    synced.reset();
    disk_->Sync(2, [&](const Status& status) { synced = status; });
    Until([&] { return synced.has_value(); });
    return synced->code();
  };
  ASSERT_TRUE(MoveAtLast(MoveOf({0})).status.ok());
  EXPECT_EQ(sync(), Code::kOk);
  ASSERT_TRUE(Move(MoveOf({0})).status.ok());
  storage_.Stop();
  storage_.Start();
  EXPECT_EQ(sync(), Code::kUnavailable);
}

TEST_F(RemoteMoverTest, PermitsAreForTheirPlaceAndUntilTheirEnd) {
  RemoteOptions options = ClientOptions(storage_.endpoint());
  options.permitted = true;
  Status opened;
  auto beside = NewDisk(options, &opened);
  ASSERT_TRUE(opened.ok()) << opened.ToString();
  bool over = false;
  Code ended = Code::kOk;
  const auto end = [&](const Status& status) {
    ended = status.code();
    over = true;
  };
  const auto code = [&] {
    Until([&] { return over; });
    over = false;
    return ended;
  };
  const std::string text = TextOf(1, 10'000);
  const auto write = [&](uint64_t key, uint32_t segment, uint64_t offset) {
    beside->WritePermitted(key, segment, offset, {AsBytes(text)}, end);
    return code();
  };
  EXPECT_EQ(write(5, 2, 8192), Code::kDenied);
  disk_->Permit(5, 2, 8192, 10'000, end);
  EXPECT_EQ(code(), Code::kOk);
  EXPECT_EQ(write(5, 2, 8192), Code::kOk);
  EXPECT_EQ(*Read(disk_.get(), 2, 8192, text.size()), text);
  EXPECT_EQ(write(0, 2, 8192), Code::kDenied);
  EXPECT_EQ(write(6, 2, 8192), Code::kDenied);
  EXPECT_EQ(write(5, 3, 8192), Code::kDenied);
  EXPECT_EQ(write(5, 2, 4096), Code::kDenied);
  EXPECT_EQ(write(5, 2, 12'288), Code::kDenied);
  disk_->Permit(5, 2, 8192, 10'000, end);
  EXPECT_EQ(code(), Code::kInvalid);  // the key is taken
  disk_->Revoke(5, end);
  EXPECT_EQ(code(), Code::kOk);
  EXPECT_EQ(write(5, 2, 8192), Code::kDenied);
  // A node that is started anew has given none.
  disk_->Permit(8, 2, 8192, 10'000, end);
  EXPECT_EQ(code(), Code::kOk);
  auto newer = NewDisk(ClientOptions(storage_.endpoint()), &opened);
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(write(8, 2, 8192), Code::kDenied);
}

TEST_F(RemoteMoverTest, MoversOfOthersAreRefused) {
  RemoteOptions options = ClientOptions(storage_.endpoint());
  options.cluster = "other";
  mover_ =
      std::make_unique<RemoteMover>(loop_.get(), options, "", loop_.get(), disk_.get(), Post());
  mover_->Start();
  const Time end = loop_->Now() + 300ms;
  Until([&] { return loop_->Now() > end; });
  EXPECT_EQ(Move(MoveOf({1})).status.code(), Code::kUnavailable);
  options = ClientOptions(storage_.endpoint());
  options.node = 4;
  mover_ =
      std::make_unique<RemoteMover>(loop_.get(), options, "", loop_.get(), disk_.get(), Post());
  mover_->Start();
  Until([&] { return loop_->Now() > end + 300ms; });
  EXPECT_EQ(Move(MoveOf({1})).status.code(), Code::kUnavailable);
}

}  // namespace
}  // namespace holdfast::storage
