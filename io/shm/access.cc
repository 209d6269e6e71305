// SPDX-License-Identifier: Apache-2.0
#include "io/shm/access.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <vector>

#include "io/shm/fd.h"

namespace holdfast::shm {

Result<std::optional<gid_t>> ResolveGroup(const std::string& group) {
  if (group.empty()) return std::optional<gid_t>();
  gid_t number = 0;
  const char* end = group.data() + group.size();
  auto parsed = std::from_chars(group.data(), end, number);
  if (parsed.ec == std::errc() && parsed.ptr == end) return std::optional<gid_t>(number);
  std::vector<char> text(64 * 1024);
  struct group entry;
  struct group* found = nullptr;
  if (getgrnam_r(group.c_str(), &entry, text.data(), text.size(), &found) != 0 ||
      found == nullptr) {
    return Status::Invalid("group \"" + group +
                           "\" does not exist on this host; create it (groupadd) or name another");
  }
  return std::optional<gid_t>(entry.gr_gid);
}

Status SetAccess(int fd, const std::string& path, mode_t mode, std::optional<gid_t> group) {
  if (!group) mode &= static_cast<mode_t>(~070);
  if (group && ::fchown(fd, static_cast<uid_t>(-1), *group) != 0) {
    return ErrnoStatus("cannot give " + path + " to group " + std::to_string(*group) +
                       "; run as root or as a member of it");
  }
  if (::fchmod(fd, mode) != 0) return ErrnoStatus("cannot set the mode of " + path);
  return {};
}

static Status MakeParents(const std::string& path) {
  for (size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) {
    std::string parent = path.substr(0, at);
    if (::mkdir(parent.c_str(), 0755) != 0 && errno != EEXIST) {
      return ErrnoStatus("cannot create directory " + parent);
    }
  }
  return {};
}

Status MakePrivateDirectory(const std::string& path, std::optional<gid_t> group) {
  HF_RETURN_IF_ERROR(MakeParents(path));
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return ErrnoStatus("cannot create directory " + path);
  }
  Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return ErrnoStatus("cannot open directory " + path);
  struct stat info;
  if (::fstat(fd.get(), &info) != 0) return ErrnoStatus("cannot look at " + path);
  if (info.st_uid != ::geteuid() || (info.st_mode & 022) != 0) {
    return Status::Denied(path + " belongs to user " + std::to_string(info.st_uid) +
                          " or others may write in it; remove it or choose another directory");
  }
  return SetAccess(fd.get(), path, 0750, group);
}

Status CheckHasNothingBut(const std::string& path, const std::vector<std::string>& names,
                          const std::string& option) {
  namespace fs = std::filesystem;
  std::error_code failed;
  for (fs::directory_iterator it(path, failed), end; !failed && it != end; it.increment(failed)) {
    const std::string name = it->path().filename().string();
    if (name == "lost+found" || std::find(names.begin(), names.end(), name) != names.end())
      continue;
    return Status::Invalid(path + " has " + name + " in it and is not this daemon's; give " +
                           option + " an empty or a new directory");
  }
  if (!failed || failed == std::errc::no_such_file_or_directory) return {};
  return ErrnoStatus("cannot look into " + path, failed.value());
}

Status ClaimDirectory(const std::string& path, std::optional<gid_t> group,
                      const std::string& option) {
  std::error_code failed;
  if (!std::filesystem::exists(path + "/lock", failed)) {
    HF_RETURN_IF_ERROR(CheckHasNothingBut(path, {"lock"}, option));
  }
  return MakePrivateDirectory(path, group);
}

Result<PeerCredentials> CredentialsOf(int socket) {
  struct ucred raw;
  socklen_t size = sizeof(raw);
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &raw, &size) != 0) {
    return ErrnoStatus("cannot tell who is at the other end");
  }
  return PeerCredentials{.uid = raw.uid, .gid = raw.gid, .pid = raw.pid};
}

bool MayAttach(int socket, const PeerCredentials& peer, std::optional<gid_t> group) {
  if (peer.uid == 0 || peer.uid == ::geteuid()) return true;
  if (!group) return false;
  if (peer.gid == *group) return true;
  std::vector<gid_t> groups(65536);  // NGROUPS_MAX
  socklen_t size = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size) != 0) return false;
  groups.resize(size / sizeof(gid_t));
  return std::find(groups.begin(), groups.end(), *group) != groups.end();
}

}  // namespace holdfast::shm
