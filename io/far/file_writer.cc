// SPDX-License-Identifier: Apache-2.0
#include "io/far/file_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace holdfast::far {
namespace {

constexpr mode_t kDirectoryMode = 0777;
constexpr mode_t kFileMode = 0666;  // the umask says what of it

Status WriteError(const std::string& path, int error) {
  const std::string text = path + " cannot be written: " + std::strerror(error);
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return Status::NoSpace(text + "; make room and run it again");
    case EACCES:
    case EPERM:
    case EROFS:
      return Status::Denied(text + "; check who may write there");
    case ENOTDIR:
    case EISDIR:
    case ENAMETOOLONG:
    case ELOOP:
      return Status::Invalid(text);
    default:
      return Status::Unavailable(text);
  }
}

// As `mkdir -p`, of what leads to `path`.
Status MakeParents(const std::string& path) {
  for (size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) {
    const std::string parent = path.substr(0, at);
    if (mkdir(parent.c_str(), kDirectoryMode) != 0 && errno != EEXIST) {
      const int error = errno;
      struct stat there {};
      if (stat(parent.c_str(), &there) != 0) return WriteError(parent, error);
    }
  }
  return {};
}

Status SyncDirectory(const std::string& directory) {
  const int fd = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return WriteError(directory, errno);
  const int error = fsync(fd) == 0 ? 0 : errno;
  close(fd);
  return error == 0 ? Status() : WriteError(directory, error);
}

// 0 or what the system says.
int WriteAndSync(int fd, ByteView bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return fsync(fd) == 0 ? 0 : errno;
}

}  // namespace

Status WriteWhole(const std::string& path, ByteView bytes) {
  HF_RETURN_IF_ERROR(MakeParents(path));
  const std::string beside = path + ".part";
  const int fd = open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, kFileMode);
  if (fd < 0) return WriteError(beside, errno);
  int error = WriteAndSync(fd, bytes);
  if (close(fd) != 0 && error == 0) error = errno;
  if (error == 0 && std::rename(beside.c_str(), path.c_str()) != 0) error = errno;
  if (error != 0) {
    unlink(beside.c_str());
    return WriteError(path, error);
  }
  return SyncDirectory(path.substr(0, path.rfind('/') + 1));
}

}  // namespace holdfast::far
