// SPDX-License-Identifier: Apache-2.0
// A tmpfs of our own, because /dev/shm has 4 KiB pages on most machines: those cost 65 ms per GiB
// of first touch in every process and halve a job's first epoch.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "base/status.h"

namespace holdfast::shm {

// Is `directory` on a tmpfs at all?
bool OnTmpfs(const std::string& directory);
// Is `directory` the root of a tmpfs that MountTmpfs mounted, now or in an earlier process?
bool IsOurMount(const std::string& directory);
// Does this tmpfs give 2 MiB pages to large files?
bool HasHugePages(const std::string& directory);

// Mounts one of `bytes` over `directory`, with 2 MiB pages for files of that size and more
// (huge=within_size: the sessions' small files would take 2 MiB each with huge=always). kDenied
// without CAP_SYS_ADMIN.
Status MountTmpfs(const std::string& directory, uint64_t bytes, std::optional<gid_t> group);
// Takes it away; what is still mapped lives on until it is unmapped.
void UnmountTmpfs(const std::string& directory);

}  // namespace holdfast::shm
