// SPDX-License-Identifier: Apache-2.0
#include "io/shm/durable_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

#include "io/shm/fd.h"

namespace holdfast::shm {

Status SyncDirectory(const std::string& directory) {
  Fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) return ErrnoStatus("cannot sync " + directory);
  return {};
}

Status WriteDurably(const std::string& directory, const std::string& name,
                    const std::string& text) {
  const std::string path = directory + "/" + name, fresh = path + ".new";
  Fd file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file || ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      ::fsync(file.get()) != 0) {
    return ErrnoStatus("cannot write " + fresh);
  }
  if (::rename(fresh.c_str(), path.c_str()) != 0) return ErrnoStatus("cannot write " + path);
  return SyncDirectory(directory);
}

}  // namespace holdfast::shm
