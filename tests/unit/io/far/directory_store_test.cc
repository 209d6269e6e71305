// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "base/uri.h"
#include "tests/unit/io/far/far_fixture.h"

namespace holdfast::far {
namespace {

namespace fs = std::filesystem;

class CollectingLog : public Log {
 public:
  void Write(LogLevel, std::string_view line) override {
    std::lock_guard lock(mutex_);
    lines_.emplace_back(line);
  }
  std::vector<std::string> lines() {
    std::lock_guard lock(mutex_);
    return lines_;
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> lines_;
};

class DirectoryStoreTest : public FarTest {
 protected:
  void SetUp() override {
    std::string path = (fs::temp_directory_path() / "holdfast-far-XXXXXX").string();
    ASSERT_NE(mkdtemp(path.data()), nullptr);
    root_ = fs::canonical(path).string();
    FarOptions options = QuickOptions();
    options.log = &log_;
    Open(options);
  }
  void TearDown() override {
    client_.reset();
    std::error_code ignored;
    fs::remove_all(root_, ignored);
  }
  void Put(const std::string& name, const std::string& text) {
    fs::create_directories(fs::path(root_ + "/" + name).parent_path());
    std::ofstream(root_ + "/" + name, std::ios::binary) << text;
  }
  std::string Uri(const std::string& name) const { return *CanonicalUri(root_ + "/" + name, ""); }
  std::string Prefix(const std::string& name = "") const {
    return *CanonicalPrefix(root_ + "/" + name, "");
  }
  // All pages, as names below the root.
  std::vector<std::string> ListAll(const std::string& prefix) {
    std::vector<std::string> names;
    std::string token;
    do {
      const auto page = List(prefix, token);
      EXPECT_TRUE(page.ok()) << page.status().ToString();
      if (!page.ok()) break;
      EXPECT_LE(page->entries.size(), 1000u);
      for (const FarEntry& entry : page->entries) {
        names.push_back(ParseCanonical(entry.uri)->path.substr(root_.size() + 1));
      }
      token = page->next;
    } while (!token.empty());
    return names;
  }

  std::string root_;
  CollectingLog log_;
};

TEST_F(DirectoryStoreTest, ReadsWholesAndRanges) {
  std::string text(700'000, ' ');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 31);
  Put("a b", text);
  const auto info = Head(Uri("a b"));
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info->size, text.size());
  const GetOutcome whole = GetWhole(Uri("a b"), text.size(), info->etag);
  ASSERT_TRUE(whole.status.ok()) << whole.status.ToString();
  EXPECT_EQ(AsText(whole.bytes), text);
  EXPECT_EQ(whole.info.etag, info->etag);
  const GetOutcome range = GetRange(Uri("a b"), 5, 300'000, info->etag);
  ASSERT_TRUE(range.status.ok());
  EXPECT_EQ(AsText(range.bytes), text.substr(5, 300'000));
  Put("empty", "");
  EXPECT_TRUE(GetWhole(Uri("empty"), 0).status.ok());
  const FarCounters counters = client_->Counters();
  EXPECT_EQ(counters.gets, 3u);
  EXPECT_EQ(counters.heads, 1u);
  EXPECT_EQ(counters.bytes, 1'000'000u);
  EXPECT_EQ(counters.money, 0);
}

TEST_F(DirectoryStoreTest, AnObjectOfWhichNothingIsKnownIsReadInOneOrTwo) {
  std::string text(700'000, ' ');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 31);
  Put("large", text);
  Put("empty", "");
  const GetOutcome first = GetRange(Uri("large"), 0, 300'000);
  ASSERT_TRUE(first.status.ok()) << first.status.ToString();
  EXPECT_EQ(AsText(first.bytes), text.substr(0, 300'000));
  EXPECT_EQ(first.info.size, text.size());
  const GetOutcome all = GetRest(Uri("large"), first.bytes, text.size(), first.info.etag);
  ASSERT_TRUE(all.status.ok()) << all.status.ToString();
  EXPECT_EQ(AsText(all.bytes), text);
  EXPECT_EQ(client_->Counters().bytes, text.size());
  const GetOutcome at_once = GetRange(Uri("large"), 0, 1'000'000);
  EXPECT_EQ(AsText(at_once.bytes), text);
  EXPECT_EQ(at_once.info.etag, first.info.etag);
  const GetOutcome empty = GetRange(Uri("empty"), 0, 1'000'000);
  ASSERT_TRUE(empty.status.ok()) << empty.status.ToString();
  EXPECT_EQ(empty.info.size, 0u);
  Put("large", text + "longer");
  EXPECT_EQ(GetRest(Uri("large"), first.bytes, text.size(), first.info.etag).status.code(),
            Code::kChanged);
  EXPECT_EQ(client_->Counters().heads, 0u);
}

TEST_F(DirectoryStoreTest, AVersionIsTimeAndSize) {
  Put("f", "one");
  const std::string etag = Head(Uri("f"))->etag;
  const timespec times[2] = {{1000, 5}, {1000, 5}};
  ASSERT_EQ(utimensat(AT_FDCWD, (root_ + "/f").c_str(), times, 0), 0);
  EXPECT_EQ(Head(Uri("f"))->etag, "e8d4a51005-3");
  EXPECT_EQ(GetWhole(Uri("f"), 3, etag).status.code(), Code::kChanged);
  EXPECT_TRUE(GetWhole(Uri("f"), 3, "e8d4a51005-3").status.ok());
  EXPECT_EQ(GetWhole(Uri("f"), 4).status.code(), Code::kChanged);
  EXPECT_EQ(GetWhole(Uri("f"), 2).status.code(), Code::kChanged);
  EXPECT_EQ(AsText(GetRange(Uri("f"), 2, 2).bytes), "e");
  EXPECT_EQ(GetRange(Uri("f"), 3, 1).status.code(), Code::kChanged);
  EXPECT_EQ(GetRange(Uri("f"), 4, 1).status.code(), Code::kChanged);
}

TEST_F(DirectoryStoreTest, WhatIsNoObjectIsAnError) {
  Put("d/f", "x");
  ASSERT_EQ(mkfifo((root_ + "/fifo").c_str(), 0600), 0);
  EXPECT_EQ(GetWhole(Uri("none"), 1).status.code(), Code::kNotFound);
  EXPECT_EQ(GetWhole(Uri("d/f/g"), 1).status.code(), Code::kNotFound);
  EXPECT_EQ(GetWhole(Uri("d"), 1).status.code(), Code::kInvalid);
  EXPECT_EQ(GetWhole(Uri("fifo"), 1).status.code(), Code::kInvalid);
  EXPECT_EQ(Head(Uri("d")).status().code(), Code::kInvalid);
  EXPECT_EQ(Head(Uri("none")).status().code(), Code::kNotFound);
  EXPECT_NE(Head(Uri("none")).status().message().find(root_ + "/none"), std::string::npos);
  EXPECT_EQ(Head(Uri("d/f"), client_->options().now() - 1ms).status().code(), Code::kTimeout);
}

// To open a device can do something (rewind a tape, arm a watchdog), to open a FIFO lets its writer
// go on.
TEST_F(DirectoryStoreTest, WhatIsNoObjectIsNotEvenOpened) {
  ASSERT_EQ(mkfifo((root_ + "/fifo").c_str(), 0600), 0);
  const int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  ASSERT_GE(inotify_add_watch(watch, (root_ + "/fifo").c_str(), IN_OPEN), 0);
  EXPECT_EQ(GetWhole(Uri("fifo"), 1).status.code(), Code::kInvalid);
  EXPECT_EQ(Head(Uri("fifo")).status().code(), Code::kInvalid);
  inotify_event event{};
  EXPECT_LT(read(watch, &event, sizeof(event)), 0) << "it was opened";
  close(watch);
}

TEST_F(DirectoryStoreTest, ASocketIsNoObjectHoweverOftenItIsTried) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  (root_ + "/socket").copy(address.sun_path, sizeof(address.sun_path) - 1);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_EQ(GetWhole(Uri("socket"), 1).status.code(), Code::kInvalid);
  close(fd);
}

// A callback owns what it captured; the thread that read had a copy, and was often the last to have
// one.
TEST_F(DirectoryStoreTest, CallbacksEndOnTheDecidingThread) {
  Put("f", "x");
  const std::thread::id deciding = std::this_thread::get_id();
  std::atomic<int> elsewhere = 0;
  std::atomic<int> ended = 0;
  std::vector<std::byte> bytes(1);
  constexpr int kCalls = 2000;
  for (int i = 0; i < kCalls; ++i) {
    const std::shared_ptr<int> owned(new int(i), [&](int* number) {
      if (std::this_thread::get_id() != deciding) ++elsewhere;
      delete number;
      ++ended;
    });
    FarGet get;
    get.uri = Uri("f");
    get.length = 1;
    get.into = bytes;
    bool done = false;
    client_->Get(std::move(get), [&done, owned](Status, FarInfo, uint64_t) { done = true; });
    thread_.RunUntil([&] { return done; });
  }
  client_.reset();
  EXPECT_EQ(ended, kCalls);
  EXPECT_EQ(elsewhere, 0);
}

TEST_F(DirectoryStoreTest, ListsInTheOrderOfWholePaths) {
  for (const char* name : {"a-b", "a0", "a/b-c/d", "a/b/c", "B", "a/\xc3\xa9", "a/ b"})
    Put(name, name);
  const std::vector<std::string> names = ListAll(Prefix());
  EXPECT_EQ(names,
            (std::vector<std::string>{"B", "a-b", "a/ b", "a/b-c/d", "a/b/c", "a/\xc3\xa9", "a0"}));
  EXPECT_EQ(ListAll(Prefix("a/")),
            (std::vector<std::string>{"a/ b", "a/b-c/d", "a/b/c", "a/\xc3\xa9"}));
  EXPECT_EQ(ListAll(Prefix("a")), ListAll(Prefix("a/")))
      << "a directory's name means what is in it";
  EXPECT_EQ(ListAll(Prefix("a/b")), ListAll(Prefix("a/b/")));
  EXPECT_EQ(ListAll(Prefix("a/b-")), std::vector<std::string>{"a/b-c/d"});
  EXPECT_EQ(List(Prefix("none/")).status().code(), Code::kNotFound);
}

TEST_F(DirectoryStoreTest, PagesAgreeWithAModelAndTokensWorkAnew) {
  std::set<std::string> model;
  for (int i = 0; i < 2500; ++i) {
    const std::string name =
        "d" + std::to_string(i % 7) + (i % 3 == 0 ? "-x/" : "/") + std::to_string(i);
    Put(name, "x");
    model.insert(name);
  }
  EXPECT_EQ(ListAll(Prefix()), std::vector<std::string>(model.begin(), model.end()));
  // A client that was started meanwhile knows no walk; the token alone tells where to go on.
  const auto first = List(Prefix());
  ASSERT_TRUE(first.ok());
  ASSERT_EQ(first->entries.size(), 1000u);
  const std::string token = first->next;
  Open(QuickOptions());
  const auto second = List(Prefix(), token);
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(ParseCanonical(second->entries[0].uri)->path.substr(root_.size() + 1),
            *std::next(model.begin(), 1000));
}

TEST_F(DirectoryStoreTest, DelimitedListsNameDirectories) {
  for (const char* name : {"x/1", "x/2", "y/z/3", "f"}) Put(name, "x");
  const auto page = List(Prefix(), "", true);
  ASSERT_TRUE(page.ok());
  ASSERT_EQ(page->entries.size(), 1u);
  EXPECT_EQ(page->entries[0].uri, Uri("f"));
  EXPECT_EQ(page->prefixes, (std::vector<std::string>{Prefix("x/"), Prefix("y/")}));
}

TEST_F(DirectoryStoreTest, LinksCountOnlyIfTheyStayInside) {
  Put("in/f", "inside");
  Put("real", "x");
  fs::create_symlink(root_ + "/real", root_ + "/in/outward");
  fs::create_symlink("f", root_ + "/in/inward");
  fs::create_symlink("..", root_ + "/in/up");
  fs::create_symlink("nowhere", root_ + "/in/dangling");
  ASSERT_EQ(mkfifo((root_ + "/in/fifo").c_str(), 0600), 0);
  EXPECT_EQ(ListAll(Prefix("in/")), (std::vector<std::string>{"in/f", "in/inward"}));
  EXPECT_EQ(AsText(GetWhole(Uri("in/inward"), 6).bytes), "inside");
}

TEST_F(DirectoryStoreTest, UnreadableDirectoriesAreReportedAndTheRestListed) {
  Put("open/f", "x");
  Put("shut/g", "x");
  fs::permissions(root_ + "/shut", fs::perms::none);
  if (access((root_ + "/shut").c_str(), R_OK) == 0) {
    // Root reads everything, so a directory that vanishes while it is walked stands in for it: a
    // page ends before it.
    fs::permissions(root_ + "/shut", fs::perms::owner_all);
    for (int i = 0; i < 1000; ++i) Put("open/x" + std::to_string(i), "x");
    const auto page = List(Prefix());
    ASSERT_FALSE(page->next.empty());
    fs::remove_all(root_ + "/shut");
    const auto rest = List(Prefix(), page->next);
    ASSERT_TRUE(rest.ok());
    EXPECT_EQ(rest->entries.size(), 1u);
  } else {
    EXPECT_EQ(ListAll(Prefix()), std::vector<std::string>{"open/f"});
    fs::permissions(root_ + "/shut", fs::perms::owner_all);
  }
  ASSERT_EQ(log_.lines().size(), 1u);
  EXPECT_NE(log_.lines()[0].find(root_ + "/shut"), std::string::npos);
}

TEST_F(DirectoryStoreTest, RootsAreALimit) {
  Put("in/f", "x");
  Put("out/g", "x");
  fs::create_symlink(root_ + "/out/g", root_ + "/in/link");
  FarOptions options = QuickOptions();
  options.directory_roots = {root_ + "/in/../in"};
  Open(options);
  EXPECT_TRUE(GetWhole(Uri("in/f"), 1).status.ok());
  EXPECT_EQ(GetWhole(Uri("out/g"), 1).status.code(), Code::kDenied);
  EXPECT_EQ(GetWhole(Uri("in/link"), 1).status.code(), Code::kDenied);
  EXPECT_EQ(Head(Uri("out/g")).status().code(), Code::kDenied);
  EXPECT_TRUE(List(Prefix("in/")).ok());
  EXPECT_EQ(List(Prefix("out/")).status().code(), Code::kDenied);
  EXPECT_EQ(List(Prefix()).status().code(), Code::kDenied);
}

}  // namespace
}  // namespace holdfast::far
