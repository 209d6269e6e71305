// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <ctime>
#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "base/status.h"
#include "bench/decide_parts.h"
#include "io/net/zmq_network.h"

namespace holdfast::bench {
namespace {

constexpr size_t kQuestionBytes = 64, kAnswerBytes = 32;

struct NoLog : Log {
  void Write(LogLevel, std::string_view) override {}
};

// Of the whole process: both ends, and the I/O threads of both.
double CpuUs() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) * 1e-3;
}

struct End {
  NoLog log;
  std::unique_ptr<net::EventLoop> loop;
  std::unique_ptr<net::ZmqNetwork> network;

  End() {
    auto made = net::EventLoop::Create();
    HF_CHECK(made.ok());
    loop = *std::move(made);
    auto opened = net::ZmqNetwork::Open(loop.get(), {}, {}, &log);
    HF_CHECK(opened.ok());
    network = *std::move(opened);
  }
};

// Asks `count` times, `in_flight` at a time, and waits for all answers; what each took.
std::vector<double> Ask(End* client, PeerId server, size_t count, size_t in_flight) {
  std::vector<double> took;
  std::deque<Time> sent;  // answers come in order
  size_t asked = 0;
  auto ask = [&] {
    sent.push_back(client->loop->Now());
    ++asked;
    client->network->Send({server}, Frames{Buffer(kQuestionBytes), {}});
  };
  client->network->OnMessage([&](PeerId, const Frames&) {
    took.push_back(static_cast<double>((client->loop->Now() - sent.front()).count()));
    sent.pop_front();
    if (asked < count) ask();
    if (took.size() == count) client->loop->Stop();
  });
  while (asked < std::min(count, in_flight)) ask();
  client->loop->Run();
  return took;
}

}  // namespace

MessageCosts MeasureMessages(bool quick) {
  End server, client;
  server.network->OnMessage([&server](PeerId from, const Frames&) {
    server.network->Send({from}, Frames{Buffer(kAnswerBytes), {}});
  });
  const auto endpoint = server.network->Listen("tcp://127.0.0.1:0");
  HF_CHECK(endpoint.ok());
  std::thread serving([&server] { server.loop->Run(); });
  const PeerId peer = client.network->Connect(*endpoint);
  Ask(&client, peer, 100, 1);  // the connection is made, pages are there
  const size_t count = quick ? 5'000 : 20'000;
  std::vector<double> took = Ask(&client, peer, count, 1);
  std::nth_element(took.begin(), took.begin() + static_cast<ptrdiff_t>(count / 2), took.end());
  const double before = CpuUs();
  Ask(&client, peer, 4 * count, 64);
  const double cpu_us = (CpuUs() - before) / (2.0 * 4.0 * static_cast<double>(count));
  server.loop->Stop();
  serving.join();
  return {.round_trip_us = took[count / 2], .cpu_us = cpu_us};
}

}  // namespace holdfast::bench
