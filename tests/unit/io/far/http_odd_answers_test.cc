// SPDX-License-Identifier: Apache-2.0
// Answers that no decent server gives and no test origin makes, byte by byte; names that do not
// resolve; proxies.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "tests/origin/origin.h"
#include "tests/unit/io/far/far_fixture.h"

namespace {

// Names that end in ".stuck" do not resolve while this is held, or not for long enough.
struct {
  std::mutex mutex;
  std::condition_variable changed;
  bool held = false;
  bool too_long = false;

  void Hold(bool on) {
    std::lock_guard lock(mutex);
    held = on;
    changed.notify_all();
  }
  void Wait() {
    std::unique_lock lock(mutex);
    if (!changed.wait_for(lock, std::chrono::seconds(20), [&] { return !held; })) too_long = true;
  }
} stuck;

}  // namespace

// The program's own comes before the C library's, so curl's resolver threads call this one.
extern "C" int getaddrinfo(const char* node, const char* service, const addrinfo* hints,
                           addrinfo** found) {
  const auto real = reinterpret_cast<decltype(&getaddrinfo)>(dlsym(RTLD_NEXT, "getaddrinfo"));
  const std::string_view name = node == nullptr ? "" : node;
  if (!name.ends_with(".stuck")) return real(node, service, hints, found);
  stuck.Wait();
  return EAI_AGAIN;
}

namespace holdfast::far {
namespace {

// Reads a request and answers with the same bytes, one connection after the other.
class RawServer {
 public:
  // `before` is called on the server's thread, before the answer.
  explicit RawServer(
      std::string answer, std::function<void()> before = [] {})
      : answer_(std::move(answer)), before_(std::move(before)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(bind(listener_, generic, size), 0);
    EXPECT_EQ(getsockname(listener_, generic, &size), 0);
    EXPECT_EQ(listen(listener_, 8), 0);
    url_ = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    thread_ = std::thread([this] { Run(); });
  }
  ~RawServer() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }
  const std::string& url() const { return url_; }

 private:
  void Run() {
    while (true) {
      const int fd = accept(listener_, nullptr, nullptr);
      if (fd < 0) return;
      std::string request;
      char byte = 0;
      while (!request.ends_with("\r\n\r\n") && read(fd, &byte, 1) == 1) request += byte;
      before_();
      EXPECT_EQ(write(fd, answer_.data(), answer_.size()), static_cast<ssize_t>(answer_.size()));
      close(fd);
    }
  }

  const std::string answer_;
  const std::function<void()> before_;
  const int listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  std::string url_;
  std::thread thread_;
};

constexpr char kShortAnswer[] = "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 3\r\n\r\n";

using HttpOddAnswersTest = FarTest;

// It was final, and called invalid: curl takes it for HTTP/0.9.
TEST_F(HttpOddAnswersTest, GarbageInsteadOfHttpIsUnavailable) {
  Open(QuickOptions());
  RawServer server(std::string("\0\xff nonsense\r\n\r\n", 15));
  const Status status = GetWhole(server.url() + "/k", 10).status;
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_NE(status.message().find("check host and port; tried 4 times"), std::string::npos)
      << status.message();
}

// Trailers come through the same callback as the head: one that names another length or version
// made the right bytes look like another object's, and one that looks like a status line made an
// error of them.
TEST_F(HttpOddAnswersTest, TrailersChangeNothing) {
  Open(QuickOptions());
  RawServer server(
      "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"
      "Content-Length: 7\r\nETag: \"other\"\r\nHTTP/1.1 404: x\r\n\r\n");
  const GetOutcome outcome = GetWhole(server.url() + "/k", 3, "e");
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.ToString();
  EXPECT_EQ(outcome.info.size, 3u);
  EXPECT_EQ(outcome.info.etag, "e");
}

// Content-Range means something with a 206 only (RFC 9110, 14.4); its total was taken for the
// object's size.
TEST_F(HttpOddAnswersTest, AContentRangeInAWholeAnswerSaysNothing) {
  Open(QuickOptions());
  RawServer server(
      "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 3\r\nContent-Range: bytes 0-2/99\r\n\r\n"
      "abc");
  const GetOutcome outcome = GetWhole(server.url() + "/k", 3, "e");
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.ToString();
  EXPECT_EQ(outcome.info.size, 3u);
}

TEST_F(HttpOddAnswersTest, AFirstPartWithoutALengthIsMeasuredByWhatComes) {
  Open(QuickOptions());
  RawServer server(
      "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
  for (uint64_t guess : {3, 10}) {
    const GetOutcome outcome = GetRange(server.url() + "/k", 0, guess);
    ASSERT_TRUE(outcome.status.ok()) << outcome.status.ToString();
    EXPECT_EQ(AsText(outcome.bytes), "abc");
    EXPECT_EQ(outcome.info.size, 3u);
  }
  EXPECT_EQ(GetRange(server.url() + "/k", 0, 2).status.code(), Code::kInvalid);
  EXPECT_EQ(GetRange(server.url() + "/k", 0, 3, "other").status.code(), Code::kChanged);
}

// It is asked for without a range then, and this server sends the same part all the same.
TEST_F(HttpOddAnswersTest, APartOfNobodyKnowsHowMuchIsNoData) {
  Open(QuickOptions());
  std::atomic<int> requests = 0;
  RawServer server(
      "HTTP/1.1 206 Partial Content\r\nETag: \"e\"\r\nContent-Length: 3\r\n"
      "Content-Range: bytes 0-2/*\r\n\r\nabc",
      [&] { ++requests; });
  EXPECT_EQ(GetRange(server.url() + "/k", 0, 3).status.code(), Code::kCorrupt);
  EXPECT_EQ(requests, 3);
}

// Chunks of a large object had it sent again and again, each time up to the chunk.
TEST_F(HttpOddAnswersTest, NotMuchComesInVainFromAServerWithoutRanges) {
  Open(QuickOptions());
  RawServer server("HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 100000000\r\n\r\nabc");
  const Status status = GetRange(server.url() + "/k", 70'000'000, 3, "e").status;
  EXPECT_EQ(status.code(), Code::kInvalid);
  EXPECT_NE(status.message().find("chunk = 0"), std::string::npos) << status.message();
}

// A total of 0 and a last byte of 2^64 - 1 add up to nothing.
TEST_F(HttpOddAnswersTest, ARangeOfNothingIsNoEmptyObject) {
  Open(QuickOptions());
  RawServer server(
      "HTTP/1.1 206 Partial Content\r\nETag: \"e\"\r\nContent-Length: 0\r\n"
      "Content-Range: bytes 0-18446744073709551615/0\r\n\r\n");
  EXPECT_EQ(GetRange(server.url() + "/k", 0, 3).status.code(), Code::kCorrupt);
}

// To take a handle back from curl was to wait for its name: a silent name server held up every
// other transfer, the deadlines and the end of the client.
TEST_F(HttpOddAnswersTest, ANameThatDoesNotResolveHoldsNothingUp) {
  stuck.Hold(true);
  Open(QuickOptions());
  bool called = false;
  client_->Head("http://far.stuck/k", client_->options().now() + 50ms,
                [&](const Result<FarInfo>& info) {
                  EXPECT_EQ(info.status().code(), Code::kTimeout);
                  called = true;
                });
  client_->Head("http://far2.stuck/k", Time::Max(), [](const Result<FarInfo>&) {});
  RawServer server(kShortAnswer);
  thread_.RunUntil([&] { return called; });
  EXPECT_TRUE(Head(server.url() + "/k").ok());
  client_.reset();
  EXPECT_FALSE(stuck.too_long);
  stuck.Hold(false);
}

// "Never for loopback" was "never for a name that begins like loopback's".
TEST_F(HttpOddAnswersTest, AProxyIsUsedForAllButLoopback) {
  RawServer proxy("HTTP/1.1 200 OK\r\nETag: \"proxy\"\r\nContent-Length: 1\r\n\r\n");
  RawServer server("HTTP/1.1 200 OK\r\nETag: \"server\"\r\nContent-Length: 1\r\n\r\n");
  FarOptions options = QuickOptions();
  options.proxy = proxy.url();
  Open(options);
  const auto etag = [&](const std::string& uri) {
    const auto info = Head(uri);
    return info.ok() ? info->etag : info.status().ToString();
  };
  EXPECT_EQ(etag(server.url() + "/k"), "server");
  const std::string port = server.url().substr(server.url().rfind(':'));
  EXPECT_EQ(etag("http://localhost" + port + "/k"), "server");
  EXPECT_EQ(etag("http://bucket.localhost" + port + "/k"), "server");
  EXPECT_EQ(etag("http://far.invalid/k"), "proxy");
  EXPECT_EQ(etag("http://localhost.invalid/k"), "proxy");
  EXPECT_EQ(etag("http://127.invalid/k"), "proxy");
}

// Answers wait for those that come with what the sockets have already. While those of long
// transfers always had some, a short answer waited until fifteen long ones had ended.
TEST_F(HttpOddAnswersTest, ShortAnswersDoNotWaitForLongOnes) {
  // Each long answer is a gigabyte of which one byte is wanted, after 60 MB.
  origin::OriginOptions long_answers;
  long_answers.threads = 2;
  long_answers.faults.push_back({.kind = origin::FaultKind::kNoRange});
  auto origin = origin::Origin::Start(long_answers);
  ASSERT_TRUE(origin.ok()) << origin.status().ToString();
  RawServer server(kShortAnswer, [&] {  // while the long ones are on their way
    while ((*origin)->Counters().body_bytes < 20'000'000) std::this_thread::yield();
  });
  FarOptions options = QuickOptions();
  options.timeouts.stall = options.timeouts.attempt;
  options.limits.min_connections = options.limits.max_connections = 32;
  std::atomic<FarClient*> client = nullptr;
  std::optional<uint64_t>
      ended_bytes;  // of the long ones that had ended when the first answer was handed over
  auto opened = FarClient::Open(options, [&, post = thread_.post()](std::function<void()> run) {
    if (!ended_bytes) ended_bytes = client.load()->Counters().bytes;
    post(std::move(run));
  });
  ASSERT_TRUE(opened.ok());
  client_ = std::move(*opened);
  client = client_.get();
  bool answered = false;
  client_->Head(server.url() + "/k", Time::Max(), [&](const Result<FarInfo>&) { answered = true; });
  std::vector<std::byte> byte(1);
  for (int i = 0; i < 80; ++i) {
    FarGet get;
    get.uri = (*origin)->url() + "/o/1000000000/b";
    get.whole = false;
    get.offset = 60'000'000;
    get.length = 1;
    get.into = byte;
    client_->Get(std::move(get), [](Status, FarInfo, uint64_t) {});
  }
  thread_.RunUntil([&] { return answered; });
  client_.reset();
  EXPECT_EQ(ended_bytes, 0u);
}

}  // namespace
}  // namespace holdfast::far
