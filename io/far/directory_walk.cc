// SPDX-License-Identifier: Apache-2.0
#include "io/far/directory_walk.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "io/far/file_errors.h"

namespace holdfast::far {
namespace {

struct CloseDirectory {
  void operator()(DIR* directory) const { closedir(directory); }
};
struct Free {
  void operator()(char* text) const { std::free(text); }
};

std::string RealPath(const std::string& path) {
  const std::unique_ptr<char, Free> resolved(realpath(path.c_str(), nullptr));
  return resolved == nullptr ? "" : resolved.get();
}

// What an entry is, asking the file system only where the directory does not say.
unsigned char TypeOf(const std::string& directory, const dirent& entry) {
  if (entry.d_type != DT_UNKNOWN) return entry.d_type;
  struct stat status {};
  if (lstat((directory + entry.d_name).c_str(), &status) != 0) return DT_UNKNOWN;
  return static_cast<unsigned char>(IFTODT(status.st_mode));
}

}  // namespace

Result<DirectoryWalk> DirectoryWalk::Begin(std::string prefix, bool delimited, std::string after,
                                           Report report) {
  struct stat status {};
  if (!prefix.ends_with('/') && stat(prefix.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) {
    prefix += '/';
  }
  DirectoryWalk walk;
  walk.prefix_ = std::move(prefix);
  walk.delimited_ = delimited;
  walk.after_ = std::move(after);
  walk.report_ = std::move(report);
  const std::string directory = walk.prefix_.substr(0, walk.prefix_.rfind('/') + 1);
  walk.real_root_ = RealPath(directory);
  HF_RETURN_IF_ERROR(walk.Enter(directory));
  return walk;
}

Status DirectoryWalk::Enter(const std::string& directory) {
  const std::unique_ptr<DIR, CloseDirectory> opened(opendir(directory.c_str()));
  if (opened == nullptr) return FileError(directory, errno);
  Frame frame{.directory = directory, .items = {}, .next = 0};
  errno = 0;
  while (const dirent* entry = readdir(opened.get())) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    const unsigned char type = TypeOf(directory, *entry);
    if (type != DT_REG && type != DT_DIR && type != DT_LNK) continue;
    Item item{.name = std::string(name), .is_link = type == DT_LNK};
    if (type == DT_DIR) item.name += '/';
    if (Wanted(directory + item.name)) frame.items.push_back(std::move(item));
    errno = 0;
  }
  if (errno != 0) return FileError(directory, errno);
  std::sort(frame.items.begin(), frame.items.end(),
            [](const Item& a, const Item& b) { return a.name < b.name; });
  frames_.push_back(std::move(frame));
  return Status();
}

// Below the prefix, and not before where the page before ended.
bool DirectoryWalk::Wanted(const std::string& path) const {
  if (!path.starts_with(prefix_)) return false;
  if (after_.empty() || path > after_) return true;
  return path.ends_with('/') && !delimited_ && after_.starts_with(path);
}

bool DirectoryWalk::Next(WalkedFile* file) {
  while (!frames_.empty()) {
    Frame& frame = frames_.back();
    if (frame.next == frame.items.size()) {
      frames_.pop_back();
      continue;
    }
    const Item& item = frame.items[frame.next++];
    const std::string path = frame.directory + item.name;
    if (!path.ends_with('/')) {
      if (Describe(path, item.is_link, file)) return true;
    } else if (delimited_) {
      *file = {.path = path, .is_prefix = true, .size = 0, .mtime_ns = 0};
      return true;
    } else if (Status entered = Enter(path); !entered.ok()) {
      report_(entered.message());
    }
  }
  return false;
}

bool DirectoryWalk::LinkStaysInside(const std::string& path) const {
  const std::string real = RealPath(path);
  const std::string root = real_root_ == "/" ? "" : real_root_;
  return real.size() > root.size() && real.starts_with(root) && real[root.size()] == '/';
}

bool DirectoryWalk::Describe(const std::string& path, bool is_link, WalkedFile* file) const {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) {
    if (!is_link && errno != ENOENT) report_(FileError(path, errno).message());
    return false;  // it vanished, or the link leads nowhere
  }
  if (!S_ISREG(status.st_mode) || (is_link && !LinkStaysInside(path))) return false;
  *file = {.path = path,
           .is_prefix = false,
           .size = static_cast<uint64_t>(status.st_size),
           .mtime_ns = status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec};
  return true;
}

}  // namespace holdfast::far
