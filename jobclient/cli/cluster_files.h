// SPDX-License-Identifier: Apache-2.0
// The directory of a local cluster: every node's configuration, log and process number, and the
// clients' configuration.
#pragma once

#include <string>

#include "base/status.h"
#include "io/shm/fd.h"
#include "jobclient/cli/local_cluster.h"

namespace holdfast::cli {

// "DIRECTORY/node-1.toml" for ".toml".
std::string PathOf(const std::string& directory, uint16_t node, const char* suffix);
// On /dev/shm: the memory lives there. Named after the directory, so that two clusters keep apart.
std::string StateDirectory(const std::string& directory, uint16_t node);
Status WriteFile(const std::string& path, const std::string& text);
// Makes the directory if there is none. Until the result is gone every other `cluster up` and
// `down` is kept out of it.
Result<shm::Fd> LockDirectory(const std::string& directory);
// Clears it of an earlier cluster's files, but for the log of its snapshots. kInvalid when anything
// else is in it: then it is somebody's own.
Status PrepareDirectory(const std::string& directory);
// On ports that are free now.
Status WriteConfigs(const LocalClusterOptions& options);

}  // namespace holdfast::cli
