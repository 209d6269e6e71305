// SPDX-License-Identifier: Apache-2.0
#include "jobclient/cli/local_cluster.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <thread>

namespace holdfast::cli {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr auto kStartTimeout = 60s;  // preallocating much memory takes time
constexpr auto kStopTimeout = 10s;
constexpr int kDaemonUsage = 2;  // the exit code of `cached` for a wrong configuration

std::string PathOf(const std::string& directory, uint16_t node, const char* suffix) {
  return directory + "/node-" + std::to_string(node) + suffix;
}

bool IsFree(uint16_t port) {
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  bool free = ::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  ::close(fd);
  return free;
}

// Ports that nobody listens on now, all different. Below those that the kernel gives to outgoing connections, which would
// often take one before the daemon does; should another program do so, the daemon says it.
std::vector<uint16_t> FreePorts(size_t count) {
  constexpr uint16_t kFirst = 10'240, kRange = 20'000;
  constexpr int kTries = 10'000;
  std::random_device entropy;
  std::vector<uint16_t> ports;
  for (int i = 0; i < kTries && ports.size() < count; ++i) {
    auto port = static_cast<uint16_t>(kFirst + entropy() % kRange);
    if (std::find(ports.begin(), ports.end(), port) == ports.end() && IsFree(port))
      ports.push_back(port);
  }
  return ports;
}

Status WriteFile(const std::string& path, const std::string& text) {
  std::ofstream out(path, std::ios::trunc);
  out << text;
  out.close();
  if (out) return {};
  return Status::Unavailable("cannot write \"" + path + "\": " + std::strerror(errno));
}

std::string ReadFile(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string LastLine(const std::string& text) {
  size_t end = text.find_last_not_of('\n');
  if (end == std::string::npos) return "it said nothing";
  size_t begin = text.rfind('\n', end);
  return text.substr(begin == std::string::npos ? 0 : begin + 1,
                     end - (begin == std::string::npos ? 0 : begin + 1) + 1);
}

// Is `pid` a process whose program is `cached`? Numbers are used again; a file may be old.
bool IsDaemon(int pid) {
  if (pid <= 0 || ::kill(pid, 0) != 0) return false;
  std::string name = ReadFile("/proc/" + std::to_string(pid) + "/comm");
  return name.rfind("cached", 0) == 0;
}

std::string StateDirectory(const std::string& directory, uint16_t node) {
  // On /dev/shm: the memory lives there. Named after the directory, so that two clusters keep apart.
  std::string name = directory;
  std::replace(name.begin(), name.end(), '/', '-');
  return "/dev/shm/holdfast" + name + "-" + std::to_string(node);
}

// What a daemon that was killed has left: memory, as much as it had.
void RemoveState(const std::string& state) {
  ::umount2((state + "/memory").c_str(), MNT_DETACH);
  std::error_code ignored;
  fs::remove_all(state, ignored);
}

struct Addresses {
  std::vector<uint16_t> control;
};

std::string Members(const Addresses& addresses) {
  std::string text;
  for (size_t i = 0; i < addresses.control.size(); ++i) {
    text += "[[node]]\nid = " + std::to_string(i + 1) +
            "\ncontrol = \"tcp://127.0.0.1:" + std::to_string(addresses.control[i]) + "\"\n";
  }
  return text;
}

Status WriteConfigs(const LocalClusterOptions& options) {
  Addresses addresses;
  addresses.control = FreePorts(options.nodes);
  if (addresses.control.size() < options.nodes)
    return Status::Unavailable("too few free ports on 127.0.0.1 for the nodes to listen on");
  std::string far =
      options.s3_endpoint.empty() ? "" : "[far]\ns3_endpoint = \"" + options.s3_endpoint + "\"\n";
  for (uint16_t id = 1; id <= options.nodes; ++id) {
    std::string text =
        "id = " + std::to_string(id) +
        "\ncontrol = \"tcp://127.0.0.1:" + std::to_string(addresses.control[id - 1u]) +
        "\"\nbulk = \"tcp://127.0.0.1:0\"\n" + "state_directory = \"" +
        StateDirectory(options.directory, id) + "\"\n[memory]\nlimit = \"" + options.memory +
        "\"\n" + far + Members(addresses);
    HF_RETURN_IF_ERROR(WriteFile(PathOf(options.directory, id, ".toml"), text));
  }
  return WriteFile(options.directory + "/client.toml",
                   "attach = \"" + StateDirectory(options.directory, 1) + "/attach.sock\"\n" + far +
                       Members(addresses));
}

Result<int> StartDaemon(const LocalClusterOptions& options, uint16_t id) {
  std::string config = PathOf(options.directory, id, ".toml"),
              log = PathOf(options.directory, id, ".log");
  std::vector<std::string> words{options.cached, "--config", config};
  for (const std::string& setting : options.settings) words.insert(words.end(), {"--set", setting});
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  int out = ::open(log.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
  int in = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (out < 0 || in < 0)
    return Status::Unavailable("cannot write \"" + log + "\": " + std::strerror(errno));
  int pid = ::fork();
  if (pid == 0) {
    ::setsid();
    ::dup2(in, 0);
    ::dup2(out, 1);
    ::dup2(out, 2);
    ::execvp(argv[0], argv.data());
    std::string error = "cannot run " + options.cached + ": " + std::strerror(errno) + "\n";
    static_cast<void>(!::write(2, error.data(), error.size()));
    ::_exit(127);
  }
  ::close(out);
  ::close(in);
  if (pid < 0)
    return Status::Unavailable(std::string("cannot start a process: ") + std::strerror(errno));
  HF_RETURN_IF_ERROR(WriteFile(PathOf(options.directory, id, ".pid"), std::to_string(pid) + "\n"));
  return pid;
}

Status AwaitReady(const LocalClusterOptions& options, uint16_t id, int pid) {
  std::string log = PathOf(options.directory, id, ".log");
  for (auto end = std::chrono::steady_clock::now() + kStartTimeout;
       std::chrono::steady_clock::now() < end;) {
    std::string said = ReadFile(log);
    if (said.find(" ready\n") != std::string::npos) return {};
    if (int how = 0; ::waitpid(pid, &how, WNOHANG) != 0) {
      bool configured = !WIFEXITED(how) || WEXITSTATUS(how) != kDaemonUsage;
      return Status(configured ? Code::kUnavailable : Code::kInvalid,
                    "node " + std::to_string(id) + " has ended (its log is " + log +
                        "): " + LastLine(ReadFile(log)));
    }
    std::this_thread::sleep_for(10ms);
  }
  return Status::Timeout("node " + std::to_string(id) +
                         " is not ready after a minute; its log is " + log);
}

}  // namespace

std::string DefaultClusterDirectory() {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && *runtime != '\0') return std::string(runtime) + "/holdfast";
  return fs::temp_directory_path().string() + "/holdfast-" + std::to_string(::getuid());
}

Status StartCluster(const LocalClusterOptions& options,
                    const std::function<void(const std::string&)>& say) {
  Result<std::vector<LocalNode>> running = ListCluster(options.directory);
  if (running.ok()) {
    for (const LocalNode& node : *running) {
      if (node.pid != 0) {
        return Status::Unavailable(
            "a cluster runs in " + options.directory +
            " already; use it, stop it by `holdfast cluster down`, or give another --dir");
      }
    }
  }
  std::error_code error;
  fs::remove_all(options.directory, error);
  fs::create_directories(options.directory, error);
  if (error)
    return Status::Unavailable("cannot make \"" + options.directory + "\": " + error.message());
  ::chmod(options.directory.c_str(), 0700);
  HF_RETURN_IF_ERROR(WriteConfigs(options));
  std::vector<int> pids;
  Status failed;
  for (uint16_t id = 1; id <= options.nodes && failed.ok(); ++id) {
    Result<int> pid = StartDaemon(options, id);
    if (pid.ok()) pids.push_back(*pid);
    failed = pid.status();
  }
  for (size_t i = 0; i < pids.size() && failed.ok(); ++i) {
    failed = AwaitReady(options, static_cast<uint16_t>(i + 1), pids[i]);
    if (failed.ok()) say("node " + std::to_string(i + 1) + " is ready");
  }
  if (!failed.ok()) static_cast<void>(StopCluster(options.directory));
  return failed;
}

Result<std::vector<LocalNode>> ListCluster(const std::string& directory) {
  std::vector<LocalNode> nodes;
  for (uint16_t id = 1; fs::exists(PathOf(directory, id, ".toml")); ++id) {
    int pid = std::atoi(ReadFile(PathOf(directory, id, ".pid")).c_str());
    nodes.push_back({id, IsDaemon(pid) ? pid : 0, PathOf(directory, id, ".log")});
  }
  if (nodes.empty())
    return Status::NotFound("there is no cluster in " + directory +
                            "; `holdfast cluster up` starts one");
  return nodes;
}

Status StopCluster(const std::string& directory) {
  Result<std::vector<LocalNode>> nodes = ListCluster(directory);
  if (!nodes.ok()) return nodes.status();
  for (const LocalNode& node : *nodes) {
    if (node.pid != 0) ::kill(node.pid, SIGTERM);
  }
  auto end = std::chrono::steady_clock::now() + kStopTimeout;
  for (const LocalNode& node : *nodes) {
    while (node.pid != 0 && IsDaemon(node.pid)) {
      ::waitpid(node.pid, nullptr, WNOHANG);  // where it is our child
      if (std::chrono::steady_clock::now() > end) ::kill(node.pid, SIGKILL);
      std::this_thread::sleep_for(10ms);
    }
  }
  for (const LocalNode& node : *nodes) {
    fs::remove(PathOf(directory, node.id, ".pid"));
    RemoveState(StateDirectory(directory, node.id));
  }
  return {};
}

}  // namespace holdfast::cli
