// SPDX-License-Identifier: Apache-2.0
#include "io/net/log_sink.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include <algorithm>
#include <array>
#include <utility>

namespace holdfast::net {
namespace {

constexpr std::array<std::pair<std::string_view, LogLevel>, 4> kLevels = {{
    {"debug", LogLevel::kDebug},
    {"info", LogLevel::kInfo},
    {"warn", LogLevel::kWarn},
    {"error", LogLevel::kError},
}};

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarn:
      return spdlog::level::warn;
    case LogLevel::kError:
      break;
  }
  return spdlog::level::err;
}

bool IsControl(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

std::string Printable(std::string_view line) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  for (char c : line) {
    if (!IsControl(c)) {
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else {
      auto byte = static_cast<unsigned char>(c);
      out += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return out;
}

}  // namespace

Result<LogLevel> ParseLogLevel(std::string_view word) {
  for (auto [name, level] : kLevels) {
    if (word == name) return level;
  }
  return Status::Invalid("log level '" + std::string(word) +
                         "' is unknown: use debug, info, warn or error");
}

struct LogSink::Logger {
  explicit Logger(const std::string& name)
      : spd(name, std::make_shared<spdlog::sinks::stderr_color_sink_mt>()) {}
  spdlog::logger spd;
};

LogSink::LogSink(Options options) : logger_(std::make_unique<Logger>(options.program)) {
  logger_->spd.set_pattern("%Y-%m-%d %H:%M:%S.%e %n[%P] %^%l%$ %v");
  logger_->spd.set_level(ToSpdlog(options.level));
  logger_->spd.flush_on(spdlog::level::trace);
}

LogSink::~LogSink() = default;

void LogSink::Write(LogLevel level, std::string_view line) {
  spdlog::level::level_enum at = ToSpdlog(level);
  if (!logger_->spd.should_log(at)) return;
  // spdlog reports its own exceptions (a full disk behind standard error) and goes on.
  if (std::any_of(line.begin(), line.end(), IsControl)) {
    logger_->spd.log(at, spdlog::string_view_t(Printable(line)));
  } else {
    logger_->spd.log(at, spdlog::string_view_t(line.data(), line.size()));
  }
}

}  // namespace holdfast::net
