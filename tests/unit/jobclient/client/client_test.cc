// SPDX-License-Identifier: Apache-2.0
// The client library against real daemons: processes of their own on loopback, over a directory.
#include "holdfast/client.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <mutex>
#include <set>
#include <thread>

#include "base/random.h"

extern char** environ;

namespace holdfast {
namespace {

namespace fs = std::filesystem;

// A port that was free a moment ago.
int FreePort() {
  int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  HF_CHECK(::bind(fd, reinterpret_cast<sockaddr*>(&address), length) == 0);
  HF_CHECK(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0);
  ::close(fd);
  return ntohs(address.sin_port);
}

// What the client said, for whoever reads about a failed test.
class Lines : public Log {
 public:
  void Write(LogLevel, std::string_view line) override {
    std::lock_guard lock(mutex_);
    lines_.append(line).append("\n");
  }
  std::string all() {
    std::lock_guard lock(mutex_);
    return lines_;
  }

 private:
  std::mutex mutex_;
  std::string lines_;
};

class ClientTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/dev/shm/holdfast-client-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    root = name;
    fs::create_directory(root / "data");
  }

  void TearDown() override {
    client.reset();
    for (size_t node = 0; node < pids.size(); ++node) Kill(node, SIGTERM);
    if (HasFailure()) {
      std::cerr << lines.all();
      for (size_t node = 0; node < pids.size(); ++node) {
        std::cerr << std::ifstream(root / ("node" + std::to_string(node) + ".log")).rdbuf();
      }
    }
    for (size_t node = 0; node < pids.size(); ++node) {
      // A killed daemon leaves its memory, and the mount that it lies on, for the next one.
      ::umount2((StateOf(node) + "/memory").c_str(), MNT_DETACH);
      fs::remove_all(StateOf(node));
    }
    fs::remove_all(root);
  }

  std::string StateOf(size_t node) const {
    return "/dev/shm/" + root.filename().string() + "-" + std::to_string(node);
  }

  void StartCluster(size_t nodes) {
    for (size_t i = 0; i < nodes; ++i)
      control.push_back("tcp://127.0.0.1:" + std::to_string(FreePort()));
    for (size_t i = 0; i < nodes; ++i) {
      std::ofstream config(root / ("node" + std::to_string(i) + ".toml"));
      config << "id = " << i << "\ncluster = \"test\"\ncontrol = \"" << control[i]
             << "\"\nbulk = \"tcp://127.0.0.1:0\"\n"
             << "state_directory = \"" << StateOf(i)
             << "\"\n[memory]\nlimit = \"64MiB\"\nhuge_pages = \"off\"\n";
      for (size_t k = 0; k < nodes; ++k)
        config << "[[node]]\nid = " << k << "\ncontrol = \"" << control[k] << "\"\n";
      config.close();
      pids.push_back(Spawn(i));
    }
    for (size_t i = 0; i < nodes; ++i) {
      for (int tries = 0; !fs::exists(StateOf(i) + "/attach.sock") && tries < 1000; ++tries) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      }
    }
  }

  pid_t Spawn(size_t node) {
    std::string config = root / ("node" + std::to_string(node) + ".toml");
    std::string log = root / ("node" + std::to_string(node) + ".log");
    const char* argv[] = {CACHED_PROGRAM, "--config", config.c_str(), nullptr};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 2, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    pid_t pid = 0;
    HF_CHECK(::posix_spawn(&pid, CACHED_PROGRAM, &actions, nullptr, const_cast<char**>(argv),
                           environ) == 0);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
  }

  void Kill(size_t node, int signal) {
    if (pids[node] == 0) return;
    ::kill(pids[node], signal);
    ::waitpid(pids[node], nullptr, 0);
    pids[node] = 0;
  }

  void Connect(bool attach) {
    ClientOptions options;
    options.cluster = "test";
    for (size_t i = 0; i < control.size(); ++i)
      options.nodes.push_back({static_cast<NodeId>(i), control[i]});
    if (attach) options.attach = StateOf(0) + "/attach.sock";
    options.far.aws_settings = false;
    options.log = &lines;
    Result<std::unique_ptr<Client>> connected = Client::Connect(options);
    ASSERT_TRUE(connected.ok()) << connected.status().ToString();
    client = std::move(*connected);
  }

  // Files of random bytes; the first is empty, the second larger than a segment.
  ObjectList MakeFiles(size_t count) {
    Random random(count);
    ObjectList list;
    for (size_t i = 0; i < count; ++i) {
      fs::path path =
          root / "data" / ("part" + std::to_string(i % 7)) / ("a b+" + std::to_string(i));
      fs::create_directories(path.parent_path());
      std::string bytes(i == 0 ? 0 : i == 1 ? 3'000'000 : random.Below(20'000), '\0');
      for (char& c : bytes) c = static_cast<char>(random.Next());
      std::ofstream(path, std::ios::binary) << bytes;
      contents.push_back(bytes);
      HF_CHECK(list.Add(path.string()).ok());
    }
    return list;
  }

  std::unique_ptr<PlannedJob> Plan(ObjectList list, PlanOptions options = {}) {
    Result<std::unique_ptr<PlannedJob>> job = client->Plan(std::move(list), std::move(options));
    EXPECT_TRUE(job.ok()) << job.status().ToString();
    return job.ok() ? std::move(*job) : nullptr;
  }

  ReaderReport ReadAll(PlannedJob& job, std::vector<uint32_t> order, ReaderOptions options = {}) {
    options.order = order;
    auto reader = job.Read(std::move(options));
    HF_CHECK(reader.ok());
    for (uint32_t position : order) {
      Result<std::optional<Object>> object = (*reader)->Next();
      EXPECT_TRUE(object.ok()) << object.status().ToString();
      if (!object.ok()) continue;
      EXPECT_TRUE(object->has_value());
      EXPECT_EQ((*object)->position(), position);
      EXPECT_EQ((*object)->name(), job.list().item(position).uri);
      EXPECT_EQ((*object)->text(), contents[position]) << position;
    }
    Result<std::optional<Object>> end = (*reader)->Next();
    EXPECT_TRUE(end.ok() && !end->has_value());
    return (*reader)->Report();
  }

  Lines lines;
  fs::path root;
  std::vector<std::string> control;
  std::vector<pid_t> pids;
  std::unique_ptr<Client> client;
  std::vector<std::string> contents;
};

TEST_F(ClientTest, ReadsEveryByteInTwoEpochs) {
  StartCluster(3);
  Connect(true);
  EXPECT_EQ(client->own_node(), NodeId{0});
  uint64_t looked_up = 0;
  PlanOptions options;
  options.order = ShuffledOrder(500, 1, 0);
  options.progress = [&](uint64_t done, uint64_t) { looked_up = done; };
  auto job = Plan(MakeFiles(500), std::move(options));
  ASSERT_NE(job, nullptr);
  EXPECT_EQ(looked_up, 500u);
  EXPECT_EQ(job->planned().objects, 500u);
  EXPECT_EQ(job->planned().load_objects, 499u);
  EXPECT_EQ(job->planned().too_large_objects, 1u);
  ReaderReport first = ReadAll(*job, ShuffledOrder(500, 1, 0));
  EXPECT_EQ(first.failed, 0u);
  ASSERT_TRUE(job->WaitForLoads(10s));
  ReaderReport second = ReadAll(*job, ShuffledOrder(500, 1, 1));
  EXPECT_EQ(second.objects[0] + second.objects[1], 499u);
  EXPECT_GT(second.objects[0], 100u);
  EXPECT_EQ(job->Progress().loads_done, 499u);
}

TEST_F(ClientTest, ReadsWithoutAnOwnNodeAndWithoutAnyNode) {
  StartCluster(2);
  Connect(false);
  auto job = Plan(MakeFiles(200));
  ASSERT_NE(job, nullptr);
  ReaderReport report = ReadAll(*job, ShuffledOrder(200, 5, 0));
  EXPECT_EQ(report.objects[0], 0u);
  job.reset();
  client.reset();
  for (size_t node : {size_t{0}, size_t{1}}) Kill(node, SIGKILL);
  control.clear();
  Connect(false);
  ObjectList list;
  for (const auto& entry : fs::recursive_directory_iterator(root / "data")) {
    if (entry.path().filename() != "a b+5") continue;
    ASSERT_TRUE(list.Add(entry.path().string()).ok());
  }
  job = Plan(std::move(list));
  ASSERT_NE(job, nullptr);
  EXPECT_EQ(job->planned().far_objects, 1u);
  auto reader = job->Read();
  ASSERT_TRUE(reader.ok());
  Result<std::optional<Object>> object = (*reader)->Next();
  ASSERT_TRUE(object.ok() && object->has_value());
  EXPECT_EQ((*object)->text(), contents[5]);
  EXPECT_EQ((*object)->source(), ObjectSource::kFar);
  EXPECT_EQ(client->Spent().gets, 1u);
}

TEST_F(ClientTest, ANodeThatDiesCostsNoRead) {
  StartCluster(3);
  Connect(true);
  auto job = Plan(MakeFiles(800));
  ASSERT_NE(job, nullptr);
  ASSERT_TRUE(job->WaitForLoads(10s));
  ReaderOptions options;
  options.look_ahead_objects = 32;
  for (uint32_t i = 0; i < 800; ++i) options.order.push_back(i);
  auto reader = job->Read(options);
  ASSERT_TRUE(reader.ok());
  for (uint32_t i = 0; i < 800; ++i) {
    if (i == 200) Kill(2, SIGKILL);
    Result<std::optional<Object>> object = (*reader)->Next();
    ASSERT_TRUE(object.ok()) << object.status().ToString();
    EXPECT_EQ((*object)->text(), contents[i]);
  }
  EXPECT_EQ((*reader)->Report().failed, 0u);
  EXPECT_EQ(job->Report().nodes[2].loads, 0u);
}

TEST_F(ClientTest, SeveralReadersAtOnce) {
  StartCluster(2);
  Connect(true);
  auto job = Plan(MakeFiles(300));
  ASSERT_NE(job, nullptr);
  std::vector<std::thread> ranks;
  for (uint64_t rank = 0; rank < 4; ++rank) {
    ranks.emplace_back([&, rank] { ReadAll(*job, ShuffledOrder(300, rank, 0)); });
  }
  for (std::thread& rank : ranks) rank.join();
}

TEST_F(ClientTest, GetsSingleObjectsThroughTheirHome) {
  StartCluster(2);
  Connect(true);
  ObjectList list = MakeFiles(20);
  for (size_t i = 0; i < 20; ++i) {
    std::string name(list.item(i).uri);
    Result<Object> object = client->Get(name);
    ASSERT_TRUE(object.ok()) << object.status().ToString();
    EXPECT_EQ(object->text(), contents[i]);
    EXPECT_TRUE(i == 1 || object->source() != ObjectSource::kFar);
    Result<Object> again = client->Get(name);
    ASSERT_TRUE(again.ok());
    EXPECT_EQ(again->text(), contents[i]);
  }
  EXPECT_EQ(client->Get((root / "data" / "none").string()).status().code(), Code::kNotFound);
  EXPECT_EQ(client->Get("relative/name").status().code(), Code::kInvalid);
  for (size_t node : {size_t{0}, size_t{1}}) Kill(node, SIGKILL);
  Result<Object> far = client->Get(std::string(list.item(7).uri));
  ASSERT_TRUE(far.ok()) << far.status().ToString();
  EXPECT_EQ(far->text(), contents[7]);
}

TEST_F(ClientTest, HoldsOutliveTheJobUntilTheyAreReleased) {
  StartCluster(2);
  Connect(true);
  PlanOptions options;
  options.hold = std::chrono::hours(1);
  auto job = Plan(MakeFiles(100), std::move(options));
  ASSERT_NE(job, nullptr);
  ASSERT_TRUE(job->WaitForLoads(10s));
  Status held = job->Hold();
  ASSERT_TRUE(held.ok()) << held.ToString();
  const JobId id = job->id();
  job.reset();
  const std::string prefix = (root / "data").string() + "/";
  Result<DropResult> dropped = client->DropPrefix(prefix);
  ASSERT_TRUE(dropped.ok()) << dropped.status().ToString();
  EXPECT_EQ(dropped->held_objects, 99u);
  EXPECT_EQ(dropped->dropped_objects, 0u);
  Status released = client->Release(id);
  ASSERT_TRUE(released.ok()) << released.ToString();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // the books are closed in slices
  Result<DropResult> one = client->DropObjects({prefix + "part2/a b+2"});
  ASSERT_TRUE(one.ok());
  EXPECT_EQ(one->dropped_objects, 1u);
  dropped = client->DropPrefix(prefix);
  ASSERT_TRUE(dropped.ok());
  EXPECT_EQ(dropped->dropped_objects, 98u);
  EXPECT_EQ(dropped->nodes, 2u);
}

TEST_F(ClientTest, SaysWhatANodeDoes) {
  StartCluster(1);
  Connect(false);
  Result<std::string> status = client->NodeStatus(0);
  ASSERT_TRUE(status.ok()) << status.status().ToString();
  EXPECT_TRUE(status->starts_with("{")) << *status;
  Status unknown = client->NodeStatus(9).status();
  EXPECT_EQ(unknown.code(), Code::kNotFound);
  EXPECT_NE(unknown.message().find("it has 0"), std::string::npos) << unknown.message();
  Kill(0, SIGKILL);
  EXPECT_EQ(client->NodeStatus(0, 200ms).status().code(), Code::kTimeout);
}

TEST_F(ClientTest, ListsADirectoryAsAList) {
  Connect(false);
  ObjectList files = MakeFiles(2500);
  uint64_t seen = 0;
  Result<ObjectList> listed =
      client->List((root / "data").string() + "/", [&](uint64_t n) { seen = n; });
  ASSERT_TRUE(listed.ok()) << listed.status().ToString();
  ASSERT_EQ(listed->size(), 2500u);
  EXPECT_EQ(seen, 2500u);
  ASSERT_TRUE(client->Resolve(&files).ok());
  std::set<std::string> expected, found;
  for (size_t i = 0; i < 2500; ++i) {
    ObjectList::Item file = files.item(i), entry = listed->item(i);
    expected.insert(std::string(file.uri) + " " + std::to_string(file.size) + " " +
                    std::string(file.etag));
    found.insert(std::string(entry.uri) + " " + std::to_string(entry.size) + " " +
                 std::string(entry.etag));
    EXPECT_TRUE(i == 0 || listed->item(i - 1).uri < entry.uri);
  }
  EXPECT_EQ(found, expected);
  EXPECT_FALSE(client->List((root / "nothing").string() + "/").ok());
}

TEST_F(ClientTest, NamesBecomeCanonicalWhereverTheyStand) {
  Connect(false);
  const auto write = [&](const char* name, const char* text) {
    const fs::path path = root / "data" / name;
    std::ofstream(path) << text;
    return path.string();
  };
  const std::string a = write("a", "1"), b = write("b b", "22"), c = write("c", "333");
  ObjectList list;
  ASSERT_TRUE(list.Add("file://" + a).ok());  // canonical already
  ASSERT_TRUE(list.Add(b).ok());
  ASSERT_TRUE(list.Add("file://" + c, 3, "given").ok());
  ASSERT_TRUE(client->Resolve(&list).ok());
  ASSERT_EQ(list.size(), 3u);
  EXPECT_EQ(list.item(0).uri, "file://" + a);
  EXPECT_EQ(list.item(1).uri, *client->Canonical(b));
  EXPECT_EQ(list.item(1).size, 2u);
  EXPECT_EQ(list.item(2).etag, "given");
  // What is added to a list that was resolved is looked at, too; what is there already stays.
  ASSERT_TRUE(list.Add((root / "data").string() + "/./a").ok());
  ASSERT_TRUE(client->Resolve(&list).ok());
  EXPECT_EQ(list.item(3).uri, "file://" + a);
  EXPECT_EQ(list.item(3).size, 1u);
  EXPECT_EQ(list.item(1).uri, *client->Canonical(b));
  EXPECT_EQ(list.item(2).etag, "given");
}

TEST_F(ClientTest, NamesWhatIsWrong) {
  Connect(false);
  ObjectList list = MakeFiles(3);
  ASSERT_TRUE(list.Add((root / "data" / "none").string()).ok());
  Status missing = client->Plan(list).status();
  EXPECT_EQ(missing.code(), Code::kNotFound);
  EXPECT_NE(missing.message().find("object 4"), std::string::npos) << missing.message();
  EXPECT_EQ(client->Plan({}).status().code(), Code::kInvalid);
  ObjectList relative;
  ASSERT_TRUE(relative.Add("a/b").ok());
  EXPECT_EQ(client->Plan(relative).status().code(), Code::kInvalid);
  PlanOptions short_lease;
  short_lease.lease = 1ms;
  EXPECT_EQ(client->Plan(MakeFiles(1), short_lease).status().code(), Code::kInvalid);
  auto job = Plan(MakeFiles(2));
  ASSERT_NE(job, nullptr);
  ReaderOptions outside;
  outside.order = {2};
  EXPECT_EQ(job->Read(outside).status().code(), Code::kInvalid);
}

TEST_F(ClientTest, AnObjectThatChangedIsAnErrorOfItsOwn) {
  Connect(false);
  auto job = Plan(MakeFiles(4));
  ASSERT_NE(job, nullptr);
  std::ofstream(root / "data" / "part2" / "a b+2") << "new";
  auto reader = job->Read();
  ASSERT_TRUE(reader.ok());
  std::vector<Code> codes;
  for (int i = 0; i < 4; ++i) codes.push_back((*reader)->Next().status().code());
  EXPECT_EQ(codes, (std::vector<Code>{Code::kOk, Code::kOk, Code::kChanged, Code::kOk}));
}

TEST_F(ClientTest, RefusesOptionsThatCannotBe) {
  ClientOptions options;
  options.nodes = {{1, "tcp://127.0.0.1:1"}, {1, "tcp://127.0.0.1:2"}};
  EXPECT_EQ(Client::Connect(options).status().code(), Code::kInvalid);
  options.nodes = {{1, ""}};
  EXPECT_EQ(Client::Connect(options).status().code(), Code::kInvalid);
  options.nodes.clear();
  options.attach = (root / "none.sock").string();
  EXPECT_EQ(Client::Connect(options).status().code(), Code::kUnavailable);
  options.attach.clear();
  options.cluster_key_file = (root / "none.key").string();
  EXPECT_EQ(Client::Connect(options).status().code(), Code::kNotFound);
}

TEST_F(ClientTest, ReadsItsConfiguration) {
  std::ofstream(root / "good.toml")
      << "cluster = \"x\"\nattach = \"/run/a.sock\"\n[far]\nregion = \"eu\"\n"
         "[[node]]\nid = 3\ncontrol = \"tcp://h:1\"\n";
  Result<ClientOptions> options = LoadClientOptions((root / "good.toml").string());
  ASSERT_TRUE(options.ok()) << options.status().ToString();
  EXPECT_EQ(options->cluster, "x");
  EXPECT_EQ(options->attach, "/run/a.sock");
  EXPECT_EQ(options->far.region, "eu");
  ASSERT_EQ(options->nodes.size(), 1u);
  EXPECT_EQ(options->nodes[0].id, 3);
  ::setenv("HOLDFAST_CLIENT_CLUSTER", "from outside", 1);
  EXPECT_EQ(LoadClientOptions((root / "good.toml").string())->cluster, "from outside");
  ::unsetenv("HOLDFAST_CLIENT_CLUSTER");
  std::ofstream(root / "bad.toml") << "cluster = \"x\"\nclutser = 1\n";
  Status bad = LoadClientOptions((root / "bad.toml").string()).status();
  EXPECT_EQ(bad.code(), Code::kInvalid);
  EXPECT_NE(bad.message().find("clutser"), std::string::npos);
  EXPECT_NE(bad.message().find("cluster_key_file"), std::string::npos) << bad.message();
  std::ofstream(root / "twice.toml")
      << "[[node]]\nid = 3\ncontrol = \"a\"\n[[node]]\nid = 3\ncontrol = \"b\"\n";
  EXPECT_EQ(LoadClientOptions((root / "twice.toml").string()).status().code(), Code::kInvalid);
}

TEST(ShuffledOrder, DependsOnSeedAndEpochAlone) {
  std::vector<uint32_t> order = ShuffledOrder(100, 1, 0);
  EXPECT_EQ(order, ShuffledOrder(100, 1, 0));
  EXPECT_NE(order, ShuffledOrder(100, 1, 1));
  EXPECT_NE(order, ShuffledOrder(100, 2, 0));
  EXPECT_EQ(std::set<uint32_t>(order.begin(), order.end()).size(), 100u);
}

}  // namespace
}  // namespace holdfast
