// SPDX-License-Identifier: Apache-2.0
// The fence of local reading on the machine itself. local_reading_model_test.cc shows that the daemon
// needs it; Sessions::Pinned cannot be called without it; here it is seen to work.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "wire/shm_layout.h"

namespace holdfast {
namespace {

// The litmus test "store buffering": each side writes its own word and then reads the other's. With a
// full fence between, at least one side sees the other's write. On two cores and without a fence both
// miss it once in some thousand rounds.
class StoreBuffering {
 public:
  int RoundsInWhichBothMissed() {
    std::thread other([this] {
      for (int round = 1; Play(1, round); ++round) done_.value.store(round);
    });
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(2);
    int missed = 0;
    for (int round = 1;; ++round) {
      // One core only takes turns, and gets through few.
      if (round == kRounds || std::chrono::steady_clock::now() > end) last_.value.store(round);
      if (!Play(0, round)) break;
      WaitFor(done_, round);
      missed += seen_[0] < round && seen_[1] < round ? 1 : 0;
    }
    other.join();
    return missed;
  }

 private:
  static constexpr int kRounds = 400'000;
  struct alignas(128) Word {
    std::atomic<int> value{0};
  };
  static void WaitFor(const Word& word, int round) {
    for (int spins = 0; word.value.load(std::memory_order_acquire) < round; ++spins) {
      if (spins > 10'000) std::this_thread::yield();
    }
  }
  bool Play(int me, int round) {
    arrived_[me].value.store(round);
    WaitFor(arrived_[1 - me], round);
    if (last_.value.load() == round) return false;
    words_[me].value.store(round, std::memory_order_relaxed);
    shm::FullFence();
    seen_[me] = words_[1 - me].value.load(std::memory_order_relaxed);
    return true;
  }

  Word words_[2], arrived_[2], done_, last_;
  int seen_[2] = {0, 0};
};

TEST(FullFence, AStoreBeforeItIsSeenByWhoeverLoadsAfterTheirs) {
  EXPECT_EQ(StoreBuffering().RoundsInWhichBothMissed(), 0);
}

}  // namespace
}  // namespace holdfast
