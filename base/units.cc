// SPDX-License-Identifier: Apache-2.0
#include "base/units.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <limits>
#include <span>

namespace holdfast {
namespace {

struct Unit {
  std::string_view suffix;
  double factor;
};
constexpr std::array<Unit, 10> kByteUnits{{{"", 1},
                                           {"B", 1},
                                           {"KiB", 1024.0},
                                           {"MiB", 1024.0 * 1024},
                                           {"GiB", 1024.0 * 1024 * 1024},
                                           {"TiB", 1024.0 * 1024 * 1024 * 1024},
                                           {"KB", 1e3},
                                           {"MB", 1e6},
                                           {"GB", 1e9},
                                           {"TB", 1e12}}};
constexpr std::array<Unit, 6> kTimeUnits{
    {{"us", 1}, {"ms", 1e3}, {"s", 1e6}, {"min", 60e6}, {"h", 3600e6}, {"d", 86400e6}}};

// A non-negative number and one of the suffixes, in the unit's base; negative where the text is
// something else.
double ParseScaled(std::string_view text, std::span<const Unit> units) {
  double value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || !(value >= 0)) return -1;
  std::string_view suffix(end, static_cast<size_t>(text.data() + text.size() - end));
  for (const Unit& unit : units) {
    if (suffix == unit.suffix) return value * unit.factor;
  }
  return -1;
}

std::string Print(const char* format, double value) {
  std::array<char, 64> text;
  std::snprintf(text.data(), text.size(), format, value);
  return text.data();
}

}  // namespace

std::string FormatBytes(uint64_t bytes) {
  static constexpr std::array<const char*, 5> kFormats{"%.0f B", "%.1f KiB", "%.1f MiB", "%.2f GiB",
                                                       "%.2f TiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < kFormats.size()) {
    value /= 1024;
    ++unit;
  }
  return Print(kFormats[unit], value);
}

std::string FormatDuration(Duration d) {
  double us = static_cast<double>(d.count());
  if (us < 1e3) return Print("%.0f us", us);
  if (us < 1e6) return Print("%.1f ms", us / 1e3);
  if (us < 60e6) return Print("%.2f s", us / 1e6);
  int64_t minutes = d.count() / 60'000'000;
  if (minutes < 60) {
    return std::to_string(minutes) + " min " + std::to_string(d.count() / 1'000'000 % 60) + " s";
  }
  return std::to_string(minutes / 60) + " h " + std::to_string(minutes % 60) + " min";
}

std::string FormatCount(uint64_t n) {
  std::string text = std::to_string(n);
  for (size_t at = text.size(); at > 3; at -= 3) text.insert(at - 3, ",");
  return text;
}

std::string FormatMoney(MicroUsd m) {
  constexpr MicroUsd kShown = 50;  // less is zero in four digits
  if (m < 0) return (m > -kShown ? "" : "-") + FormatMoney(m > -kShown ? 0 : -m);
  return Print(m < 1'000'000 ? "$%.4f" : "$%.2f", static_cast<double>(m) / 1e6);
}

Result<uint64_t> ParseBytes(std::string_view text) {
  double bytes = ParseScaled(text, kByteUnits);
  if (bytes < 0 || bytes >= 9e18) {
    return Status::Invalid(
        "\"" + std::string(text) +
        "\" is not a size; write a number and B, KiB, MiB, GiB, TiB, KB, MB, GB or TB");
  }
  return static_cast<uint64_t>(std::llround(bytes));
}

Result<Duration> ParseDuration(std::string_view text) {
  double us = ParseScaled(text, kTimeUnits);
  if (us < 0 || us >= 9e18) {
    return Status::Invalid("\"" + std::string(text) +
                           "\" is not a duration; write a number and us, ms, s, min, h or d");
  }
  return Duration(std::llround(us));
}

}  // namespace holdfast
