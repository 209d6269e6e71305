// SPDX-License-Identifier: Apache-2.0
#include "io/storage/remote_journal.h"

#include <map>

#include "base/random.h"
#include "tests/unit/io/storage/fixture.h"

namespace holdfast::storage {
namespace {

using Records = std::map<uint64_t, std::string>;

class RemoteJournalTest : public StorageTest {
 protected:
  std::unique_ptr<RemoteJournal> MustOpen(const RemoteOptions& options) {
    Status opened;
    auto journal = NewJournal(options, &opened);
    EXPECT_TRUE(opened.ok()) << opened.ToString();
    return journal;
  }
  Records ReplayAll(RemoteJournal* journal) {
    Records records;
    bool done = false;
    journal->Replay(
        [&](uint64_t number, ByteView record) {
          EXPECT_TRUE(records.empty() || records.rbegin()->first < number);
          records[number] = AsText(record);
        },
        [&](const Status& status) {
          EXPECT_TRUE(status.ok()) << status.ToString();
          done = true;
        });
    Until([&] { return done; });
    return records;
  }
  // Counts up as they are acknowledged, into `acknowledged_`.
  void Append(RemoteJournal* journal, const std::string& text) {
    ++appended_;
    journal->Append(AsBytes(text), [this, text](const Status& status, uint64_t number) {
      ++answered_;
      statuses_.push_back(status);
      if (!status.ok()) return;
      EXPECT_TRUE(acknowledged_.empty() || acknowledged_.rbegin()->first < number);
      acknowledged_[number] = text;
    });
  }
  void UntilAnswered() {
    Until([this] { return answered_ == appended_; });
  }

  Records acknowledged_;
  std::vector<Status> statuses_;
  uint64_t appended_ = 0;
  uint64_t answered_ = 0;
};

TEST_F(RemoteJournalTest, KeepsWhatItAcknowledged) {
  ServerThread server(ServerOptions());
  auto journal = MustOpen(ClientOptions(server.endpoint()));
  EXPECT_TRUE(ReplayAll(journal.get()).empty());
  for (uint64_t i = 0; i < 2000; ++i) Append(journal.get(), TextOf(i, i % 700));
  Append(journal.get(), TextOf(9, kMaxRecordBytes));
  EXPECT_EQ(answered_, 0u) << "called from inside the call";
  UntilAnswered();
  EXPECT_EQ(acknowledged_.size(), 2001u);
  journal.reset();
  server.Stop();
  server.Start();
  journal = MustOpen(ClientOptions(server.endpoint()));
  EXPECT_TRUE(ReplayAll(journal.get()) == acknowledged_);
  Append(journal.get(), "one more");
  UntilAnswered();
  EXPECT_EQ(acknowledged_.size(), 2002u);
}

TEST_F(RemoteJournalTest, TruncationIsRememberedAndRoomComesBack) {
  ServerThread server(ServerOptions());
  auto journal = MustOpen(ClientOptions(server.endpoint()));
  ReplayAll(journal.get());
  EXPECT_EQ(journal->Truncate(2).code(), Code::kInvalid);
  for (uint64_t i = 0; i < 40; ++i) {  // five times what it has room for
    for (uint64_t j = 0; j < 10; ++j) Append(journal.get(), TextOf(i * 10 + j, 100'000));
    UntilAnswered();
    const uint64_t before = acknowledged_.rbegin()->first - 3;
    ASSERT_TRUE(journal->Truncate(before).ok());
    acknowledged_.erase(acknowledged_.begin(), acknowledged_.find(before));
  }
  ASSERT_EQ(statuses_.back().ToString(), "ok");
  Append(journal.get(), "last");  // is durable after the truncation
  UntilAnswered();
  journal.reset();
  server.Stop();
  server.Start();
  journal = MustOpen(ClientOptions(server.endpoint()));
  EXPECT_TRUE(ReplayAll(journal.get()) == acknowledged_);
}

TEST_F(RemoteJournalTest, AnEmptiedOneGoesOnCounting) {
  ServerThread server(ServerOptions());
  auto journal = MustOpen(ClientOptions(server.endpoint()));
  ReplayAll(journal.get());
  for (int i = 0; i < 5; ++i) Append(journal.get(), "gone");
  UntilAnswered();
  ASSERT_TRUE(journal->Truncate(6).code() == Code::kOk);
  Append(journal.get(), "six");
  UntilAnswered();
  ASSERT_TRUE(journal->Truncate(7).ok());
  Append(journal.get(), "seven");
  UntilAnswered();
  journal.reset();
  server.Stop();
  server.Start();
  journal = MustOpen(ClientOptions(server.endpoint()));
  EXPECT_EQ(ReplayAll(journal.get()), (Records{{7, "seven"}}));
}

TEST_F(RemoteJournalTest, AFullOneRefusesAndGoesOn) {
  ServerThread server(ServerOptions());
  auto journal = MustOpen(ClientOptions(server.endpoint()));
  ReplayAll(journal.get());
  for (uint64_t i = 0; i < 120; ++i) Append(journal.get(), TextOf(i, 100'000));
  UntilAnswered();
  const size_t taken = acknowledged_.size();
  EXPECT_LT(taken, 90u);
  EXPECT_GT(taken, 60u);
  for (const Status& status : statuses_)
    ASSERT_TRUE(status.ok() || status.code() == Code::kNoSpace) << status.ToString();
  ASSERT_TRUE(journal->Truncate(acknowledged_.rbegin()->first).ok());
  // The server may still be at it.
  for (uint64_t i = 0; acknowledged_.size() == taken; ++i) {
    Append(journal.get(), TextOf(i, 100'000));
    UntilAnswered();
  }
  acknowledged_.erase(acknowledged_.begin(), std::prev(std::prev(acknowledged_.end())));
  journal.reset();
  journal = MustOpen(ClientOptions(server.endpoint()));
  EXPECT_TRUE(ReplayAll(journal.get()) == acknowledged_);
}

TEST_F(RemoteJournalTest, RefusesWhatIsTooLongOrTooMuch) {
  ServerThread server(ServerOptions());
  Relay relay(server.endpoint());
  auto journal = MustOpen(ClientOptions(relay.endpoint()));
  ReplayAll(journal.get());
  Append(journal.get(), std::string(kMaxRecordBytes + 1, 'x'));
  UntilAnswered();
  EXPECT_EQ(statuses_.back().code(), Code::kInvalid);
  relay.Stall(true);
  for (uint64_t i = 0; i < 20; ++i) Append(journal.get(), TextOf(i, kMaxRecordBytes));
  Until([this] { return answered_ > 1; });
  EXPECT_EQ(statuses_.back().code(), Code::kUnavailable);
  relay.Stall(false);
}

// Cut anywhere, also within frames and answers, and the server started anew now and then.
TEST_F(RemoteJournalTest, BrokenConnectionsLoseAndDoubleNothing) {
  ServerThread server(ServerOptions());
  Relay relay(server.endpoint());
  auto journal = MustOpen(ClientOptions(relay.endpoint()));
  ReplayAll(journal.get());
  Random random(7);
  for (uint64_t round = 0; round < 30; ++round) {
    relay.CutAfter(static_cast<int64_t>(random.Below(200'000)));
    for (uint64_t i = 0; i < 100; ++i) {
      Append(journal.get(), TextOf(round * 100 + i, random.Below(3000)));
      if (i % 10 == 0) Until([] { return true; });
    }
    if (round % 10 == 9) {
      server.Stop();
      server.Start();
    }
    UntilAnswered();
    if (round % 5 == 0) {
      const uint64_t before = acknowledged_.rbegin()->first - 20;
      ASSERT_TRUE(journal->Truncate(before).ok());
      acknowledged_.erase(acknowledged_.begin(), acknowledged_.find(before));
    }
  }
  for (const Status& status : statuses_) ASSERT_TRUE(status.ok()) << status.ToString();
  EXPECT_GT(relay.cuts(), 10);
  journal.reset();
  journal = MustOpen(ClientOptions(server.endpoint()));
  EXPECT_TRUE(ReplayAll(journal.get()) == acknowledged_);
  EXPECT_EQ(acknowledged_.rbegin()->first, appended_);
}

TEST_F(RemoteJournalTest, AReplayGoesOnAfterACut) {
  ServerThread server(ServerOptions());
  Relay relay(server.endpoint());
  auto journal = MustOpen(ClientOptions(relay.endpoint()));
  ReplayAll(journal.get());
  for (uint64_t i = 0; i < 50; ++i) Append(journal.get(), TextOf(i, 100'000));
  UntilAnswered();
  journal.reset();
  journal = MustOpen(ClientOptions(relay.endpoint()));
  relay.CutAfter(2'500'000);
  EXPECT_TRUE(ReplayAll(journal.get()) == acknowledged_);
  EXPECT_EQ(relay.cuts(), 1);
}

TEST_F(RemoteJournalTest, WithoutPatienceItFailsForGood) {
  ServerThread server(ServerOptions());
  RemoteOptions options = ClientOptions(server.endpoint());
  options.patience = 300ms;
  auto journal = MustOpen(options);
  ReplayAll(journal.get());
  Append(journal.get(), "there");
  UntilAnswered();
  server.Stop();
  Append(journal.get(), "not known");
  UntilAnswered();
  EXPECT_EQ(statuses_.back().code(), Code::kTimeout);
  server.Start();
  Append(journal.get(), "refused");
  UntilAnswered();
  EXPECT_EQ(statuses_.back().code(), Code::kTimeout);
  EXPECT_EQ(acknowledged_.size(), 1u);
}

TEST_F(RemoteJournalTest, TheNewerProcessFencesTheOlder) {
  ServerThread server(ServerOptions());
  auto older = MustOpen(ClientOptions(server.endpoint()));
  ReplayAll(older.get());
  Append(older.get(), "by the older");
  UntilAnswered();
  auto newer = MustOpen(ClientOptions(server.endpoint()));
  EXPECT_TRUE(ReplayAll(newer.get()) == acknowledged_);
  Append(older.get(), "too late");
  UntilAnswered();
  EXPECT_EQ(statuses_.back().code(), Code::kDenied) << statuses_.back().ToString();
  Append(newer.get(), "by the newer");
  UntilAnswered();
  EXPECT_TRUE(statuses_.back().ok());
  // Also by a server that has forgotten everything but its disk.
  server.Stop();
  server.Start();
  Append(newer.get(), "still by the newer");
  UntilAnswered();
  EXPECT_TRUE(statuses_.back().ok());
  Append(older.get(), "much too late");
  UntilAnswered();
  EXPECT_EQ(statuses_.back().code(), Code::kDenied);
  newer.reset();
  newer = MustOpen(ClientOptions(server.endpoint()));
  EXPECT_TRUE(ReplayAll(newer.get()) == acknowledged_);
}

TEST_F(RemoteJournalTest, OthersAreRefused) {
  ServerThread server(ServerOptions());
  Status opened;
  ASSERT_TRUE(MustOpen(ClientOptions(server.endpoint())));
  RemoteOptions other = ClientOptions(server.endpoint());
  other.node = 4;
  NewJournal(other, &opened);
  EXPECT_EQ(opened.code(), Code::kDenied) << opened.ToString();
  RemoteOptions foreign = ClientOptions(server.endpoint());
  foreign.cluster = "another";
  NewJournal(foreign, &opened);
  EXPECT_EQ(opened.code(), Code::kDenied) << opened.ToString();
  RemoteOptions traveller = ClientOptions(server.endpoint());
  traveller.store = "../node-3";
  NewJournal(traveller, &opened);
  EXPECT_EQ(opened.code(), Code::kInvalid) << opened.ToString();
  RemoteOptions large = ClientOptions(server.endpoint());
  large.store = "large";
  NewJournal(large, &opened, 2 * kGiB);
  EXPECT_EQ(opened.code(), Code::kNoSpace) << opened.ToString();
  RemoteOptions absent = ClientOptions("tcp://127.0.0.1:1");
  absent.opening = 200ms;
  NewJournal(absent, &opened);
  EXPECT_EQ(opened.code(), Code::kTimeout) << opened.ToString();
}

TEST_F(RemoteJournalTest, ADamagedOneIsNotOpened) {
  ServerThread server(ServerOptions());
  auto journal = MustOpen(ClientOptions(server.endpoint()));
  ReplayAll(journal.get());
  for (uint64_t i = 0; i < 20; ++i) {
    Append(journal.get(), TextOf(i, 50'000));
    UntilAnswered();
  }
  journal.reset();
  server.Stop();
  const std::string path = directory_ + "/storage/journals/node-3/journal";
  FILE* file = std::fopen(path.c_str(), "r+b");
  ASSERT_NE(file, nullptr);
  std::fseek(file, 300'000, SEEK_SET);
  std::fputs("damage", file);
  std::fclose(file);
  server.Start();
  Status opened;
  NewJournal(ClientOptions(server.endpoint()), &opened);
  EXPECT_EQ(opened.code(), Code::kCorrupt) << opened.ToString();
}

}  // namespace
}  // namespace holdfast::storage
