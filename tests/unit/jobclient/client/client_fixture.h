// SPDX-License-Identifier: Apache-2.0
// A client over real daemons: processes of their own on loopback, over a directory of files.
#pragma once

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
#include "holdfast/client.h"

extern char** environ;

namespace holdfast {

namespace fs = std::filesystem;

// A port that was free a moment ago.
inline int FreePort() {
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

}  // namespace holdfast
