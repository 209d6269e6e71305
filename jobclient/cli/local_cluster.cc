// SPDX-License-Identifier: Apache-2.0
#include "jobclient/cli/local_cluster.h"

#include <fcntl.h>
#include <sys/mount.h>
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
#include <sstream>
#include <thread>

#include "base/units.h"
#include "io/shm/memory_limit.h"
#include "jobclient/cli/cluster_files.h"
#include "jobclient/cli/context.h"

namespace holdfast::cli {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr auto kStartTimeout = 60s;  // preallocating much memory takes time
constexpr auto kStopTimeout = 10s;
constexpr int kDaemonUsage = 2;  // the exit code of `cached` for a wrong configuration

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

// Is `pid` a process whose program is `cached`? Numbers are used again; a file may be old. One that
// has ended is none though it stays in the table until it is waited for, which in a container may
// be never.
bool IsDaemon(int pid) {
  if (pid <= 0 || ::kill(pid, 0) != 0) return false;
  std::string line = ReadFile("/proc/" + std::to_string(pid) + "/stat");  // "123 (cached) S ..."
  size_t name = line.find(" ("), state = line.rfind(") ");
  if (name == std::string::npos || state == std::string::npos) return false;
  return line.compare(name + 2, 6, "cached") == 0 && line[state + 2] != 'Z';
}

// What a daemon that was killed has left: memory, as much as it had.
void RemoveState(const std::string& state) {
  ::umount2((state + "/memory").c_str(), MNT_DETACH);
  std::error_code ignored;
  fs::remove_all(state, ignored);
}

// Each daemon looks at its own memory only; together they must not have the machine kill something.
Status CheckTogether(const LocalClusterOptions& options) {
  Result<uint64_t> each = ParseBytes(options.memory);
  Result<shm::MemoryLimit> limit = shm::ReadMemoryLimit();
  // A daemon that has it otherwise, or is to say what is wrong with it.
  bool otherwise = std::any_of(options.settings.begin(), options.settings.end(),
                               [](const auto& s) { return s.starts_with("memory.limit="); });
  if (otherwise || !each.ok() || !limit.ok() || *each <= limit->bytes / options.nodes) return {};
  return Status::Invalid(std::to_string(options.nodes) + " nodes with " + options.memory +
                         " each are more than the " + FormatBytes(limit->bytes) +
                         " that this machine may use (" + limit->source +
                         "); lower --memory or --nodes");
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
  if (out < 0 || in < 0) return CannotWrite("\"" + log + "\"", errno);
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
      const std::string node = "node " + std::to_string(id);
      if (WIFSIGNALED(how)) {
        return Status::Unavailable(node + " was killed by signal " + std::to_string(WTERMSIG(how)) +
                                   (WTERMSIG(how) == SIGKILL ? ", as for want of memory" : "") +
                                   "; its log is " + log);
      }
      const bool misconfigured = WIFEXITED(how) && WEXITSTATUS(how) == kDaemonUsage;
      return Status(misconfigured ? Code::kInvalid : Code::kUnavailable,
                    node + " has ended (its log is " + log + "): " + LastLine(ReadFile(log)));
    }
    std::this_thread::sleep_for(10ms);
  }
  return Status::Timeout("node " + std::to_string(id) +
                         " is not ready after a minute; its log is " + log);
}

Status StopDaemons(const std::string& directory) {
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
    std::error_code ignored;
    fs::remove(PathOf(directory, node.id, ".pid"), ignored);
    RemoveState(StateDirectory(directory, node.id));
  }
  return {};
}

}  // namespace

std::string DefaultClusterDirectory() {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && *runtime != '\0') return std::string(runtime) + "/holdfast";
  std::error_code error;
  fs::path temporary = fs::temp_directory_path(error);  // TMPDIR, which may name none
  return (error ? "/tmp" : temporary.string()) + "/holdfast-" + std::to_string(::getuid());
}

Status StartCluster(const LocalClusterOptions& options,
                    const std::function<void(const std::string&)>& say) {
  HF_RETURN_IF_ERROR(CheckTogether(options));
  Result<std::vector<LocalNode>> before = ListCluster(options.directory);
  if (!before.ok() && before.status().code() != Code::kNotFound) return before.status();
  Result<shm::Fd> lock = LockDirectory(options.directory);
  if (!lock.ok()) return lock.status();
  before = ListCluster(options.directory);
  std::vector<LocalNode> nodes = before.ok() ? *before : std::vector<LocalNode>();
  for (const LocalNode& node : nodes) {
    if (node.pid != 0) {
      return Status::Unavailable(
          "a cluster runs in " + options.directory +
          " already; use it, stop it by `holdfast cluster down`, or give another --dir");
    }
  }
  HF_RETURN_IF_ERROR(PrepareDirectory(options.directory));
  // What was killed there has left its memory, of more nodes maybe than there will be.
  for (const LocalNode& node : nodes) RemoveState(StateDirectory(options.directory, node.id));
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
  if (!failed.ok()) static_cast<void>(StopDaemons(options.directory));
  return failed;
}

Result<std::vector<LocalNode>> ListCluster(const std::string& directory) {
  std::vector<LocalNode> nodes;
  std::error_code error;
  for (uint16_t id = 1; fs::exists(PathOf(directory, id, ".toml"), error); ++id) {
    int pid = std::atoi(ReadFile(PathOf(directory, id, ".pid")).c_str());
    nodes.push_back({id, IsDaemon(pid) ? pid : 0, PathOf(directory, id, ".log")});
  }
  if (error)
    return Status::Denied("cannot look into " + directory + ": " + error.message() +
                          "; use a directory of your own");
  if (nodes.empty())
    return Status::NotFound("there is no cluster in " + directory +
                            "; `holdfast cluster up` starts one");
  return nodes;
}

Status StopCluster(const std::string& directory) {
  Result<std::vector<LocalNode>> nodes = ListCluster(directory);
  if (!nodes.ok()) return nodes.status();
  Result<shm::Fd> lock = LockDirectory(directory);
  return lock.ok() ? StopDaemons(directory) : lock.status();
}

}  // namespace holdfast::cli
