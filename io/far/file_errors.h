// SPDX-License-Identifier: Apache-2.0
// What the kernel says about a file, as a Status.
#pragma once

#include <cerrno>
#include <cstring>
#include <string>

#include "base/status.h"

namespace holdfast::far {

inline Status FileError(const std::string& path, int error) {
  const std::string text = path + ": " + std::strerror(error);
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return Status::NotFound(text);
    case EACCES:
    case EPERM:
      return Status::Denied(text + "; check who may read it");
    case ELOOP:
    case ENAMETOOLONG:
      return Status::Invalid(text);
    default:
      return Status::Unavailable(text);
  }
}

}  // namespace holdfast::far
