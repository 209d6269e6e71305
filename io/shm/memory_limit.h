// SPDX-License-Identifier: Apache-2.0
// How much memory this process may have: tmpfs pages are charged to the cgroup of whoever touches
// them first, so a region above the limit would end in the kernel's killer and not in an error.
// Checked once, at start.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace holdfast::shm {

// Where the kernel says it; tests give their own.
struct MemoryLimitPaths {
  std::string self_cgroup = "/proc/self/cgroup";
  std::string cgroup_root = "/sys/fs/cgroup";
  std::string meminfo = "/proc/meminfo";
};

struct MemoryLimit {
  uint64_t bytes = 0;
  std::string source;  // the file that says so
};

// The smallest of physical memory and every limit on the path from the process's memory cgroup to
// the root (memory.max of version 2, memory.limit_in_bytes of version 1; both may be mounted).
// Limits that cannot be read do not count: inside a container the path may name directories that
// only its host sees, and then the root's own files hold the limit.
Result<MemoryLimit> ReadMemoryLimit(const MemoryLimitPaths& paths = {});

// kInvalid when `wanted_bytes` exceeds the limit; the text names both figures and the configuration
// key `key`.
Status CheckMemoryLimit(uint64_t wanted_bytes, std::string_view key,
                        const MemoryLimitPaths& paths = {});

}  // namespace holdfast::shm
