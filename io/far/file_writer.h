// SPDX-License-Identifier: Apache-2.0
// Puts a file in its place whole: written and synced beside it, then renamed over it.
#pragma once

#include <string>

#include "base/bytes.h"
#include "base/status.h"

namespace holdfast::far {

// Makes the directories that lead to `path`. On kOk the file survives a crash; else it is what it
// was. kNoSpace on a full disk, kDenied where this process may not write.
Status WriteWhole(const std::string& path, ByteView bytes);

}  // namespace holdfast::far
