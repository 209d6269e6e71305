// SPDX-License-Identifier: Apache-2.0
#include "io/shm/memory_limit.h"

#include <charconv>
#include <fstream>
#include <optional>
#include <sstream>

#include "base/units.h"

namespace holdfast::shm {
namespace {

std::optional<uint64_t> ReadNumber(const std::string& path) {
  std::ifstream file(path);
  std::string text;
  if (!(file >> text)) return std::nullopt;  // not there, not readable or empty
  uint64_t value = 0;
  auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  // "max" is not a number: no limit.
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<uint64_t> PhysicalMemory(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string key;
    uint64_t kib = 0;
    if (words >> key >> kib && key == "MemTotal:") return kib * kKiB;
  }
  return std::nullopt;
}

void TakeSmaller(const std::string& file, MemoryLimit* limit) {
  std::optional<uint64_t> bytes = ReadNumber(file);
  if (bytes && *bytes < limit->bytes) *limit = {*bytes, file};
}

// Every directory from `path` up to the root of one hierarchy.
void WalkUp(const std::string& root, std::string path, const char* name, MemoryLimit* limit) {
  while (true) {
    while (!path.empty() && path.back() == '/') path.pop_back();
    TakeSmaller(root + path + "/" + name, limit);
    if (path.empty()) return;
    size_t slash = path.rfind('/');
    path.resize(slash == std::string::npos ? 0 : slash);
  }
}

// A controller list such as "cpu,memory".
bool HasMemory(const std::string& controllers) {
  return ("," + controllers + ",").find(",memory,") != std::string::npos;
}

}  // namespace

Result<MemoryLimit> ReadMemoryLimit(const MemoryLimitPaths& paths) {
  std::optional<uint64_t> physical = PhysicalMemory(paths.meminfo);
  if (!physical) {
    return Status::Unavailable("cannot read MemTotal from " + paths.meminfo +
                               "; is /proc mounted?");
  }
  MemoryLimit limit{*physical, paths.meminfo};
  std::ifstream file(paths.self_cgroup);
  std::string line;
  while (std::getline(file, line)) {  // "4:memory:/path", or "0::/path" for version 2
    size_t first = line.find(':');
    size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    std::string controllers = line.substr(first + 1, second - first - 1);
    std::string path = line.substr(second + 1);
    if (controllers.empty()) {
      WalkUp(paths.cgroup_root, path, "memory.max", &limit);
      WalkUp(paths.cgroup_root + "/unified", path, "memory.max", &limit);
    } else if (HasMemory(controllers)) {
      WalkUp(paths.cgroup_root + "/memory", path, "memory.limit_in_bytes", &limit);
    }
  }
  return limit;
}

Status CheckMemoryLimit(uint64_t wanted_bytes, std::string_view key,
                        const MemoryLimitPaths& paths) {
  Result<MemoryLimit> limit = ReadMemoryLimit(paths);
  if (!limit.ok()) return limit.status();
  if (wanted_bytes <= limit->bytes) return {};
  return Status::Invalid(std::string(key) + " asks for " + FormatBytes(wanted_bytes) +
                         ", but this process may have " + FormatBytes(limit->bytes) + " (" +
                         limit->source + "); lower " + std::string(key) + " or raise the limit");
}

}  // namespace holdfast::shm
