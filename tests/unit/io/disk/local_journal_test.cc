// SPDX-License-Identifier: Apache-2.0
#include "io/disk/local_journal.h"

#include <gtest/gtest.h>

#include <deque>
#include <thread>

#include "tests/unit/io/disk/log_fixture.h"

namespace holdfast::disk {
namespace {

// A deciding thread that runs what was posted when it is told to.
class Posts {
 public:
  LocalJournal::Post post() {
    return [this](std::function<void()> run) {
      std::lock_guard lock(mutex_);
      runs_.push_back(std::move(run));
    };
  }
  void RunOnce() {
    std::deque<std::function<void()>> runs;
    {
      std::lock_guard lock(mutex_);
      runs.swap(runs_);
    }
    for (auto& run : runs) run();
    if (runs.empty()) std::this_thread::yield();
  }

 private:
  std::mutex mutex_;
  std::deque<std::function<void()>> runs_;
};

TEST(LocalJournal, AcknowledgesInOrderOnTheDecidingThread) {
  FaultyDisk disk(kRing);
  Posts posts;
  Records model;
  {
    LocalJournal journal(MustOpen(&disk), posts.post());
    const std::thread::id me = std::this_thread::get_id();
    bool inside = true;
    for (uint64_t i = 0; i < 100; ++i) {
      const std::string text = TextOf(i, 100);
      journal.Append(AsBytes(text), [&, text](Status status, uint64_t sequence) {
        EXPECT_TRUE(status.ok());
        EXPECT_FALSE(inside) << "called from inside the call";
        EXPECT_EQ(std::this_thread::get_id(), me);
        EXPECT_TRUE(model.empty() || model.rbegin()->first < sequence);
        model[sequence] = text;
      });
    }
    inside = false;
    while (model.size() < 100) posts.RunOnce();
    ASSERT_TRUE(journal.Truncate(model.rbegin()->first).ok());
    model.erase(model.begin(), std::prev(model.end()));
  }
  LocalJournal journal(MustOpen(&disk), posts.post());
  Records replayed;
  bool done = false;
  journal.Replay([&](uint64_t sequence, ByteView record) { replayed[sequence] = AsText(record); },
                 [&](Status status) { done = status.ok(); });
  EXPECT_FALSE(done);
  posts.RunOnce();
  EXPECT_TRUE(done);
  EXPECT_EQ(replayed, model);
}

TEST(LocalJournal, ARefusalComesLikeAnAcknowledgement) {
  FaultyDisk disk(kRing);
  Posts posts;
  LocalJournal journal(MustOpen(&disk), posts.post());
  Status status;
  bool done = false;
  journal.Append(AsBytes(std::string(kMaxRecordBytes + 1, 'x')), [&](Status s, uint64_t) {
    status = s;
    done = true;
  });
  EXPECT_FALSE(done);
  posts.RunOnce();
  EXPECT_TRUE(done);
  EXPECT_EQ(status.code(), Code::kInvalid);
}

TEST(LocalJournal, NothingIsCalledAfterItsEnd) {
  FaultyDisk disk(kRing);
  Posts posts;
  auto journal = std::make_unique<LocalJournal>(MustOpen(&disk), posts.post());
  journal->Append(AsBytes("kept"), [](Status, uint64_t) { FAIL() << "called after its end"; });
  journal.reset();
  posts.RunOnce();
  EXPECT_EQ(ReplayAll(MustOpen(&disk).get()).size(), 1u);
}

}  // namespace
}  // namespace holdfast::disk
