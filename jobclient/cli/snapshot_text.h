// SPDX-License-Identifier: Apache-2.0
// What the commands of `holdfast snapshot` have in common: where the log is, what time it is, and
// how both are shown.
#pragma once

#include <string>

#include "jobclient/cli/context.h"
#include "jobclient/cli/snapshot_files.h"

namespace holdfast::cli {

// `given` is --log. Without it that of the local cluster, if its configuration is the one that is
// used; else kInvalid.
Result<std::string> LogDirectoryOf(const Globals& globals, const std::string& given);

// The wall clock.
snapshot::Stamp StampNow();
Duration Since(snapshot::Stamp then, snapshot::Stamp now);  // at least 0
// "2026-03-01 12:00:05Z".
std::string UtcText(snapshot::Stamp stamp);

std::string CountOf(uint64_t n, const std::string& thing);  // "1 node", "2 nodes"

// A duration for people who gave or expect round ones: "7 d", "90 s".
Result<Duration> DurationOf(const char* flag, const std::string& text, Duration least);

// What is wrong with a log goes to standard error.
void WarnOf(const LogFault& fault);

// The newest state of the log at --log, with warnings.
Result<snapshot::SnapshotLog> ReadNewest(const std::string& directory);

}  // namespace holdfast::cli
