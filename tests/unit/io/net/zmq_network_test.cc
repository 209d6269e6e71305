// SPDX-License-Identifier: Apache-2.0
// Real sockets on loopback; both ends in one loop.
#include "io/net/zmq_network.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

#include <algorithm>
#include <thread>

#include "io/net/endpoint.h"
#include "tests/unit/io/net/run_until.h"
#include "tests/unit/wire/samples.h"
#include "wire/codec.h"

#if defined(__SANITIZE_THREAD__)
// The library is not instrumented: how its threads hand messages over cannot be seen.
extern "C" const char* __tsan_default_suppressions();
extern "C" const char* __tsan_default_suppressions() {
  return "race:libzmq.so\ncalled_from_lib:libzmq.so\n";
}
#endif

namespace holdfast::net {
namespace {

struct Lines : Log {
  void Write(LogLevel, std::string_view line) override { lines.emplace_back(line); }
  size_t Count(std::string_view part) const {
    return static_cast<size_t>(std::count_if(lines.begin(), lines.end(), [&](const auto& line) {
      return line.find(part) != line.npos;
    }));
  }
  std::vector<std::string> lines;
};

struct Got {
  PeerId from;
  Frames frames;
};

Frames Text(std::string_view head, std::vector<size_t> columns = {}) {
  Frames frames{Buffer::CopyOf(AsBytes(head)), {}};
  for (size_t size : columns) {
    frames.columns.emplace_back(size);
    for (std::byte& b : frames.columns.back().span()) b = static_cast<std::byte>(size % 251);
  }
  return frames;
}

ClusterKey Key(int seed) {
  ClusterKey key{};
  key[0] = static_cast<std::byte>(seed);
  return key;
}

class ZmqNetworkTest : public testing::Test {
 protected:
  struct End {
    std::unique_ptr<ZmqNetwork> net;
    std::vector<Got> got;
    std::string_view Head(size_t i) const { return AsText(got[i].frames.head.view()); }
  };

  std::unique_ptr<End> NewEnd(ZmqOptions options = {}, BulkReads::Reader bulk = {}) {
    auto end = std::make_unique<End>();
    auto net = ZmqNetwork::Open(loop_.get(), std::move(options), std::move(bulk), &log_);
    HF_CHECK(net.ok());
    end->net = std::move(*net);
    end->net->OnMessage([e = end.get()](PeerId from, Frames frames) {
      e->got.push_back({from, std::move(frames)});
    });
    return end;
  }
  static std::string Listen(End& end, const std::string& at = "tcp://127.0.0.1:0") {
    auto endpoint = end.net->Listen(at);
    EXPECT_TRUE(endpoint.ok()) << endpoint.status().ToString();
    return endpoint.ok() ? *endpoint : std::string("tcp://127.0.0.1:1");
  }
  bool Until(const std::function<bool()>& done) { return RunUntil(*loop_, done); }

  std::unique_ptr<EventLoop> loop_ = std::move(*EventLoop::Create());
  Lines log_;
};

TEST_F(ZmqNetworkTest, AMessageAndItsAnswer) {
  auto node = NewEnd(), job = NewEnd();
  PeerId to = job->net->Connect(Listen(*node));
  job->net->Send({to}, Text("hello", {0, 3, 5000, 300'000}));
  ASSERT_TRUE(Until([&] { return node->got.size() == 1; }));
  EXPECT_TRUE(wire::SameFrames(node->got[0].frames, Text("hello", {0, 3, 5000, 300'000})));
  node->net->Send({node->got[0].from}, Text("reply", {100'000}));
  ASSERT_TRUE(Until([&] { return job->got.size() == 1; }));
  EXPECT_EQ(job->got[0].from, to);
  EXPECT_TRUE(wire::SameFrames(job->got[0].frames, Text("reply", {100'000})));
  EXPECT_TRUE(Until([&] { return job->net->QueuedBytes(to) == 0; }));
}

TEST_F(ZmqNetworkTest, OneMessageToManyPeersInOrderWithoutACopy) {
  auto job = NewEnd();
  std::vector<std::unique_ptr<End>> nodes;
  std::vector<PeerId> peers;
  for (int i = 0; i < 4; ++i) {
    nodes.push_back(NewEnd());
    peers.push_back(job->net->Connect(Listen(*nodes.back())));
  }
  static std::atomic<int> released{0};
  static std::byte bytes[100'000] = {};
  released = 0;
  Frames shared{Buffer::CopyOf(AsBytes("manifest")), {}};
  shared.columns.push_back(Buffer::Adopt(
      bytes, sizeof(bytes), [](void*) { ++released; }, nullptr));
  job->net->Send(peers, std::move(shared));
  for (int i = 0; i < 50; ++i) job->net->Send(peers, Text(std::to_string(i)));
  ASSERT_TRUE(Until([&] {
    return std::all_of(nodes.begin(), nodes.end(), [](auto& n) { return n->got.size() == 51; });
  }));
  for (auto& node : nodes) {
    EXPECT_EQ(node->got[0].frames.columns[0].size(), sizeof(bytes));
    for (size_t i = 0; i < 50; ++i) EXPECT_EQ(node->Head(i + 1), std::to_string(i));
  }
  EXPECT_TRUE(Until([&] { return released == 1; }));
}

TEST_F(ZmqNetworkTest, ManyMessagesAtOnceAllArrive) {
  auto node = NewEnd(), job = NewEnd();
  PeerId to = job->net->Connect(Listen(*node));
  for (int i = 0; i < 1000; ++i) job->net->Send({to}, Text(std::to_string(i)));
  ASSERT_TRUE(Until([&] { return node->got.size() == 1000; }));
  for (auto& got : node->got) node->net->Send({got.from}, std::move(got.frames));
  ASSERT_TRUE(Until([&] { return job->got.size() == 1000; }));
  for (size_t i = 0; i < 1000; ++i) EXPECT_EQ(job->Head(i), std::to_string(i));
}

TEST_F(ZmqNetworkTest, AnUnreachableNodeIsOneThatDoesNotAnswer) {
  auto job = NewEnd();
  PeerId nobody = job->net->Connect("tcp://127.0.0.1:1");
  PeerId nonsense = job->net->Connect("ftp://x");
  EXPECT_NE(nobody, nonsense);
  job->net->Send({nobody, nonsense, 12345}, Text("hello"));
  EXPECT_EQ(log_.Count("'ftp://x' is not an address"), 1u);
  ASSERT_TRUE(Until([&] {
    return log_.Count("no connection to tcp://127.0.0.1:1: is a cached running there?") == 1;
  }));
  RunFor(*loop_, 500ms);  // several attempts more
  EXPECT_EQ(log_.lines.size(), 2u);
  EXPECT_TRUE(job->got.empty());
  EXPECT_EQ(job->net->Stats().dropped_gone, 2u);
  job->net->Disconnect(nobody);
  job->net->Disconnect(nobody);
}

TEST_F(ZmqNetworkTest, ANodeThatStartsLaterGetsWhatWaits) {
  auto first = NewEnd(), job = NewEnd();
  std::string endpoint = Listen(*first);
  first.reset();
  PeerId to = job->net->Connect(endpoint);
  job->net->Send({to}, Text("early"));
  RunFor(*loop_, 20ms);
  auto node = NewEnd();
  Listen(*node, endpoint);
  EXPECT_TRUE(Until([&] { return node->got.size() == 1; }));
}

TEST_F(ZmqNetworkTest, ARestartedNodeIsReachedAgain) {
  auto node = NewEnd(), job = NewEnd();
  std::string endpoint = Listen(*node);
  PeerId to = job->net->Connect(endpoint);
  job->net->Send({to}, Text("one"));
  ASSERT_TRUE(Until([&] { return node->got.size() == 1; }));
  node.reset();
  RunFor(*loop_, 20ms);
  node = NewEnd();
  Listen(*node, endpoint);
  ASSERT_TRUE(Until([&] {
    if (node->got.empty()) job->net->Send({to}, Text("two"));
    return !node->got.empty();
  }));
  node->net->Send({node->got[0].from}, Text("welcome"));
  ASSERT_TRUE(Until([&] { return !job->got.empty(); }));
  EXPECT_EQ(job->got[0].from, to);
  EXPECT_TRUE(Until([&] {
    return log_.Count("the connection to " + endpoint + " broke") == 1 &&
           log_.Count("connected to " + endpoint) == 1;
  }));
}

TEST_F(ZmqNetworkTest, PortsInUseAndBadAddressesAreNamed) {
  auto node = NewEnd(), second = NewEnd();
  std::string endpoint = Listen(*node);
  Status used = second->net->Listen(endpoint).status();
  EXPECT_EQ(used.code(), Code::kUnavailable);
  EXPECT_NE(used.message().find(endpoint + ": the port is in use"), std::string::npos);
  EXPECT_EQ(second->net->Listen("tcp://127.0.0.1").status().code(), Code::kInvalid);
  EXPECT_EQ(second->net->Listen("tcp://127.0.0.1:70000").status().code(), Code::kInvalid);
  Status denied = second->net->Listen("tcp://0.0.0.0:0").status();
  EXPECT_EQ(denied.code(), Code::kDenied);
  EXPECT_NE(denied.message().find("cluster key"), std::string::npos);
  ZmqOptions keyed;
  keyed.key = Key(1);
  Status foreign = NewEnd(keyed)->net->Listen("tcp://192.0.2.1:0").status();
  EXPECT_EQ(foreign.code(), Code::kUnavailable);
  EXPECT_NE(foreign.message().find("192.0.2.1"), std::string::npos);
}

TEST_F(ZmqNetworkTest, MembersOfAClusterTalkAndOthersDoNot) {
  ZmqOptions ours, theirs;
  ours.key = Key(1), theirs.key = Key(2);
  auto node = NewEnd(ours), member = NewEnd(ours), stranger = NewEnd(theirs), plain = NewEnd();
  std::string endpoint = Listen(*node, "tcp://0.0.0.0:0");
  endpoint.replace(endpoint.find("0.0.0.0"), 7, "127.0.0.1");
  for (auto* end : {stranger.get(), plain.get(), member.get()}) {
    end->net->Send({end->net->Connect(endpoint)}, Text("hello", {10'000}));
  }
  ASSERT_TRUE(Until([&] { return !node->got.empty(); }));
  RunFor(*loop_, 300ms);
  EXPECT_EQ(node->got.size(), 1u);
  node->net->Send({node->got[0].from}, Text("welcome"));
  EXPECT_TRUE(Until([&] { return member->got.size() == 1; }));
  EXPECT_TRUE(Until([&] {
    return log_.Count(endpoint + " refuses the connection: give both sides the same cluster key") ==
           2;
  }));
  EXPECT_EQ(log_.Count("a client of tcp://0.0.0.0:0 was refused"), 1u);
}

// The other way round: a server without a key meets a client with one.
TEST_F(ZmqNetworkTest, AKeyOnOneSideOnlyIsNamedOnBoth) {
  ZmqOptions keyed;
  keyed.key = Key(1);
  auto node = NewEnd(), job = NewEnd(keyed);
  std::string endpoint = Listen(*node);
  job->net->Connect(endpoint);
  EXPECT_TRUE(Until([&] {
    return log_.Count(endpoint + " refuses the connection") == 1 &&
           log_.Count("was refused: it has another cluster key or none") == 1;
  }));
}

// A process that is stopped: the kernel takes its connections. It was said to have another cluster
// key.
TEST_F(ZmqNetworkTest, ANodeThatTakesConnectionsAndIsSilentDoesNotRefuse) {
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), length), 0);
  ASSERT_EQ(listen(listener, 100), 0);
  ASSERT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length), 0);
  const std::string endpoint = "tcp://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  ZmqOptions plain, keyed;
  plain.handshake = keyed.handshake = 200ms;
  keyed.key = Key(1);
  auto one = NewEnd(plain), other = NewEnd(keyed);
  one->net->Send({one->net->Connect(endpoint)}, Text("hello"));
  other->net->Send({other->net->Connect(endpoint)}, Text("hello"));
  EXPECT_TRUE(Until([&] {
    return log_.Count(endpoint +
                      " takes the connection and does not answer: is the cached there running?") ==
           2;
  }));
  RunFor(*loop_, 1s);  // several attempts more
  EXPECT_EQ(log_.lines.size(), 2u);
  close(listener);
}

// A client that knows the server's public key, as everybody could who saw it, but not the client's
// secret.
TEST_F(ZmqNetworkTest, TheServersPublicKeyAloneLetsNobodyIn) {
  ZmqOptions ours;
  ours.key = Key(1);
  auto node = NewEnd(ours);
  std::string endpoint = Listen(*node);
  void* context = zmq_ctx_new();
  void* dealer = zmq_socket(context, ZMQ_DEALER);
  char public_text[41], secret_text[41];
  ASSERT_EQ(zmq_curve_keypair(public_text, secret_text), 0);
  auto server = ServerKeys(*ours.key);
  ASSERT_TRUE(server.ok());
  int zero = 0;
  zmq_setsockopt(dealer, ZMQ_LINGER, &zero, sizeof(zero));
  ASSERT_EQ(zmq_setsockopt(dealer, ZMQ_CURVE_SERVERKEY, server->public_key.data(), 32), 0);
  ASSERT_EQ(zmq_setsockopt(dealer, ZMQ_CURVE_PUBLICKEY, public_text, 41), 0);
  ASSERT_EQ(zmq_setsockopt(dealer, ZMQ_CURVE_SECRETKEY, secret_text, 41), 0);
  ASSERT_EQ(zmq_connect(dealer, endpoint.c_str()), 0);
  ASSERT_EQ(zmq_send(dealer, "x", 1, 0), 1);
  EXPECT_TRUE(Until([&] { return node->net->Stats().refused_clients > 0; }));
  EXPECT_TRUE(node->got.empty());
  zmq_close(dealer);
  zmq_ctx_term(context);
}

TEST_F(ZmqNetworkTest, TooManyFramesAreThrownAwayAndTheNextMessageIsRead) {
  auto node = NewEnd(), job = NewEnd();
  PeerId to = job->net->Connect(Listen(*node));
  job->net->Send({to}, Text("wide", std::vector<size_t>(40, 10)));
  job->net->Send({to}, Text("good"));
  ASSERT_TRUE(Until([&] { return !node->got.empty(); }));
  EXPECT_EQ(node->Head(0), "good");
  EXPECT_EQ(node->net->Stats().refused_frames, 1u);
}

TEST_F(ZmqNetworkTest, GarbageOnTheSocketHurtsNobody) {
  auto node = NewEnd(), job = NewEnd();
  std::string endpoint = Listen(*node);
  auto parsed = ParseControlEndpoint(endpoint);
  ASSERT_TRUE(parsed.ok());
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(parsed->port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  for (std::string_view garbage :
       {std::string_view("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), std::string_view("\xff\0\0\0\0", 5),
        std::string_view("\xff\0\0\0\0\0\0\0\1\x7f\x03\0NULL garbage that goes on and on", 40)}) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ASSERT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    ASSERT_EQ(send(fd, garbage.data(), garbage.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(garbage.size()));
    close(fd);
  }
  job->net->Send({job->net->Connect(endpoint)}, Text("good"));
  ASSERT_TRUE(Until([&] { return !node->got.empty(); }));
  EXPECT_EQ(node->got.size(), 1u);
}

TEST_F(ZmqNetworkTest, AClientOfAnotherVersionCanBeToldSo) {
  auto node = NewEnd(), job = NewEnd();
  PeerId to = job->net->Connect(Listen(*node));
  job->net->Send({to}, Text("\x93\x07\x00\x01"));
  ASSERT_TRUE(Until([&] { return !node->got.empty(); }));
  Status status = wire::Decode(std::move(node->got[0].frames)).status();
  EXPECT_EQ(status.code(), Code::kInvalid);
  node->net->Send({node->got[0].from}, wire::Encode(wire::ErrorReply{"Hello", 0, status}));
  ASSERT_TRUE(Until([&] { return !job->got.empty(); }));
  auto told = wire::Decode(std::move(job->got[0].frames));
  ASSERT_TRUE(told.ok());
  EXPECT_NE(std::get<wire::ErrorReply>(*told).status.message().find("version 7"),
            std::string::npos);
}

TEST_F(ZmqNetworkTest, AFullQueueDropsMessagesAndBytesAreBounded) {
  ZmqOptions narrow;
  narrow.max_queued_bytes = 1'000'000;
  narrow.max_queued_messages = 10;
  auto job = NewEnd(narrow);
  PeerId bytes = job->net->Connect("tcp://127.0.0.1:1");
  job->net->Send({bytes}, Text("large", {5'000'000}));  // an empty queue takes anything
  for (int i = 0; i < 5; ++i) job->net->Send({bytes}, Text("more", {10'000}));
  EXPECT_EQ(job->net->QueuedBytes(bytes), 5'000'000u);
  EXPECT_EQ(job->net->Stats().dropped_full, 5u);
  PeerId messages = job->net->Connect("tcp://127.0.0.1:1");
  for (int i = 0; i < 30; ++i) job->net->Send({messages}, Text("small"));
  EXPECT_GE(job->net->Stats().dropped_full, 5u + 10u);
}

TEST_F(ZmqNetworkTest, TheTableOfClientsIsBounded) {
  ZmqOptions small;
  small.max_inbound_peers = 2;
  auto node = NewEnd(small), job = NewEnd();
  std::string endpoint = Listen(*node);
  for (size_t i = 0; i < 3; ++i) {
    job->net->Send({job->net->Connect(endpoint)}, Text("hello"));
    ASSERT_TRUE(Until([&] { return node->got.size() == i + 1; }));
  }
  for (auto& got : node->got) node->net->Send({got.from}, Text("reply"));
  ASSERT_TRUE(Until([&] { return job->got.size() == 2; }));
  EXPECT_EQ(node->net->Stats().dropped_gone, 1u);
}

TEST_F(ZmqNetworkTest, APeerThatLeftIsForgotten) {
  auto node = NewEnd(), job = NewEnd();
  PeerId to = job->net->Connect(Listen(*node));
  job->net->Send({to}, Text("hello"));
  ASSERT_TRUE(Until([&] { return node->got.size() == 1; }));
  job->net->Disconnect(to);
  ASSERT_TRUE(Until([&] {
    node->net->Send({node->got[0].from}, Text("anybody?"));
    return node->net->Stats().dropped_gone > 0;
  }));
}

TEST_F(ZmqNetworkTest, AHandlerMayDisconnectThePeerWhileItsMessagesWait) {
  auto node = NewEnd(), job = NewEnd();
  PeerId to = job->net->Connect(Listen(*node));
  job->net->Send({to}, Text("hello"));
  ASSERT_TRUE(Until([&] { return node->got.size() == 1; }));
  int heard = 0;
  job->net->OnMessage([&](PeerId from, Frames) {
    ++heard;
    job->net->Disconnect(from);
  });
  for (int i = 0; i < 10; ++i) node->net->Send({node->got[0].from}, Text("x"));
  ASSERT_TRUE(Until([&] { return heard > 0; }));
  RunFor(*loop_, 20ms);
  EXPECT_EQ(heard, 1);
}

// Answers wait in the socket while a message is sent, whose bookkeeping swallows the wake-up for
// them.
TEST_F(ZmqNetworkTest, SendingDoesNotLoseTheWakeUpForWhatArrives) {
  auto node = NewEnd(), job = NewEnd();
  PeerId to = job->net->Connect(Listen(*node));
  job->net->Send({to}, Text("hello"));
  ASSERT_TRUE(Until([&] { return node->got.size() == 1; }));
  PeerId back = node->got[0].from;
  for (size_t round = 1; round <= 200; ++round) {
    node->net->Send({back}, Text("down"));
    usleep(300);  // it is in the job's socket now, most likely
    job->net->Send({to}, Text("up"));
    ASSERT_TRUE(Until([&] { return job->got.size() == round && node->got.size() == round + 1; }));
  }
}

TEST_F(ZmqNetworkTest, BulkOutcomesComeToTheLoop) {
  std::vector<std::thread> threads;
  auto reader = [&](const std::string& endpoint, BulkMode mode, std::vector<BulkItem> items, Time,
                    std::function<void(size_t, BulkOutcome)> each) {
    EXPECT_EQ(endpoint, "tcp://127.0.0.1:9");
    EXPECT_EQ(mode, BulkMode::kWait);
    threads.emplace_back([n = items.size(), each = std::move(each)] {
      for (size_t i = n; i-- > 0;) each(i, {Status(), i, 7});
    });
  };
  auto job = NewEnd({}, reader);
  auto loop_thread = std::this_thread::get_id();
  std::vector<size_t> seen;
  job->net->BulkRead("tcp://127.0.0.1:9", BulkMode::kWait, std::vector<BulkItem>(500), Time::Max(),
                     [&](size_t i, BulkOutcome outcome) {
                       EXPECT_TRUE(std::this_thread::get_id() == loop_thread);
                       EXPECT_EQ(outcome.version, i);
                       seen.push_back(i);
                     });
  EXPECT_TRUE(seen.empty());
  EXPECT_TRUE(Until([&] { return seen.size() == 500; }));
  job->net->BulkRead("tcp://127.0.0.1:9", BulkMode::kWait, std::vector<BulkItem>(500), Time::Max(),
                     [](size_t, BulkOutcome) {});
  job->net.reset();  // late outcomes find nobody
  for (std::thread& t : threads) t.join();
  RunFor(*loop_, 5ms);
}

TEST_F(ZmqNetworkTest, WithoutABulkClientBulkReadsFail) {
  auto job = NewEnd();
  std::vector<Code> codes;
  job->net->BulkRead("tcp://127.0.0.1:9", BulkMode::kLook, std::vector<BulkItem>(2), Time::Max(),
                     [&](size_t, BulkOutcome o) { codes.push_back(o.status.code()); });
  EXPECT_TRUE(codes.empty());
  ASSERT_TRUE(Until([&] { return codes.size() == 2; }));
  EXPECT_EQ(codes[0], Code::kUnavailable);
}

}  // namespace
}  // namespace holdfast::net
