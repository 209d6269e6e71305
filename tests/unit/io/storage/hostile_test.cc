// SPDX-License-Identifier: Apache-2.0
// What a storage server does about bytes that no node sends: the connection ends, and nobody else sees
// anything of it.
#include "base/random.h"
#include "tests/unit/io/storage/fixture.h"

namespace holdfast::storage {
namespace {

class HostileTest : public StorageTest {
 protected:
  HostileTest() : server_(ServerOptions()) {}

  bulk::Fd Connect() {
    bulk::Fd fd = *bulk::Dial(*bulk::ParseEndpoint(server_.endpoint()));
    pollfd waiting{fd.get(), POLLOUT, 0};
    EXPECT_EQ(::poll(&waiting, 1, 10'000), 1);
    return fd;
  }
  void Send(const bulk::Fd& fd, ByteView bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n < 0 && errno != EAGAIN) return;
      bytes = bytes.subspan(static_cast<size_t>(std::max<ssize_t>(n, 0)));
    }
  }
  void SendFrame(const bulk::Fd& fd, const FrameHead& head, ByteView body = {}) {
    std::vector<std::byte> frame(kHeadBytes + body.size());
    StoreHead(head, body, frame.data());
    std::copy(body.begin(), body.end(), frame.begin() + kHeadBytes);
    Send(fd, frame);
  }
  void SendHello(const bulk::Fd& fd) {
    Send(fd, Encode(Hello{.cluster_hash = Hash64(AsBytes(std::string_view("test")))}));
  }
  bulk::Fd Opened(Kind kind, const std::string& name) {
    bulk::Fd fd = Connect();
    SendHello(fd);
    std::vector<std::byte> body(8, std::byte{1});
    for (char c : name) body.push_back(static_cast<std::byte>(c));
    const bool journal = kind == Kind::kOpenJournal;
    SendFrame(fd,
              {.kind = kind,
               .tag = 7,
               .b = journal ? 8 * kMiB : kSegmentBytes,
               .count = journal ? 0u : 2u},
              body);
    EXPECT_EQ(NextKind(fd), Kind::kOpened);
    return fd;
  }
  // Of the next frame; kPing when the connection ends without one.
  Kind NextKind(const bulk::Fd& fd) {
    std::array<std::byte, kHeadBytes> head;
    if (!Receive(fd, head)) return Kind::kPing;
    Result<FrameHead> decoded = DecodeHead(head);
    EXPECT_TRUE(decoded.ok());
    std::vector<std::byte> body(decoded->body_bytes);
    EXPECT_TRUE(Receive(fd, body));
    return decoded->kind;
  }
  bool Receive(const bulk::Fd& fd, ByteSpan into) {
    while (!into.empty()) {
      pollfd waiting{fd.get(), POLLIN, 0};
      if (::poll(&waiting, 1, 30'000) != 1) return false;
      const ssize_t n = ::recv(fd.get(), into.data(), into.size(), 0);
      if (n <= 0) return false;
      into = into.subspan(static_cast<size_t>(n));
    }
    return true;
  }
  void ExpectEnd(const bulk::Fd& fd) {
    std::byte byte;
    while (Receive(fd, {&byte, 1})) {
    }
  }
  void ExpectItLives() {
    Status opened;
    NewDisk(ClientOptions(server_.endpoint()), &opened);
    EXPECT_TRUE(opened.ok()) << opened.ToString();
  }

  ServerThread server_;
};

TEST_F(HostileTest, GarbageInTheHello) {
  Random random(1);
  for (int i = 0; i < 20; ++i) {
    bulk::Fd fd = Connect();
    std::vector<std::byte> garbage(random.Below(500) + 64);
    for (std::byte& b : garbage) b = static_cast<std::byte>(random.Next());
    Send(fd, garbage);
    ExpectEnd(fd);
  }
  bulk::Fd cut = Connect();
  Send(cut, ByteView(Encode(Hello{})).first(20));
  cut = bulk::Fd();
  ExpectItLives();
}

TEST_F(HostileTest, FramesThatAreNotDue) {
  std::vector<std::byte> body(8 + 3, std::byte{'a'});
  const std::vector<FrameHead> heads = {
      {.kind = Kind::kRead, .b = 10},
      {.kind = Kind::kOpened},
      {.kind = Kind::kTruncate, .a = 1},
      {.kind = Kind::kSync},
  };
  for (const FrameHead& head : heads) {
    bulk::Fd fd = Connect();
    SendHello(fd);
    SendFrame(fd, head);
    EXPECT_EQ(NextKind(fd), Kind::kFailed);
    ExpectEnd(fd);
  }
  bulk::Fd node = Connect();
  SendHello(node);
  SendFrame(node, {.kind = Kind::kOpenJournal, .tag = 70'000, .b = kMiB}, body);
  EXPECT_EQ(NextKind(node), Kind::kFailed);
  bulk::Fd small = Connect();
  SendHello(small);
  SendFrame(small, {.kind = Kind::kOpenJournal, .tag = 1, .b = 100}, body);
  EXPECT_EQ(NextKind(small), Kind::kFailed);
  bulk::Fd huge = Connect();
  SendHello(huge);
  SendFrame(huge, {.kind = Kind::kOpenJournal, .tag = 2, .b = UINT64_MAX}, body);
  EXPECT_EQ(NextKind(huge), Kind::kFailed);
  ExpectItLives();
}

TEST_F(HostileTest, SegmentsOutOfBounds) {
  const std::vector<FrameHead> heads = {
      {.kind = Kind::kRead, .a = 0, .b = 10, .count = 2},
      {.kind = Kind::kRead, .a = kSegmentBytes, .b = 1},
      {.kind = Kind::kRead, .a = UINT64_MAX, .b = 2},
      {.kind = Kind::kRead, .a = 1, .b = UINT64_MAX},
      {.kind = Kind::kRead, .a = 0, .b = kMaxPartBytes + 1},
      {.kind = Kind::kSync, .count = UINT32_MAX},
      {.kind = Kind::kAppend, .a = 1, .count = 1},
      {.kind = Kind::kReplay},
  };
  for (const FrameHead& head : heads) {
    bulk::Fd fd = Opened(Kind::kOpenSegments, "hostile");
    SendFrame(fd, head);
    EXPECT_EQ(NextKind(fd), Kind::kFailed);
    ExpectEnd(fd);
  }
  const std::string text(5000, 'x');
  for (const FrameHead& head : {FrameHead{.kind = Kind::kWrite, .a = 17},
                                FrameHead{.kind = Kind::kWrite, .a = kSegmentBytes - 4096},
                                FrameHead{.kind = Kind::kWrite, .a = 0, .count = 9}}) {
    bulk::Fd fd = Opened(Kind::kOpenSegments, "hostile");
    SendFrame(fd, head, AsBytes(text));
    EXPECT_EQ(NextKind(fd), Kind::kFailed);
    ExpectEnd(fd);
  }
  ExpectItLives();
}

// Of those who move, and of those who permit it.
TEST_F(HostileTest, MovesAndPermitsOutOfBounds) {
  bulk::Fd node = Opened(Kind::kOpenSegments, "hostile");
  const std::string key = "12345678";
  for (const FrameHead& head : {FrameHead{.kind = Kind::kPermit, .a = 17, .b = 10},
                                FrameHead{.kind = Kind::kPermit, .a = 4096, .b = UINT64_MAX},
                                FrameHead{.kind = Kind::kPermit, .a = 0, .b = 1, .count = 2},
                                FrameHead{.kind = Kind::kMove, .count = 1}}) {
    bulk::Fd fd = Opened(Kind::kOpenSegments, "hostile");
    SendFrame(fd, head, AsBytes(key));
    EXPECT_EQ(NextKind(fd), Kind::kFailed);
    ExpectEnd(fd);
  }
  node = Opened(Kind::kOpenSegments, "hostile");
  // Not the node's connection: it may not permit, sync or revoke.
  for (const Kind kind : {Kind::kPermit, Kind::kSync, Kind::kRevoke, Kind::kMove}) {
    bulk::Fd fd = Opened(Kind::kOpenPermitted, "hostile");
    const bool body = kind == Kind::kPermit || kind == Kind::kMove;
    SendFrame(fd, {.kind = kind, .a = 4096}, body ? AsBytes(key) : ByteView());
    EXPECT_EQ(NextKind(fd), Kind::kFailed);
    ExpectEnd(fd);
  }
  // Moves that are none, of segments that are not there, and without a permit.
  const disk::Entry record{.oid = {1, 1}, .size = 100, .offset = 4096};
  const SegmentMove move{.from = 0, .records = {record}};
  const SegmentMove outside{.from = 2, .records = move.records};
  const Buffer right = EncodeMove(move), wrong = EncodeMove(outside);
  const FrameHead to{.kind = Kind::kMove, .tag = 1, .a = 8192, .b = 99, .count = 1};
  const auto ends = [&](FrameHead head, ByteView body) {
    bulk::Fd fd = Opened(Kind::kOpenMover, "hostile");
    SendFrame(fd, head, body);
    EXPECT_EQ(NextKind(fd), Kind::kFailed);
    ExpectEnd(fd);
  };
  ends(to, AsBytes(key));
  ends(to, wrong.view());
  ends({.kind = Kind::kMove, .tag = 1, .a = 8192, .count = 2}, right.view());
  ends({.kind = Kind::kMove, .tag = 1, .a = 17, .count = 1}, right.view());
  ends({.kind = Kind::kMove, .tag = 1, .a = kSegmentBytes, .count = 1}, right.view());
  ends({.kind = Kind::kRead, .tag = 1, .b = 10}, {});
  bulk::Fd fd = Opened(Kind::kOpenMover, "hostile");
  SendFrame(fd, to, right.view());
  EXPECT_EQ(NextKind(fd), Kind::kFailed);
  SendFrame(fd, {.kind = Kind::kPing});
  EXPECT_EQ(NextKind(fd), Kind::kPong);  // it goes on
  ExpectItLives();
}

// Movers that cannot be opened: for no store, for sizes that cannot be, at places that are none.
TEST_F(HostileTest, MoversThatCannotBe) {
  bulk::Fd node = Opened(Kind::kOpenSegments, "hostile");
  const auto refused = [&](const std::string& name, FrameHead head) {
    bulk::Fd fd = Connect();
    SendHello(fd);
    SendFrame(fd, head, AsBytes("12345678" + name));
    EXPECT_EQ(NextKind(fd), Kind::kFailed) << name;
    ExpectEnd(fd);
  };
  const FrameHead right{.kind = Kind::kOpenMover, .tag = 7, .b = kSegmentBytes, .count = 2};
  for (const char* name : {"other", "@", "hostile@", "../hostile", "a b"}) refused(name, right);
  FrameHead head = right;
  head.tag = 8;
  refused("hostile", head);  // of node 7
  for (const uint64_t bytes :
       {uint64_t{0}, uint64_t{17}, uint64_t{kGiB}, UINT64_MAX / 4096 * 4096}) {
    head = right;
    head.b = bytes;
    refused("hostile", head);
  }
  head = right;
  head.count = 0;
  refused("hostile", head);
  for (const char* name : {"none", "..", "hostile@tcp://127.0.0.1:1"})
    refused(name, {.kind = Kind::kOpenPermitted, .tag = 7, .b = kSegmentBytes, .count = 2});
  ExpectItLives();
}

TEST_F(HostileTest, JournalFramesThatDoNotFollow) {
  std::vector<std::byte> record(4 + 5, std::byte{0});
  StoreAs(record.data(), uint32_t{5});
  const std::vector<FrameHead> heads = {
      {.kind = Kind::kAppend, .a = 2, .count = 1},
      {.kind = Kind::kAppend, .a = 0, .count = 1},
      {.kind = Kind::kAppend, .a = 1, .count = 2},
      {.kind = Kind::kAppend, .a = 1, .count = 0},
      {.kind = Kind::kAppend, .a = UINT64_MAX, .count = 1},
  };
  for (const FrameHead& head : heads) {
    bulk::Fd fd = Opened(Kind::kOpenJournal, "hostile");
    SendFrame(fd, head, record);
    EXPECT_EQ(NextKind(fd), Kind::kFailed);
    ExpectEnd(fd);
  }
  bulk::Fd fd = Opened(Kind::kOpenJournal, "hostile");
  SendFrame(fd, {.kind = Kind::kTruncate, .a = 1'000});
  EXPECT_EQ(NextKind(fd), Kind::kFailed);
  fd = Opened(Kind::kOpenJournal, "hostile");
  SendFrame(fd, {.kind = Kind::kReplay, .a = UINT64_MAX});
  EXPECT_EQ(NextKind(fd), Kind::kReplayed);
  SendFrame(fd, {.kind = Kind::kAppend, .a = 1, .count = 1}, record);
  EXPECT_EQ(NextKind(fd), Kind::kAppended);
  ExpectItLives();
}

// A frame whose body was damaged on its way is not taken, and one that never ends is given up with its
// connection.
TEST_F(HostileTest, DamagedAndUnfinishedBodies) {
  const std::string text(200'000, 'x');
  bulk::Fd fd = Opened(Kind::kOpenSegments, "hostile");
  std::vector<std::byte> frame(kHeadBytes);
  StoreHead({.kind = Kind::kWrite}, AsBytes(text), frame.data());
  Send(fd, frame);
  Send(fd, AsBytes(text.substr(1) + "y"));
  EXPECT_EQ(NextKind(fd), Kind::kFailed);
  ExpectEnd(fd);
  fd = Opened(Kind::kOpenSegments, "hostile");
  Send(fd, frame);
  Send(fd, AsBytes(text.substr(100)));
  fd = bulk::Fd();
  fd = Opened(Kind::kOpenSegments, "hostile");
  SendFrame(fd, {.kind = Kind::kRead, .b = 4096});
  EXPECT_EQ(NextKind(fd), Kind::kBytes);
  ExpectItLives();
}

}  // namespace
}  // namespace holdfast::storage
