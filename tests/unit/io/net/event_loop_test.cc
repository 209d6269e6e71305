// SPDX-License-Identifier: Apache-2.0
#include "io/net/event_loop.h"

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <atomic>

#include <csignal>
#include <thread>

#include "tests/unit/io/net/run_until.h"

namespace holdfast::net {
namespace {

std::unique_ptr<EventLoop> NewLoop() {
  auto loop = EventLoop::Create();
  HF_CHECK(loop.ok());
  return std::move(*loop);
}

struct Pair {
  Pair() { HF_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0); }
  ~Pair() {
    close(fds[0]);
    close(fds[1]);
  }
  void Write() { HF_CHECK(write(fds[1], "x", 1) == 1); }
  void Read() {
    char c;
    HF_CHECK(read(fds[0], &c, 1) == 1);
  }
  int fds[2];
};

TEST(EventLoop, TimersRunInTheOrderOfTimeAndThenOfTheCalls) {
  auto loop = NewLoop();
  std::vector<int> order;
  Time start =
      loop->Now() + 200ms;  // all of them are made before the first is due, also on a busy machine
  loop->At(start + 3ms, [&] { order.push_back(4), loop->Stop(); });
  loop->At(start + 1ms, [&] { order.push_back(1); });
  loop->At(start + 2ms, [&] { order.push_back(2); });
  loop->At(start + 2ms, [&] { order.push_back(3); });
  loop->Run();
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3, 4}));
  EXPECT_GE(loop->Now(), start + 3ms);
}

TEST(EventLoop, APassedTimeComesAfterWhatIsQueued) {
  auto loop = NewLoop();
  std::vector<int> order;
  loop->At(loop->Now(), [&] { order.push_back(1); });
  loop->At({0}, [&] { order.push_back(2); });
  loop->At({-5}, [&] { order.push_back(3), loop->Stop(); });
  loop->Run();
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
}

// Work in slices that are always due would keep input waiting for ever, if the loop did not look.
TEST(EventLoop, EndlessSlicesDoNotStarveInput) {
  auto loop = NewLoop();
  Pair pair;
  int slices = 0;
  std::function<void()> slice = [&] {
    if (++slices == 3) pair.Write();
    HF_CHECK(slices < 1'000'000);
    loop->At({0}, [&] { slice(); });
  };
  slice();
  HF_CHECK(loop->Watch(pair.fds[0], EPOLLIN, [&](uint32_t) { loop->Stop(); }).ok());
  loop->Run();
  EXPECT_GE(slices, 3);
}

TEST(EventLoop, EndlessPostsDoNotStarveTimers) {
  auto loop = NewLoop();
  int posts = 0;
  std::function<void()> again = [&] {
    HF_CHECK(++posts < 100'000'000);
    loop->Post([&] { again(); });
  };
  again();
  loop->At(loop->Now() + 2ms, [&] { loop->Stop(); });
  loop->Run();
  EXPECT_GT(posts, 1);
}

TEST(EventLoop, PostsOfManyThreadsAllRunInTheOrderOfEach) {
  auto loop = NewLoop();
  constexpr int kThreads = 4, kPosts = 5000;
  std::vector<std::vector<int>> seen(kThreads);
  int total = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kPosts; ++i) {
        loop->Post([&, t, i] {
          seen[static_cast<size_t>(t)].push_back(i);
          if (++total == kThreads * kPosts) loop->Stop();
        });
      }
    });
  }
  loop->Run();
  for (std::thread& t : threads) t.join();
  for (const auto& one : seen) {
    ASSERT_EQ(one.size(), static_cast<size_t>(kPosts));
    EXPECT_TRUE(std::is_sorted(one.begin(), one.end()));
  }
}

// Was: posts made while a long batch ran lost their wake-up, because the batch was cut and the
// event already read.
TEST(EventLoop, PostsMadeDuringALongBatchAreNotForgotten) {
  auto loop = NewLoop();
  bool last = false;
  for (int i = 0; i < 3; ++i) {
    loop->Post([&, i] {
      std::this_thread::sleep_for(EventLoop::kSliceBudget);  // each ends its pass
      if (i == 0) loop->Post([&] { last = true, loop->Stop(); });
    });
  }
  loop->Run();
  EXPECT_TRUE(last);
}

TEST(EventLoop, AWatchCanEndItselfAndAnother) {
  auto loop = NewLoop();
  Pair a, b;
  int ran = 0;
  auto end_both = [&](uint32_t) {
    ++ran;
    loop->Unwatch(a.fds[0]);
    loop->Unwatch(b.fds[0]);
    loop->At(loop->Now() + 5ms, [&] { loop->Stop(); });
  };
  HF_CHECK(loop->Watch(a.fds[0], EPOLLIN, end_both).ok());
  HF_CHECK(loop->Watch(b.fds[0], EPOLLIN, end_both).ok());
  a.Write();
  b.Write();
  loop->Run();
  EXPECT_EQ(ran, 1);
  int again = 0;
  HF_CHECK(loop->Watch(a.fds[0], EPOLLIN, [&](uint32_t) { ++again, a.Read(), loop->Stop(); }).ok());
  loop->Run();
  EXPECT_EQ(again, 1);
}

TEST(EventLoop, WatchingAClosedDescriptorIsAnError) {
  auto loop = NewLoop();
  EXPECT_EQ(loop->Watch(12345, EPOLLIN, [](uint32_t) {}).code(), Code::kUnavailable);
}

TEST(EventLoop, StopBeforeRunAndRunAgain) {
  auto loop = NewLoop();
  int ran = 0;
  loop->Stop();
  loop->Run();
  loop->Post([&] { ++ran, loop->Stop(); });
  loop->Run();
  EXPECT_EQ(ran, 1);
}

TEST(EventLoop, StopFromAnotherThreadEndsAnIdleLoop) {
  auto loop = NewLoop();
  std::atomic<bool> stopped{false};
  std::thread other([&] {
    stopped = true;
    loop->Stop();
  });
  loop->Run();
  EXPECT_TRUE(stopped);
  other.join();
}

TEST(EventLoop, SignalsBecomeEvents) {
  auto loop = NewLoop();
  sigset_t before;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  std::vector<int> got;
  ASSERT_TRUE(loop->OnSignals({SIGTERM, SIGUSR1},
                              [&](int s) {
                                got.push_back(s);
                                if (s == SIGTERM) loop->Stop();
                              })
                  .ok());
  loop->Post([] { pthread_kill(pthread_self(), SIGUSR1); });
  loop->At(loop->Now() + 1ms, [] { pthread_kill(pthread_self(), SIGTERM); });
  loop->Run();
  EXPECT_EQ(got, (std::vector<int>{SIGUSR1, SIGTERM}));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace
}  // namespace holdfast::net
