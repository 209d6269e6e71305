// SPDX-License-Identifier: Apache-2.0
// The fence of local reading on the machine itself. local_reading_model_test.cc shows that the
// daemon needs it; Sessions::Pinned cannot be called without it; here it is seen to work.
#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "wire/shm_layout.h"

namespace holdfast {
namespace {

// On the n-th processor that this process may use, so that the scheduler does not put both on one.
void RunOn(int n) {
  cpu_set_t allowed, one;
  CPU_ZERO(&one);
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed) || n-- > 0) continue;
    CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof(one), &one);
    return;
  }
}

// The litmus test "store buffering": each side writes its own word and then reads the other's. With
// a full fence between, at least one side sees the other's write. Without one both miss it now and
// then when they run at the same time on two cores: they meet once a batch, so that most tries
// overlap.
class StoreBuffering {
 public:
  // How often both missed.
  int Run() {
    std::thread other([this] {
      RunOn(1);
      for (int batch = 1; Meet(1, batch); ++batch) Play(1, batch);
    });
    RunOn(0);
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(2);
    int missed = 0;
    for (int batch = 1;; ++batch) {
      // One core only takes turns, and gets through few.
      if (batch == kBatches || std::chrono::steady_clock::now() > end) last_.store(batch);
      if (!Meet(0, batch)) break;
      Play(0, batch);
      while (played_.load(std::memory_order_acquire) < batch) std::this_thread::yield();
      for (size_t i = 0; i < kTries; ++i)
        missed += seen_[0][i] != batch && seen_[1][i] != batch ? 1 : 0;
    }
    other.join();
    return missed;
  }

 private:
  static constexpr int kBatches = 20'000;
  static constexpr size_t kTries = 2'000;
  struct alignas(64) Word {
    std::atomic<int> value{0};
  };

  // False when this batch is the one that is not played any more.
  bool Meet(int me, int batch) {
    arrived_[me].value.store(batch);
    for (int spins = 0; arrived_[1 - me].value.load(std::memory_order_acquire) < batch; ++spins) {
      if (spins > 10'000) std::this_thread::yield();
    }
    return last_.load() != batch;
  }
  void Play(int me, int batch) {
    for (size_t i = 0; i < kTries; ++i) {
      words_[me][i].value.store(batch, std::memory_order_relaxed);
      shm::FullFence();
      seen_[me][i] = words_[1 - me][i].value.load(std::memory_order_relaxed);
    }
    if (me == 1) played_.store(batch, std::memory_order_release);
  }

  std::vector<Word> words_[2] = {std::vector<Word>(kTries), std::vector<Word>(kTries)};
  std::vector<int> seen_[2] = {std::vector<int>(kTries), std::vector<int>(kTries)};
  Word arrived_[2];
  std::atomic<int> played_{0};
  std::atomic<int> last_{0};
};

TEST(FullFence, AStoreBeforeItIsSeenByWhoeverLoadsAfterTheirs) {
  int missed = -1;
  std::thread one([&] { missed = StoreBuffering().Run(); });  // this thread keeps its processors
  one.join();
  EXPECT_EQ(missed, 0);
}

}  // namespace
}  // namespace holdfast
