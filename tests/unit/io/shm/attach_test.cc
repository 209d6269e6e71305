// SPDX-License-Identifier: Apache-2.0
#include "io/shm/attach.h"

#include <grp.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "io/shm/attach_server.h"
#include "io/shm/region_file.h"
#include "tests/unit/io/shm/shm_testing.h"

namespace holdfast::shm {
namespace {

constexpr Incarnation kIncarnation = 77;
constexpr uid_t kStranger = 12345;

class AttachTest : public ::testing::Test {
 protected:
  void Start(const std::string& group = "") {
    RegionFileOptions region;
    region.directory = directory_.node();
    region.plan = SmallPlan();
    region.huge = HugePages::kOff;
    region.group = group;
    auto file = RegionFile::Open(region);
    ASSERT_TRUE(file.ok()) << file.status().ToString();
    region_ = std::move(*file);
    Format(region_->memory(), region.plan, kIncarnation);
    SessionFilesOptions sessions;
    sessions.directory = region_->session_directory();
    sessions.segments = region.plan.segments;
    sessions.incarnation = kIncarnation;
    sessions.attach = [this](uint32_t id, ByteSpan memory) { attached_[id] = memory; };
    sessions.detach = [this](uint32_t id) { attached_.erase(id); };
    auto files = SessionFiles::Open(std::move(sessions));
    ASSERT_TRUE(files.ok()) << files.status().ToString();
    sessions_ = std::move(*files);
    AttachServerOptions options;
    options.path = region_->attach_path();
    options.group = region_->group();
    options.node = 3;
    options.incarnation = kIncarnation;
    options.region_fd = region_->read_only_fd();
    options.region_bytes = region.plan.region_bytes;
    options.disk_directory = disk_directory_;
    options.sessions = sessions_.get();
    auto server = AttachServer::Open(options);
    ASSERT_TRUE(server.ok()) << server.status().ToString();
    server_ = std::move(*server);
  }
  void Stop() {
    server_.reset();
    sessions_.reset();
    region_.reset();
    attached_.clear();
  }

  // Serves until the child says something, or has ended (0).
  char Serve(const Child& child) {
    while (true) {
      struct pollfd fds[2] = {{server_->fd(), POLLIN, 0}, {child.hear_fd(), POLLIN, 0}};
      ::poll(fds, 2, -1);
      if (fds[0].revents != 0) server_->OnReadable(now_);
      if (fds[1].revents != 0) return child.Hear();
    }
  }
  // A process that attaches, says whether it could ('a', or the digit of its status's code), and
  // waits.
  std::unique_ptr<Child> Client() {
    return std::make_unique<Child>([path = directory_.node() + "/attach.sock"](Child& parent) {
      auto attachment = AttachLocal({.path = path, .timeout = 20s, .populate = true});
      if (!attachment.ok()) {
        parent.Say(static_cast<char>('0' + static_cast<int>(attachment.status().code())));
        return 1;
      }
      bool right = (*attachment)->node() == 3 && (*attachment)->incarnation() == kIncarnation;
      parent.Say(right ? 'a' : 'w');
      parent.Hear();
      return 0;
    });
  }
  Fd Connect() {
    Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    auto address = AttachAddress(directory_.node() + "/attach.sock");
    EXPECT_EQ(
        ::connect(socket.get(), reinterpret_cast<struct sockaddr*>(&*address), sizeof(*address)),
        0);
    return socket;
  }
  // What the daemon answers to these bytes; code 255 when it closes without a word.
  static AttachReply Answer(int socket) {
    AttachReply reply;
    reply.code = 255;
    static_cast<void>(::recv(socket, &reply, sizeof(reply), MSG_DONTWAIT));
    return reply;
  }
  AttachReply Exchange(int socket, const void* bytes, size_t size) {
    EXPECT_EQ(::send(socket, bytes, size, MSG_NOSIGNAL), static_cast<ssize_t>(size));
    server_->OnReadable(now_);  // accepts
    server_->OnReadable(now_);  // reads
    return Answer(socket);
  }

  TestDirectory directory_;
  std::string disk_directory_;
  Time now_{1'000'000};
  std::map<uint32_t, ByteSpan> attached_;
  std::unique_ptr<RegionFile> region_;
  std::unique_ptr<SessionFiles> sessions_;
  std::unique_ptr<AttachServer> server_;
};

std::string Text(const AttachReply& reply) { return std::string(reply.text, reply.text_bytes); }
Code CodeOf(const AttachReply& reply) { return static_cast<Code>(reply.code); }

TEST_F(AttachTest, ClientAttachesAndItsDeathIsSeen) {
  Start();
  auto client = Client();
  EXPECT_EQ(Serve(*client), 'a');
  EXPECT_EQ(attached_.size(), 1u);
  EXPECT_EQ(server_->pending(), 0u);
  sessions_->Sweep(now_ + 3600s);
  EXPECT_EQ(attached_.size(), 1u);
  client->Kill();
  sessions_->Sweep(now_);
  EXPECT_EQ(attached_.size(), 0u);
}

TEST_F(AttachTest, AClientIsToldWhereTheSegmentsOnDiskAre) {
  const std::string longest(kAttachTextBytes, 'd');
  for (const std::string& directory :
       {std::string(), std::string("/mnt/disk"), longest, longest + "d"}) {
    disk_directory_ = directory;
    Start();
    const std::string told = directory.size() > kAttachTextBytes ? std::string() : directory;
    Child client([told, path = region_->attach_path()](Child& parent) {
      auto attachment = AttachLocal({.path = path, .timeout = 20s, .populate = true});
      parent.Say(attachment.ok() && (*attachment)->disk_directory() == told ? 't' : 'x');
      return static_cast<int>(parent.Hear());
    });
    EXPECT_EQ(Serve(client), 't') << directory;
    client.Kill();
    Stop();
  }
}

TEST_F(AttachTest, AttachmentGivenBackFreesTheSession) {
  Start();
  Child client([path = region_->attach_path()](Child& parent) {
    auto attachment = AttachLocal({.path = path, .timeout = 20s, .populate = true});
    if (!attachment.ok()) return 1;
    attachment->reset();
    parent.Say('r');
    return static_cast<int>(parent.Hear());
  });
  EXPECT_EQ(Serve(client), 'r');
  sessions_->Sweep(now_);
  EXPECT_EQ(attached_.size(), 0u);
}

TEST_F(AttachTest, SessionsLiveThroughARestart) {
  Start();
  auto first = Client();
  EXPECT_EQ(Serve(*first), 'a');
  auto second = Client();
  EXPECT_EQ(Serve(*second), 'a');
  second->Kill();
  Stop();
  Start();
  EXPECT_TRUE(region_->reused());
  EXPECT_EQ(attached_.size(), 1u);
  auto third = Client();
  EXPECT_EQ(Serve(*third), 'a');
  EXPECT_EQ(attached_.size(), 2u);
}

// In a child the attachment is nobody's: destroying it there takes nothing from the parent.
TEST_F(AttachTest, ForkedChildLeavesTheSessionAlone) {
  Start();
  Child client([path = region_->attach_path()](Child& parent) {
    auto attachment = AttachLocal({.path = path, .timeout = 20s, .populate = true});
    if (!attachment.ok() || ForkCounter()->load() != 0) return 1;
    pid_t child = ::fork();
    if (child == 0) {
      attachment->reset();
      ::_exit(ForkCounter()->load() == 1 ? 0 : 1);
    }
    int status = 1;
    ::waitpid(child, &status, 0);
    parent.Say(status == 0 ? 'f' : 'x');
    return static_cast<int>(parent.Hear());
  });
  EXPECT_EQ(Serve(client), 'f');
  sessions_->Sweep(now_);
  EXPECT_EQ(attached_.size(), 1u);
}

TEST_F(AttachTest, NoDaemon) {
  LocalAttachOptions options{.path = directory_.node() + "/attach.sock", .timeout = 1s};
  Status none = AttachLocal(options).status();
  EXPECT_EQ(none.code(), Code::kUnavailable);
  EXPECT_NE(none.message().find(options.path), std::string::npos) << none.message();
  options.path = std::string(200, 'x');
  EXPECT_EQ(AttachLocal(options).status().code(), Code::kInvalid);
}

TEST_F(AttachTest, DaemonThatDoesNotAnswer) {
  Start();
  LocalAttachOptions options{.path = region_->attach_path(), .timeout = 10ms};
  EXPECT_EQ(AttachLocal(options).status().code(), Code::kTimeout);
}

TEST_F(AttachTest, GarbageGetsATextAndNoMore) {
  Start();
  std::string garbage(1000, 'g');
  for (size_t size : {size_t{1}, size_t{15}, size_t{16}, size_t{17}, size_t{64}, garbage.size()}) {
    Fd socket = Connect();
    AttachReply reply = Exchange(socket.get(), garbage.data(), size);
    EXPECT_EQ(CodeOf(reply), Code::kCorrupt) << size;
    EXPECT_EQ(Text(reply), "this is not an attach message");
  }
  EXPECT_EQ(server_->pending(), 0u);
  auto client = Client();
  EXPECT_EQ(Serve(*client), 'a');
}

TEST_F(AttachTest, AnotherVersionIsToldBoth) {
  Start();
  AttachRequest request;
  request.version = 9;
  request.layout_version = kLayoutVersion;
  Fd socket = Connect();
  AttachReply reply = Exchange(socket.get(), &request, sizeof(request));
  EXPECT_EQ(CodeOf(reply), Code::kInvalid);
  EXPECT_NE(Text(reply).find("attach version 1 "), std::string::npos) << Text(reply);
  EXPECT_NE(Text(reply).find("the client 9 "), std::string::npos) << Text(reply);
  EXPECT_EQ(server_->pending(), 0u);
}

TEST_F(AttachTest, ConfirmingWithoutTheLockOrForAnother) {
  Start();
  AttachRequest request;
  request.layout_version = kLayoutVersion;
  AttachLocked locked;
  for (uint32_t session : {1u, 2u}) {
    Fd socket = Connect();
    AttachReply reply = Exchange(socket.get(), &request, sizeof(request));
    ASSERT_EQ(CodeOf(reply), Code::kOk) << Text(reply);
    EXPECT_EQ(reply.session, 1u);
    EXPECT_EQ(reply.session_bytes, SessionBytes(SmallPlan().segments));
    locked.session = session;
    EXPECT_EQ(CodeOf(Exchange(socket.get(), &locked, sizeof(locked))), Code::kInvalid);
    EXPECT_EQ(server_->pending(), 0u);
    EXPECT_TRUE(attached_.empty());
  }
}

TEST_F(AttachTest, HalfOpenConnectionsAreClosedInTime) {
  Start();
  Fd silent = Connect();
  Fd halfway = Connect();
  AttachRequest request;
  request.layout_version = kLayoutVersion;
  EXPECT_EQ(CodeOf(Exchange(halfway.get(), &request, sizeof(request))), Code::kOk);
  Fd gone = Connect();
  server_->OnReadable(now_);
  EXPECT_EQ(server_->pending(), 3u);
  gone.Reset();
  server_->OnReadable(now_);
  EXPECT_EQ(server_->pending(), 2u);
  server_->OnTick(now_ + kAttachWithin);
  EXPECT_EQ(server_->pending(), 2u);
  server_->OnTick(now_ + kAttachWithin + 1us);
  EXPECT_EQ(server_->pending(), 0u);
  EXPECT_TRUE(std::filesystem::is_empty(region_->session_directory()));
}

TEST_F(AttachTest, PendingConnectionsAreLimited) {
  Start();
  std::vector<Fd> sockets;
  for (size_t i = 0; i < kMaxPendingAttaches; ++i) {
    sockets.push_back(Connect());
    server_->OnReadable(now_);
  }
  Fd late = Connect();
  server_->OnReadable(now_);
  EXPECT_EQ(server_->pending(), kMaxPendingAttaches);
  EXPECT_EQ(CodeOf(Answer(late.get())), Code::kNoSpace);
  sockets.clear();
  server_->OnReadable(now_);
  EXPECT_EQ(server_->pending(), 0u);
}

TEST_F(AttachTest, OutOfDescriptorsIsSaidAndDoesNotSpin) {
  Start();
  Fd socket = Connect();
  struct rlimit before, none;
  ::getrlimit(RLIMIT_NOFILE, &before);
  none = before;
  none.rlim_cur = 0;
  ::setrlimit(RLIMIT_NOFILE, &none);
  server_->OnReadable(now_);
  ::setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_EQ(server_->pending(), 0u);
  auto client = Client();
  EXPECT_EQ(Serve(*client), 'a');
}

TEST_F(AttachTest, DescriptorsThatAClientSendsAreDropped) {
  Start();
  Fd socket = Connect();
  AttachRequest request;
  request.layout_version = kLayoutVersion;
  struct iovec part = {&request, sizeof(request)};
  alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  struct msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  struct cmsghdr* rights = CMSG_FIRSTHDR(&message);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof(int));
  int pipes[2];
  ASSERT_EQ(::pipe(pipes), 0);
  std::memcpy(CMSG_DATA(rights), &pipes[1], sizeof(int));
  ASSERT_GT(::sendmsg(socket.get(), &message, 0), 0);
  ::close(pipes[1]);
  server_->OnReadable(now_);
  server_->OnReadable(now_);
  EXPECT_EQ(CodeOf(Answer(socket.get())), Code::kOk);
  char byte;
  EXPECT_EQ(::read(pipes[0], &byte, 1), 0);  // nobody holds the writing end any more
  ::close(pipes[0]);
}

// Needs two users, so it says something only as root; elsewhere the one user there is may attach.
TEST_F(AttachTest, StrangersAreDeniedAndMembersOfTheGroupAreNot) {
  const gid_t group = 54321;
  bool root = ::geteuid() == 0;
  Start(root ? std::to_string(group) : "");
  auto as = [&](std::vector<gid_t> groups) {
    return std::make_unique<Child>([this, groups, root](Child& parent) {
      if (root && (::setgroups(groups.size(), groups.data()) != 0 || ::setgid(kStranger) != 0 ||
                   ::setuid(kStranger) != 0)) {
        return 1;
      }
      auto attachment = AttachLocal({.path = region_->attach_path(), .timeout = 20s});
      parent.Say(static_cast<char>('0' + static_cast<int>(attachment.status().code())));
      return static_cast<int>(parent.Hear());
    });
  };
  std::filesystem::permissions(directory_.path(), std::filesystem::perms(0755));
  auto member = as({group});
  EXPECT_EQ(Serve(*member), '0');
  auto stranger = as({});
  EXPECT_EQ(Serve(*stranger), root ? '3' : '0');
  // One whom the file's mode lets through is still asked who he is.
  std::filesystem::permissions(directory_.node(), std::filesystem::perms(0755));
  std::filesystem::permissions(region_->attach_path(), std::filesystem::perms(0777));
  auto insistent = as({});
  EXPECT_EQ(Serve(*insistent), root ? '3' : '0');
}

// A daemon that says it sends more memory than the file has would end its client with SIGBUS.
TEST_F(AttachTest, SizesThatAreNotTheFilesAreRefused) {
  Start();
  server_.reset();
  AttachServerOptions options;
  options.path = region_->attach_path();
  options.region_fd = region_->read_only_fd();
  options.region_bytes = region_->memory().size() + 4096;
  options.sessions = sessions_.get();
  server_ = std::move(*AttachServer::Open(options));
  auto client = Client();
  EXPECT_EQ(Serve(*client), '0' + static_cast<int>(Code::kCorrupt));
}

}  // namespace
}  // namespace holdfast::shm
