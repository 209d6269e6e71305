// SPDX-License-Identifier: Apache-2.0
#include "bench/servers.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <set>
#include <vector>

#include "cached/daemon.h"
#include "cached/heap.h"
#include "io/net/log_sink.h"
#include "tests/origin/origin.h"

namespace holdfast::bench {
namespace {

constexpr const char* kNginx = "/usr/sbin/nginx";
constexpr int kStartTries =
    1'000;  // of 10 ms: a region is made and touched before a daemon is ready

[[noreturn]] void Die(const std::string& text) {
  std::fprintf(stderr, "bench: %s\n", text.c_str());
  std::_Exit(3);
}

void Sleep10ms() { ::usleep(10'000); }

// Ends the child with the benchmark. Run first in every child.
void FollowParent(pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) std::_Exit(3);
}

sockaddr_in Loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// Free now; who listens on it next could lose a race, and then says so.
uint16_t FreePort() {
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  if (fd < 0 || ::bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    Die("no free port on 127.0.0.1");
  }
  ::close(fd);
  return ntohs(address.sin_port);
}

bool Listens(uint16_t port) {
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(port);
  bool connected = ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  ::close(fd);
  return connected;
}

void WaitUntil(pid_t pid, const char* what, const std::function<bool()>& ready) {
  for (int tries = 0; tries < kStartTries; ++tries) {
    if (ready()) return;
    if (::waitpid(pid, nullptr, WNOHANG) == pid) break;
    Sleep10ms();
  }
  Die(std::string(what) + " did not start");
}

double CpuSecondsOf(pid_t pid) {
  clockid_t clock{};
  timespec used{};
  if (::clock_getcpuclockid(pid, &clock) != 0 || ::clock_gettime(clock, &used) != 0) return 0;
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9;
}

std::vector<pid_t> ChildrenOf(pid_t parent) {
  std::vector<pid_t> children;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const pid_t pid = std::atoi(entry.path().filename().c_str());
    std::ifstream stat(entry.path() / "stat");
    std::string line;
    if (pid == 0 || !std::getline(stat, line)) continue;
    int ppid = 0;  // "pid (name) state ppid": a name may hold anything, so from its last ')'
    const size_t end = line.rfind(')');
    if (end == std::string::npos) continue;
    if (std::sscanf(line.c_str() + end, ") %*c %d", &ppid) == 1 && ppid == parent) {
      children.push_back(pid);
    }
  }
  return children;
}

[[noreturn]] void RunOrigin(Duration delay, int out) {
  origin::OriginOptions options;
  options.delay = delay;
  Result<std::unique_ptr<origin::Origin>> started = origin::Origin::Start(options);
  if (!started.ok()) Die(started.status().ToString());
  const uint16_t port = (*started)->port();
  if (::write(out, &port, sizeof(port)) != sizeof(port)) std::_Exit(3);
  while (true) ::pause();  // SIGTERM ends it
}

// Its peers; the rest is set as on a command line.
std::string MembersFile(const DaemonSpec& spec) {
  if (spec.members.empty()) return "";
  const std::string path = spec.state_directory + ".toml";
  std::ofstream out(path);
  for (size_t id = 0; id < spec.members.size(); ++id) {
    out << "[[node]]\nid = " << id << "\ncontrol = \"" << spec.members[id] << "\"\n";
  }
  return path;
}

[[noreturn]] void RunDaemon(const DaemonSpec& spec, const std::string& control) {
  Result<config::ConfigFile> file = config::ConfigFile::Load(MembersFile(spec));
  if (!file.ok()) Die(file.status().message());
  const std::string connections = std::to_string(spec.far_connections);
  // Twice as many loads as connections, so that one is always waiting for a connection that becomes
  // free.
  const std::string loads = std::to_string(std::max(2 * spec.far_connections, 256u));
  for (const std::string& setting :
       {"id=" + std::to_string(spec.id), "control=" + control,
        std::string("bulk=tcp://127.0.0.1:0"), "state_directory=" + spec.state_directory,
        "memory.limit=" + std::to_string(spec.memory_bytes), std::string("log_level=warn"),
        "far.max_connections=" + connections, "loads.max_active=" + loads}) {
    if (Status set = file->Set(setting); !set.ok()) Die(set.message());
  }
  for (const std::string& setting : spec.settings) {
    if (Status set = file->Set(setting); !set.ok()) Die(set.message());
  }
  Result<cached::DaemonConfig> config = cached::ReadDaemonConfig(&*file);
  if (config.ok() && spec.index_objects > 0) config->memory.index_objects = spec.index_objects;
  if (!config.ok()) Die("daemon: " + config.status().message());
  net::LogSink log({.program = "node", .level = LogLevel::kWarn});
  cached::TakeHeap(config->node.max_planning_bytes);
  Result<std::unique_ptr<cached::Daemon>> daemon = cached::Daemon::Open(*std::move(config), &log);
  if (!daemon.ok()) Die("daemon: " + daemon.status().message());
  (*daemon)->Run();
  daemon->reset();
  std::_Exit(0);
}

// Keep-alive on both sides, buffers that hold a large part of an object, the cache file written in
// its place.
std::string NginxConfig(const NginxSpec& spec, uint16_t port) {
  const std::string& dir = spec.directory;
  std::string text = ::geteuid() == 0 ? "user root;\n" : "";
  text += "daemon off;\nworker_processes " + std::to_string(spec.workers) + ";\n";
  text += "error_log " + dir + "/error.log crit;\npid " + dir + "/pid;\n";
  text += "events { worker_connections 2048; use epoll; multi_accept on; }\nhttp {\n";
  for (const char* kind : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"}) {
    text += std::string("  ") + kind + "_temp_path " + dir + "/" + kind + ";\n";
  }
  text += "  access_log off; sendfile on; tcp_nodelay on; keepalive_requests 100000000;\n";
  text += "  proxy_cache_path " + dir +
          "/cache levels=1:2 keys_zone=cold:64m max_size=64g inactive=2h use_temp_path=off;\n";
  text += "  upstream origin { server " + spec.origin.substr(sizeof("http://") - 1) +
          "; keepalive 512; keepalive_requests 100000000; }\n";
  text += "  server {\n    listen 127.0.0.1:" + std::to_string(port) + " reuseport backlog=1024;\n";
  text += "    location / {\n      proxy_pass http://origin;\n      proxy_http_version 1.1;\n";
  text += "      proxy_set_header Connection \"\";\n      proxy_cache cold;\n";
  text += "      proxy_cache_key $request_uri;\n      proxy_cache_valid 200 2h;\n";
  text += "      proxy_buffer_size 16k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k;\n";
  return text + "      proxy_temp_file_write_size 256k;\n    }\n  }\n}\n";
}

}  // namespace

ServerProcess& ServerProcess::operator=(ServerProcess&& other) noexcept {
  Stop();
  pid_ = std::exchange(other.pid_, 0);
  address_ = std::move(other.address_);
  return *this;
}

void ServerProcess::Stop() {
  if (pid_ == 0) return;
  ::kill(pid_, SIGTERM);
  bool ended = false;
  for (int tries = 0; tries < kStartTries && !ended; ++tries) {
    ended = ::waitpid(pid_, nullptr, WNOHANG) == pid_;
    if (!ended) Sleep10ms();
  }
  if (!ended) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  pid_ = 0;
}

double ServerProcess::CpuSeconds() const {
  double seconds = CpuSecondsOf(pid_);
  for (pid_t child : ChildrenOf(pid_)) seconds += CpuSecondsOf(child);
  return seconds;
}

double OwnCpuSeconds() { return CpuSecondsOf(::getpid()); }

ServerProcess StartOrigin(Duration delay) {
  int up[2];
  if (::pipe2(up, O_CLOEXEC) != 0) Die("no pipe");
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) {
    FollowParent(parent);
    RunOrigin(delay, up[1]);
  }
  ::close(up[1]);
  uint16_t port = 0;
  if (::read(up[0], &port, sizeof(port)) != sizeof(port)) Die("the origin did not start");
  ::close(up[0]);
  return {pid, "http://127.0.0.1:" + std::to_string(port)};
}

ServerProcess StartDaemon(const DaemonSpec& spec) {
  const std::string control =
      spec.members.empty() ? FreeAddresses(1).front() : spec.members[spec.id];
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) {
    FollowParent(parent);
    RunDaemon(spec, control);
  }
  // The last of its sockets to be made; knocking at the others would be reported as a stranger.
  const std::string last = spec.state_directory + "/bulk.sock";
  WaitUntil(pid, "the daemon", [&] { return std::filesystem::exists(last); });
  return {pid, control};
}

std::vector<std::string> FreeAddresses(size_t count) {
  std::set<std::string> addresses;
  while (addresses.size() < count) {
    addresses.insert("tcp://127.0.0.1:" + std::to_string(FreePort()));
  }
  return {addresses.begin(), addresses.end()};
}

ServerProcess StartNginx(const NginxSpec& spec) {
  if (::access(kNginx, X_OK) != 0) Die("nginx is not installed: apt-get install nginx-light");
  std::filesystem::remove_all(spec.directory);
  std::filesystem::create_directories(spec.directory);
  const uint16_t port = FreePort();
  const std::string path = spec.directory + "/nginx.conf";
  std::ofstream(path) << NginxConfig(spec, port);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) {
    FollowParent(parent);
    ::execl(kNginx, "nginx", "-e", "stderr", "-c", path.c_str(), nullptr);
    std::_Exit(3);
  }
  WaitUntil(pid, "nginx", [&] { return Listens(port); });
  return {pid, "http://127.0.0.1:" + std::to_string(port)};
}

}  // namespace holdfast::bench
