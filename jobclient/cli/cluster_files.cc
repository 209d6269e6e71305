// SPDX-License-Identifier: Apache-2.0
#include "jobclient/cli/cluster_files.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <random>
#include <vector>

#include "jobclient/cli/context.h"

namespace holdfast::cli {
namespace {

namespace fs = std::filesystem;

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

// Ports that nobody listens on now, all different. Below those that the kernel gives to outgoing
// connections, which would often take one before the daemon does; should another program do so, the
// daemon says it.
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

// The log of snapshots, which outlives the cluster: how long objects stayed is worth knowing again.
bool IsToStay(const fs::path& file) { return file.filename() == "snapshots"; }

// The files of a cluster that was, by their names.
bool IsOfCluster(const fs::path& file) {
  const std::string name = file.filename().string(), kind = file.extension().string();
  return name == "client.toml" ||
         (name.starts_with("node-") && (kind == ".toml" || kind == ".log" || kind == ".pid"));
}

// As a text of a TOML file.
std::string Quoted(const std::string& text) {
  std::string quoted = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + '"';
}

std::string Members(const std::vector<uint16_t>& control_ports) {
  std::string text;
  for (size_t i = 0; i < control_ports.size(); ++i) {
    text += "[[node]]\nid = " + std::to_string(i + 1) +
            "\ncontrol = \"tcp://127.0.0.1:" + std::to_string(control_ports[i]) + "\"\n";
  }
  return text;
}

}  // namespace

std::string PathOf(const std::string& directory, uint16_t node, const char* suffix) {
  return directory + "/node-" + std::to_string(node) + suffix;
}

std::string StateDirectory(const std::string& directory, uint16_t node) {
  std::string name = directory;
  std::replace(name.begin(), name.end(), '/', '-');
  return "/dev/shm/holdfast" + name + "-" + std::to_string(node);
}

Status WriteFile(const std::string& path, const std::string& text) {
  std::ofstream out(path, std::ios::trunc);
  out << text;
  out.close();
  if (out) return {};
  return CannotWrite("\"" + path + "\"", errno);
}

Result<shm::Fd> LockDirectory(const std::string& directory) {
  if (directory.empty()) return Status::Invalid("--dir: \"\" is no directory");
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) return CannotWrite("\"" + directory + "\"", error.value());
  shm::Fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return shm::ErrnoStatus("cannot open \"" + directory + "\"");
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    return Status::Unavailable("another `holdfast cluster` is at work in " + directory +
                               "; wait until it has ended");
  }
  return fd;
}

Status PrepareDirectory(const std::string& directory) {
  std::error_code error;
  std::vector<fs::path> files;
  for (fs::directory_iterator at(directory, error), end; !error && at != end; at.increment(error)) {
    if (!IsToStay(at->path())) files.push_back(at->path());
  }
  if (error) return CannotWrite("\"" + directory + "\"", error.value());
  for (const fs::path& file : files) {
    if (!IsOfCluster(file)) {
      return Status::Invalid("--dir: " + directory + " has other files in it, as " +
                             file.filename().string() +
                             "; give an empty or a new directory, in which nothing can be lost");
    }
  }
  for (const fs::path& file : files) fs::remove(file, error);
  ::chmod(directory.c_str(), 0700);
  return {};
}

Status WriteConfigs(const LocalClusterOptions& options) {
  const std::vector<uint16_t> control_ports = FreePorts(options.nodes);
  if (control_ports.size() < options.nodes)
    return Status::Unavailable("too few free ports on 127.0.0.1 for the nodes to listen on");
  std::string far = options.s3_endpoint.empty()
                        ? ""
                        : "[far]\ns3_endpoint = " + Quoted(options.s3_endpoint) + "\n";
  for (uint16_t id = 1; id <= options.nodes; ++id) {
    std::string text = "id = " + std::to_string(id) +
                       "\ncontrol = \"tcp://127.0.0.1:" + std::to_string(control_ports[id - 1u]) +
                       "\"\nbulk = \"tcp://127.0.0.1:0\"\n" +
                       "state_directory = " + Quoted(StateDirectory(options.directory, id)) +
                       "\n[memory]\nlimit = " + Quoted(options.memory) + "\n" + far +
                       Members(control_ports);
    HF_RETURN_IF_ERROR(WriteFile(PathOf(options.directory, id, ".toml"), text));
  }
  return WriteFile(options.directory + "/client.toml",
                   "attach = " + Quoted(StateDirectory(options.directory, 1) + "/attach.sock") +
                       "\n" + far + Members(control_ports));
}

}  // namespace holdfast::cli
