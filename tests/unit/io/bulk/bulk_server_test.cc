// SPDX-License-Identifier: Apache-2.0
// The server against peers that are refused, break the protocol or stall.
#include "io/bulk/bulk_server.h"

#include "tests/unit/io/bulk/raw_socket.h"
#include "tests/unit/io/bulk/test_node.h"

namespace holdfast::bulk {
namespace {

Token TokenOf(uint8_t seed) {
  Token token;
  for (std::byte& b : token) b = static_cast<std::byte>(seed++);
  return token;
}

ClientHello HelloOf(const std::string& cluster, Token token = {}) {
  return {.cluster_hash = Hash64(AsBytes(cluster)), .token = token};
}

// The code and text of the server's answer to a hello.
Status ServersAnswer(int fd) {
  auto hello = DecodeServerHello(ReceiveSome(fd, kServerHelloBytes));
  if (!hello.ok()) return hello.status();
  return {hello->code, std::string(AsText(ReceiveSome(fd, hello->text_bytes)))};
}

Status StatusOfOneRead(TestNode* node, BulkClientOptions options) {
  BulkClient client(std::move(options));
  PendingRead read(1);
  client.Read(node->endpoint(), BulkMode::kLook, read.Items(1, 100), In(60s), read.Each());
  read.Wait();
  return read.outcomes[0].status;
}

template <typename Condition>
bool Eventually(Condition condition) {
  for (int i = 0; i < 4000; ++i) {
    if (condition()) return true;
    usleep(5000);
  }
  return false;
}

TEST(BulkServer, SaysWhenWhatItGivesExpires) {
  for (const size_t size : {0u, 100u, 200'000u}) {
    TestNode node;
    node.Put(1, size, 1, 4'000'000'000);
    node.Put(2, size);
    ASSERT_TRUE(node.Serve({.cluster = "blue"}).ok());
    BulkClient client({.cluster = "blue"});
    PendingRead read(2);
    client.Read(node.endpoint(), BulkMode::kLook, read.Items(1, size), In(60s), read.Each());
    read.Wait();
    ASSERT_TRUE(read.outcomes[0].status.ok()) << read.outcomes[0].status.ToString();
    ASSERT_TRUE(read.outcomes[1].status.ok());
    EXPECT_EQ(read.outcomes[0].expires_s, 4'000'000'000u);
    EXPECT_EQ(read.outcomes[1].expires_s, 0u);
  }
}

TEST(BulkServer, RefusesReadersOfAnotherClusterOrKeySayingWhy) {
  TestNode node;
  node.Put(1, 100);
  ASSERT_TRUE(node.Serve({.cluster = "blue", .token = TokenOf(1)}).ok());
  EXPECT_TRUE(StatusOfOneRead(&node, {.cluster = "blue", .token = TokenOf(1)}).ok());
  Status token = StatusOfOneRead(&node, {.cluster = "blue", .token = TokenOf(2)});
  EXPECT_EQ(token.code(), Code::kDenied);
  EXPECT_NE(token.message().find("cluster key"), std::string::npos) << token.ToString();
  Status none = StatusOfOneRead(&node, {.cluster = "blue"});
  EXPECT_EQ(none.code(), Code::kDenied);
  Status cluster = StatusOfOneRead(&node, {.cluster = "red", .token = TokenOf(1)});
  EXPECT_EQ(cluster.code(), Code::kDenied);
  EXPECT_NE(cluster.message().find("'blue'"), std::string::npos) << cluster.ToString();
  EXPECT_EQ(node.server()->Stats().refused, 3u);
}

TEST(BulkServer, ListensBeyondLoopbackOnlyWithAToken) {
  TestNode node;
  EXPECT_EQ(node.Serve({.endpoints = {"tcp://0.0.0.0:0"}}).code(), Code::kDenied);
  EXPECT_EQ(node.Serve({.endpoints = {"tcp://[::]:0"}}).code(), Code::kDenied);
  EXPECT_TRUE(node.Serve({.endpoints = {"tcp://0.0.0.0:0"}, .token = TokenOf(1)}).ok());
}

TEST(BulkServer, NamesEndpointsThatCannotWork) {
  TestNode node;
  for (const char* wrong :
       {"", "tcp://", "tcp://127.0.0.1", "tcp://127.0.0.1:", "tcp://:1", "tcp://127.0.0.1:70000",
        "tcp://127.0.0.1:1x", "tcp://::1:1", "unix:", "unix:relative", "http://127.0.0.1:1"}) {
    Status status = node.Serve({.endpoints = {wrong}});
    EXPECT_EQ(status.code(), Code::kInvalid) << wrong;
    EXPECT_NE(status.message().find("tcp://HOST:PORT"), std::string::npos) << wrong;
  }
  EXPECT_EQ(node.Serve({.endpoints = {"unix:/" + std::string(200, 'x')}}).code(), Code::kInvalid);
  ASSERT_TRUE(node.Serve({}).ok());
  Status in_use = TestNode().Serve({.endpoints = {node.endpoint()}});
  EXPECT_EQ(in_use.code(), Code::kUnavailable);
  EXPECT_NE(in_use.message().find(node.endpoint()), std::string::npos);
}

TEST(BulkServer, ReplacesAStaleUnixSocketAndNotALiveOne) {
  std::string endpoint = "unix:/tmp/holdfast-bulk-stale-" + std::to_string(getpid()) + ".sock";
  {
    auto parsed = ParseEndpoint(endpoint);
    ASSERT_TRUE(parsed.ok());
    ASSERT_TRUE(Listen(&*parsed).ok());  // closed at once: its file stays
  }
  TestNode node;
  ASSERT_TRUE(node.Serve({.endpoints = {endpoint}}).ok());
  EXPECT_EQ(TestNode().Serve({.endpoints = {endpoint}}).code(), Code::kUnavailable);
  node.Put(1, 100);
  EXPECT_TRUE(StatusOfOneRead(&node, {}).ok());
}

TEST(BulkServer, AnotherProtocolVersionIsTold) {
  TestNode node;
  ASSERT_TRUE(node.Serve({}).ok());
  Fd fd = RawConnect(node.endpoint());
  ClientHello hello = HelloOf("");
  hello.version = 2;
  SendAll(fd.get(), Encode(hello));
  Status answer = ServersAnswer(fd.get());
  EXPECT_EQ(answer.code(), Code::kInvalid);
  EXPECT_NE(answer.message().find("version 2"), std::string::npos);
  EXPECT_TRUE(Closes(fd.get()));
}

TEST(BulkServer, GarbageInsteadOfAHelloIsRefused) {
  TestNode node;
  node.Put(1, 100);
  ASSERT_TRUE(node.Serve({}).ok());
  Fd fd = RawConnect(node.endpoint());
  SendAll(fd.get(), AsBytes("GET / HTTP/1.1\r\n\r\n"));
  EXPECT_EQ(ServersAnswer(fd.get()).code(), Code::kCorrupt);
  fd = Fd();
  EXPECT_TRUE(StatusOfOneRead(&node, {}).ok());
}

// After a good hello: random bytes, and good batches with random changes. The server lives on and
// forgets them all.
TEST(BulkServer, GarbageAfterTheHelloEndsThatConnectionAlone) {
  TestNode node;
  for (uint64_t n = 0; n < 20; ++n) node.Put(n, 50'000);
  ASSERT_TRUE(node.Serve({.pin_timeout = 1s}).ok());
  Random random(3);
  std::vector<Want> wants;
  for (uint64_t n = 0; n < 20; ++n) {
    wants.push_back(
        {.oid = OidNumber(n), .version = 0, .size = 0, .room = 60'000, .name = "", .etag = ""});
  }
  const auto good = BatchOf(wants, {.request = 1, .received = 0, .patience = 5s});
  for (int round = 0; round < 300; ++round) {
    Fd fd = RawConnect(node.endpoint());
    SendAll(fd.get(), Encode(HelloOf("")));
    auto bytes = good;
    if (round % 3 == 0) {
      for (std::byte& b : bytes) b = static_cast<std::byte>(random.Next());
    }
    for (int changes = 0; changes < 3; ++changes) {
      bytes[random.Below(bytes.size())] = static_cast<std::byte>(random.Next());
    }
    SendAll(fd.get(), bytes);
    if (round % 2 == 0) ReceiveSome(fd.get(), random.Below(100'000));
  }
  EXPECT_TRUE(StatusOfOneRead(&node, {}).ok() ||
              StatusOfOneRead(&node, {}).code() == Code::kNoSpace);
  EXPECT_TRUE(Eventually([&] { return node.server()->Stats().connections == 0; }));
  EXPECT_TRUE(Eventually([&] { return node.PinnedSegments() == 0; }));
}

TEST(BulkServer, AnAcknowledgementOfBytesNeverSentEndsTheConnection) {
  TestNode node;
  ASSERT_TRUE(node.Serve({}).ok());
  Fd fd = RawConnect(node.endpoint());
  SendAll(fd.get(), Encode(HelloOf("")));
  EXPECT_TRUE(ServersAnswer(fd.get()).ok());
  SendAll(fd.get(), BatchOf({}, {.received = 1}));
  EXPECT_TRUE(Closes(fd.get()));
}

// TCP says early that the bytes are there, but they are still the segment's own pages: only the
// reader's word counts.
TEST(BulkServer, ARecordStaysPinnedUntilItsReaderHasTakenIt) {
  TestNode node;
  node.Put(1, 60'000);
  ASSERT_TRUE(node.Serve({}).ok());
  Fd fd = RawConnect(node.endpoint());
  SendAll(fd.get(), Encode(HelloOf("")));
  Want want{.oid = OidNumber(1), .version = 0, .size = 0, .room = 60'000, .name = "", .etag = ""};
  SendAll(fd.get(), BatchOf({want}, {.request = 1, .patience = 60s}));
  EXPECT_TRUE(ServersAnswer(fd.get()).ok());
  ASSERT_EQ(ReceiveSome(fd.get(), kAnswerBytes).size(), kAnswerBytes);
  usleep(300'000);  // long after TCP has acknowledged
  EXPECT_EQ(node.PinnedSegments(), 1u);
  auto body = ReceiveSome(fd.get(), 60'000);
  EXPECT_EQ(body, BytesOf(1, 1, 60'000));
  EXPECT_EQ(node.PinnedSegments(), 1u);
  SendAll(fd.get(), BatchOf({}, {.received = kAnswerBytes + 60'000 - 1}));
  usleep(100'000);
  EXPECT_EQ(node.PinnedSegments(), 1u);
  SendAll(fd.get(), BatchOf({}, {.received = kAnswerBytes + 60'000}));
  EXPECT_TRUE(Eventually([&] { return node.PinnedSegments() == 0; }));
}

TEST(BulkServer, AReaderThatNeverAcknowledgesIsDisconnected) {
  TestNode node;
  node.Put(1, 60'000);
  ASSERT_TRUE(node.Serve({.pin_timeout = 300ms}).ok());
  Fd fd = RawConnect(node.endpoint());
  SendAll(fd.get(), Encode(HelloOf("")));
  Want want{.oid = OidNumber(1), .version = 0, .size = 0, .room = 60'000, .name = "", .etag = ""};
  SendAll(fd.get(), BatchOf({want}, {.request = 1, .patience = 60s}));
  EXPECT_TRUE(Closes(fd.get()));
  EXPECT_TRUE(Eventually([&] { return node.PinnedSegments() == 0; }));
  EXPECT_EQ(node.server()->Stats().timed_out, 1u);
}

// It asks for far more than the socket buffers hold and reads nothing at all.
TEST(BulkServer, AReaderThatStallsIsDisconnectedAndItsPinsGo) {
  TestNode node;
  for (uint64_t n = 0; n < 40; ++n) node.Put(n, 700'000);
  for (uint32_t by_sendfile : {64, 0}) {  // segments; the others are copied
    ASSERT_TRUE(node.Serve({.max_pinned_segments = by_sendfile, .pin_timeout = 1s}).ok());
    Fd fd = RawConnect(node.endpoint());
    SendAll(fd.get(), Encode(HelloOf("")));
    std::vector<Want> wants;
    for (uint64_t n = 0; n < 1000; ++n) {
      wants.push_back({.oid = OidNumber(n % 40),
                       .version = 0,
                       .size = 0,
                       .room = 1 << 20,
                       .name = "",
                       .etag = ""});
    }
    SendAll(fd.get(), BatchOf(wants, {.request = 1, .patience = 60s}));
    bool pinned = false;
    EXPECT_TRUE(Eventually([&] {
      pinned |= node.PinnedSegments() > 0;
      return node.server()->Stats().timed_out == 1;
    }));
    EXPECT_TRUE(pinned);
    EXPECT_TRUE(Eventually([&] { return node.server()->Stats().connections == 0; }));
    EXPECT_TRUE(Eventually([&] { return node.PinnedSegments() == 0; }));
    node.StopServing();
  }
}

TEST(BulkServer, PinsNoMoreSegmentsThanAllowed) {
  TestNode node;
  for (uint64_t n = 0; n < 40; ++n) node.Put(n, 700'000);
  ASSERT_TRUE(node.Serve({.max_pinned_segments = 3}).ok());
  Fd fd = RawConnect(node.endpoint());
  SendAll(fd.get(), Encode(HelloOf("")));
  std::vector<Want> wants;
  for (uint64_t n = 0; n < 40; ++n) {
    wants.push_back(
        {.oid = OidNumber(n), .version = 0, .size = 0, .room = 1 << 20, .name = "", .etag = ""});
  }
  SendAll(fd.get(), BatchOf(wants, {.request = 1, .patience = 60s}));
  EXPECT_TRUE(ServersAnswer(fd.get()).ok());
  uint32_t most = 0;
  for (int n = 0; n < 40; ++n) {
    ReceiveSome(fd.get(), kAnswerBytes + 700'000);
    most = std::max(most, node.PinnedSegments());
  }
  EXPECT_GE(most, 3u);
  EXPECT_LE(most, 3u + 1u);  // and the one that is being copied
}

TEST(BulkServer, ConnectionsOverTheLimitAreTold) {
  TestNode node;
  node.Put(1, 100);
  ASSERT_TRUE(node.Serve({.max_connections = 2}).ok());
  Fd first = RawConnect(node.endpoint());
  Fd second = RawConnect(node.endpoint());
  for (Fd* fd : {&first, &second}) {
    SendAll(fd->get(), Encode(HelloOf("")));
    EXPECT_TRUE(ServersAnswer(fd->get()).ok());
  }
  Status refused = StatusOfOneRead(&node, {});
  EXPECT_EQ(refused.code(), Code::kNoSpace) << refused.ToString();
  first = Fd();
  EXPECT_TRUE(Eventually([&] { return StatusOfOneRead(&node, {}).ok(); }));
}

TEST(BulkServer, MissesOverTheLimitAreTold) {
  TestNode node;
  ASSERT_TRUE(node.Serve({.max_misses = 5}, [](ReadMiss, std::function<void(Status)>) {}).ok());
  BulkClient client({});
  PendingRead read(20);
  client.Read(node.endpoint(), BulkMode::kWait, read.Items(0, 10), In(1s), read.Each());
  read.Wait();
  size_t full = 0;
  for (const BulkOutcome& outcome : read.outcomes) {
    full += outcome.status.code() == Code::kNoSpace ? 1 : 0;
  }
  EXPECT_EQ(full, 15u);
}

TEST(BulkServer, SilentConnectionsAreClosed) {
  TestNode node;
  ASSERT_TRUE(node.Serve({.idle_timeout = 200ms}).ok());
  Fd fd = RawConnect(node.endpoint());
  SendAll(fd.get(), Encode(HelloOf("")));
  EXPECT_TRUE(Closes(fd.get()));
}

// A batch may come in any pieces.
TEST(BulkServer, BytesMayComeOneByOne) {
  TestNode node;
  node.Put(1, 300);
  ASSERT_TRUE(node.Serve({}).ok());
  Fd fd = RawConnect(node.endpoint());
  SetUpTcp(fd.get());
  auto hello = Encode(HelloOf(""));
  std::vector<std::byte> bytes(hello.begin(), hello.end());
  Want want{.oid = OidNumber(1), .version = 1, .size = 0, .room = 300, .name = "n", .etag = "e"};
  auto batch = BatchOf({want, want}, {.request = 9, .patience = 60s, .mode = BulkMode::kFetch});
  bytes.insert(bytes.end(), batch.begin(), batch.end());
  for (const std::byte& b : bytes) SendAll(fd.get(), {&b, 1});
  EXPECT_TRUE(ServersAnswer(fd.get()).ok());
  for (uint16_t i = 0; i < 2; ++i) {  // one group: both headers, then both bodies
    auto answer = DecodeAnswer(ReceiveSome(fd.get(), kAnswerBytes));
    ASSERT_TRUE(answer.ok());
    EXPECT_EQ(answer->request, 9u);
    EXPECT_EQ(answer->item, i);
    EXPECT_EQ(answer->more, i == 0);
  }
  for (int i = 0; i < 2; ++i) EXPECT_EQ(ReceiveSome(fd.get(), 300), BytesOf(1, 1, 300));
}

}  // namespace
}  // namespace holdfast::bulk
