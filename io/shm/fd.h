// SPDX-License-Identifier: Apache-2.0
// An owned file descriptor, and errno as a Status.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "base/status.h"

namespace holdfast::shm {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
  Fd& operator=(Fd&& o) noexcept {
    if (this != &o) {
      Reset();
      fd_ = std::exchange(o.fd_, -1);
    }
    return *this;
  }
  ~Fd() { Reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  void Reset() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_ = -1;
};

// The code that a caller can branch on, and "what: Permission denied".
inline Status ErrnoStatus(const std::string& what, int error = errno) {
  Code code = Code::kUnavailable;
  if (error == EACCES || error == EPERM) code = Code::kDenied;
  if (error == ENOENT) code = Code::kNotFound;
  if (error == ENOSPC || error == EDQUOT || error == EMFILE || error == ENFILE || error == ENOMEM) {
    code = Code::kNoSpace;
  }
  return {code, what + ": " + std::strerror(error)};
}

}  // namespace holdfast::shm
