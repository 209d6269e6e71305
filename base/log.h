// SPDX-License-Identifier: Apache-2.0
// Where the core says things to people: one sink per process, given to whoever logs. io/ has the
// real one.
#pragma once

#include <string_view>

namespace holdfast {

enum class LogLevel { kDebug, kInfo, kWarn, kError };

class Log {
 public:
  virtual ~Log() = default;
  // One line without its newline. Called from one thread by the core, from any by io/.
  virtual void Write(LogLevel level, std::string_view line) = 0;

  void Info(std::string_view line) { Write(LogLevel::kInfo, line); }
  void Warn(std::string_view line) { Write(LogLevel::kWarn, line); }
  void Error(std::string_view line) { Write(LogLevel::kError, line); }
};

}  // namespace holdfast
