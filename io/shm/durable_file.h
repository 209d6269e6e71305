// SPDX-License-Identifier: Apache-2.0
// Small files that a crash leaves as they were, or as they are to be.
#pragma once

#include <string>

#include "base/status.h"

namespace holdfast::shm {

// What was made, renamed or removed in it stays so. Any thread; blocks, as what follows does.
Status SyncDirectory(const std::string& directory);

// Makes, or replaces, `directory`/`name`: written beside, synced, renamed, and the directory synced.
Status WriteDurably(const std::string& directory, const std::string& name, const std::string& text);

}  // namespace holdfast::shm
