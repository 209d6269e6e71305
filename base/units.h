// SPDX-License-Identifier: Apache-2.0
// Time, bytes and money as integers with their unit in the type or the name.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace holdfast {

using Duration = std::chrono::microseconds;
using namespace std::chrono_literals;

// An instant of one process's monotonic clock. Never compared with another process's; never on the
// wire.
struct Time {
  int64_t us = 0;
  friend auto operator<=>(const Time&, const Time&) = default;
  friend Time operator+(Time t, Duration d) { return {t.us + d.count()}; }
  friend Time operator-(Time t, Duration d) { return {t.us - d.count()}; }
  friend Duration operator-(Time a, Time b) { return Duration(a.us - b.us); }
  static constexpr Time Max() { return {INT64_MAX / 2}; }
};

// Seconds since 1970: for stamps that people read, and for what ends at a time of day.
struct WallTime {
  int64_t seconds = 0;
};
// Of what ends at this second since 1970; 0 is never.
constexpr bool HasExpired(uint32_t expires_s, WallTime now) {
  return expires_s != 0 && expires_s <= now.seconds;
}

constexpr uint64_t kKiB = 1024;
constexpr uint64_t kMiB = 1024 * kKiB;
constexpr uint64_t kGiB = 1024 * kMiB;

// Millionths of a US dollar.
using MicroUsd = int64_t;

// "1.50 GiB", "734 B".
std::string FormatBytes(uint64_t bytes);
// "2.5 s", "340 ms", "4 h 10 min".
std::string FormatDuration(Duration d);
// "1,234,567".
std::string FormatCount(uint64_t n);
// "$0.0123".
std::string FormatMoney(MicroUsd m);

// "64MiB", "1.5GiB", "10GB", "4096". The error names the text and the accepted forms.
Result<uint64_t> ParseBytes(std::string_view text);
// "250ms", "30s", "5min", "4h", "2d".
Result<Duration> ParseDuration(std::string_view text);

}  // namespace holdfast
