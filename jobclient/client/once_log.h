// SPDX-License-Identifier: Apache-2.0
// A client and each of its jobs have connections of their own to every node, and what is wrong with
// a node is wrong with all of them: the user is told once.
#pragma once

#include <chrono>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include "base/log.h"

namespace holdfast::client {

// Hands on every line, unless the same one was handed on a short while ago. Any thread.
class OnceLog : public Log {
 public:
  explicit OnceLog(Log* log) : log_(log) {}

  void Write(LogLevel level, std::string_view line) override {
    {
      const auto now = Clock::now();
      std::lock_guard lock(mutex_);
      std::erase_if(written_, [&](const auto& old) { return now - old.second > kShortWhile; });
      if (written_.size() < kMostLines && !written_.emplace(line, now).second) return;
    }
    log_->Write(level, line);
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr auto kShortWhile = std::chrono::seconds(10);
  static constexpr size_t kMostLines = 256;  // beyond them nothing is held back

  Log* const log_;
  std::mutex mutex_;
  std::map<std::string, Clock::time_point, std::less<>> written_;
};

}  // namespace holdfast::client
