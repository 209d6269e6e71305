// SPDX-License-Identifier: Apache-2.0
// The servers of benchmarks, each in processes of its own: the origin, daemons, nginx
// with its proxy cache. All listen on 127.0.0.1 at ports that the kernel picked. They are forked,
// so no thread may run in this process yet.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/units.h"

namespace holdfast::bench {

// Ends with the variable. Move-only.
class ServerProcess {
 public:
  ServerProcess() = default;
  ServerProcess(pid_t pid, std::string address) : pid_(pid), address_(std::move(address)) {}
  ServerProcess(ServerProcess&& other) noexcept { *this = std::move(other); }
  ServerProcess& operator=(ServerProcess&& other) noexcept;
  ~ServerProcess() { Stop(); }
  // SIGTERM, and SIGKILL for who is still there after some seconds.
  void Stop();
  // Processor seconds so far of all of its threads and of its child processes that live.
  double CpuSeconds() const;
  // "http://127.0.0.1:PORT", or for a daemon that of its control socket.
  const std::string& address() const { return address_; }

 private:
  pid_t pid_ = 0;
  std::string address_;
};

// What the kernel counts for this process: nanoseconds, all threads, user and system.
double OwnCpuSeconds();

// One thread; `delay` before the first byte of each answer.
ServerProcess StartOrigin(Duration delay);

struct DaemonSpec {
  std::string state_directory;  // attach.sock is in it
  NodeId id = 0;
  // Control addresses of all nodes, by id from 0 on; empty: it is alone.
  std::vector<std::string> members = {};
  uint64_t memory_bytes = 0;
  uint32_t far_connections = 0;            // at most; the daemon adapts below
  uint64_t index_objects = 0;              // 0: as the daemon chooses
  std::vector<std::string> settings = {};  // KEY=VALUE
};
// Addresses for so many daemons, free now.
std::vector<std::string> FreeAddresses(size_t count);
// The whole daemon, configured as `cached --set ...` would be.
ServerProcess StartDaemon(const DaemonSpec& spec);

struct NginxSpec {
  std::string directory;  // of the configuration and the cache
  std::string origin;     // "http://127.0.0.1:PORT"
  int workers = 1;
};
// With an empty cache. Ends this program with a message where nginx is not installed.
ServerProcess StartNginx(const NginxSpec& spec);

}  // namespace holdfast::bench
