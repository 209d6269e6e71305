// SPDX-License-Identifier: Apache-2.0
#include "io/shm/private_mount.h"

#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/vfs.h>

#include <fstream>
#include <sstream>

#include "io/shm/fd.h"

namespace holdfast::shm {
namespace {

constexpr char kSource[] = "holdfast";

struct Mounted {
  std::string type;
  std::string source;
  std::string options;
};

// /proc/self/mountinfo writes space, tab, newline and backslash as \ooo.
std::string Unescape(const std::string& text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      plain.push_back(static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                        (text[i + 3] - '0')));
      i += 3;
    } else {
      plain.push_back(text[i]);
    }
  }
  return plain;
}

// The mount with the longest mount point that is `directory` or above it; the last line wins, as in
// the kernel.
Mounted MountOf(const std::string& directory, bool exactly) {
  Mounted found;
  size_t longest = 0;
  std::ifstream file("/proc/self/mountinfo");
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string id, parent, device, root, point, word;
    if (!(words >> id >> parent >> device >> root >> point)) continue;
    point = Unescape(point);
    bool same = point == directory;
    bool above = point == "/" || directory.compare(0, point.size() + 1, point + "/") == 0;
    if (!(same || (above && !exactly)) || point.size() < longest) continue;
    while (words >> word && word != "-") {
    }
    Mounted mounted;
    if (!(words >> mounted.type >> mounted.source >> mounted.options)) continue;
    longest = point.size();
    found = std::move(mounted);
  }
  return found;
}

}  // namespace

bool OnTmpfs(const std::string& directory) {
  struct statfs info;
  return ::statfs(directory.c_str(), &info) == 0 && info.f_type == TMPFS_MAGIC;
}

bool IsOurMount(const std::string& directory) {
  Mounted mounted = MountOf(directory, true);
  return mounted.type == "tmpfs" && mounted.source == kSource;
}

bool HasHugePages(const std::string& directory) {
  Mounted mounted = MountOf(directory, false);
  return mounted.type == "tmpfs" && (mounted.options.find("huge=always") != std::string::npos ||
                                     mounted.options.find("huge=within_size") != std::string::npos);
}

Status MountTmpfs(const std::string& directory, uint64_t bytes, std::optional<gid_t> group) {
  std::ostringstream options;
  options << "huge=within_size,size=" << bytes << ",uid=" << ::geteuid()
          << ",mode=" << (group ? "0750" : "0700");
  if (group) options << ",gid=" << *group;
  if (::mount(kSource, directory.c_str(), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
              options.str().c_str()) != 0) {
    return ErrnoStatus("cannot mount a tmpfs on " + directory);
  }
  return {};
}

void UnmountTmpfs(const std::string& directory) { ::umount2(directory.c_str(), MNT_DETACH); }

}  // namespace holdfast::shm
