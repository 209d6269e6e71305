// SPDX-License-Identifier: Apache-2.0
#include "jobclient/cli/snapshot_text.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <ctime>
#include <filesystem>

#include "jobclient/cli/local_cluster.h"

namespace holdfast::cli {

Result<std::string> LogDirectoryOf(const Globals& globals, const std::string& given) {
  if (!given.empty()) return given;
  const std::string local = DefaultClusterDirectory();
  std::error_code error;  // of a runtime directory that is another user's
  if (globals.config.empty() && std::filesystem::exists(local + "/client.toml", error))
    return local + "/snapshots";
  return Status::Invalid(
      "where is the snapshot log? Give its directory by --log DIR; without it only the local "
      "cluster's is found");
}

snapshot::Stamp StampNow() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return {std::chrono::duration_cast<std::chrono::microseconds>(now).count()};
}

Duration Since(snapshot::Stamp then, snapshot::Stamp now) {
  return Duration(std::max<int64_t>(now.us - then.us, 0));
}

std::string UtcText(snapshot::Stamp stamp) {
  const auto seconds = static_cast<time_t>(stamp.us / 1'000'000);
  std::tm utc{};
  std::array<char, 64> text{};
  if (::gmtime_r(&seconds, &utc) == nullptr) return "never";
  std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%SZ", &utc);
  return text.data();
}

std::string CountOf(uint64_t n, const std::string& thing) {
  return FormatCount(n) + " " + thing + (n == 1 ? "" : "s");
}

Result<Duration> DurationOf(const char* flag, const std::string& text, Duration least) {
  Result<Duration> duration = ParseDuration(text);
  if (!duration.ok()) return duration.status().Annotate(flag);
  if (*duration >= least) return duration;
  return Status::Invalid(std::string(flag) + ": " + text + " is too short; the least is " +
                         FormatDuration(least));
}

void WarnOf(const LogFault& fault) { Say(fault.Text()); }

Result<snapshot::SnapshotLog> ReadNewest(const std::string& directory) {
  return ReadLogDirectory(directory, 1, {.fault = WarnOf});
}

}  // namespace holdfast::cli
