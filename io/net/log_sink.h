// SPDX-License-Identifier: Apache-2.0
// The log of a process: one line per event on standard error, with the time and the level. Any
// thread may write.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/log.h"
#include "base/status.h"

namespace holdfast::net {

// "debug", "info", "warn", "error"; kInvalid names the word and what is allowed.
Result<LogLevel> ParseLogLevel(std::string_view word);

class LogSink : public Log {
 public:
  struct Options {
    std::string program;  // "cached", "holdfast"
    LogLevel level = LogLevel::kInfo;
  };
  explicit LogSink(Options options);
  ~LogSink() override;

  // Line breaks and other control characters inside `line` are shown as \n and \xNN: a line of the
  // log is one event, whatever a peer has put into a name.
  void Write(LogLevel level, std::string_view line) override;

 private:
  struct Logger;
  std::unique_ptr<Logger> logger_;
};

}  // namespace holdfast::net
