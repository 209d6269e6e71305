// SPDX-License-Identifier: Apache-2.0
#include "io/bulk/descriptors.h"

#include <sys/eventfd.h>
#include <sys/resource.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "io/bulk/socket.h"

namespace holdfast::bulk {

void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);  // with fewer it may still go well
}

Status CheckDescriptors(uint32_t count) {
  // The limit alone does not say how many are open already.
  std::vector<Fd> taken;
  while (taken.size() < count) {
    Fd fd(eventfd(0, EFD_CLOEXEC));
    if (!fd) break;
    taken.push_back(std::move(fd));
  }
  if (taken.size() == count) return {};
  const int error = errno;
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  return Status::NoSpace(
      "cannot open " + std::to_string(count) + " more files and sockets: " + std::strerror(error) +
      "; raise the limit, which is " + std::to_string(limit.rlim_cur) + " (ulimit -n)");
}

}  // namespace holdfast::bulk
