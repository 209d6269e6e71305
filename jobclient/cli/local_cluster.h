// SPDX-License-Identifier: Apache-2.0
// A cluster of daemons on this machine, for trying things: `holdfast cluster up`.
//
//   <directory>/client.toml     for the clients
//   <directory>/node-N.toml     each daemon's configuration
//   <directory>/node-N.log      what it says
//   <directory>/node-N.pid      its process
//   <directory>/snapshots/      the log of `holdfast snapshot`, which stays when the cluster goes
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/status.h"

namespace holdfast::cli {

struct LocalClusterOptions {
  std::string directory;  // absolute, as everywhere here: state is named after it
  std::string cached;     // the daemon's program
  uint16_t nodes = 3;
  std::string memory = "256MiB";      // of each node, as in memory.limit
  std::string s3_endpoint;            // empty: as the environment says
  std::vector<std::string> settings;  // further KEY=VALUE for every daemon
};

struct LocalNode {
  uint16_t id = 0;
  int pid = 0;      // 0: not running
  std::string log;  // path
};

// "/run/user/UID/holdfast", or a directory of this user below the system's place for temporary
// files.
std::string DefaultClusterDirectory();

// Starts the daemons and waits until each is ready. kUnavailable when a cluster runs there already
// or a daemon ends: the text has the last line that it said. kInvalid for a directory that has
// anything but a cluster's files, and for more memory than there is.
Status StartCluster(const LocalClusterOptions& options,
                    const std::function<void(const std::string&)>& say);
// SIGTERM, then SIGKILL after ten seconds. kNotFound when no cluster is there, kDenied when it is
// somebody else's.
Status StopCluster(const std::string& directory);
Result<std::vector<LocalNode>> ListCluster(const std::string& directory);

}  // namespace holdfast::cli
