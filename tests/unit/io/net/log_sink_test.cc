// SPDX-License-Identifier: Apache-2.0
#include "io/net/log_sink.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace holdfast::net {
namespace {

TEST(LogSink, LinesCarryLevelAndProgram) {
  testing::internal::CaptureStderr();
  LogSink log({.program = "cached", .level = LogLevel::kInfo});
  log.Write(LogLevel::kDebug, "unseen");
  log.Info("node 1 listens");
  log.Error("disk {} full");  // braces are no format
  std::string out = testing::internal::GetCapturedStderr();
  EXPECT_EQ(out.find("unseen"), std::string::npos);
  EXPECT_NE(out.find("cached["), std::string::npos);
  EXPECT_NE(out.find("info node 1 listens\n"), std::string::npos);
  EXPECT_NE(out.find("error disk {} full\n"), std::string::npos);
}

TEST(LogSink, AnEventIsOneLineWhateverIsInIt) {
  testing::internal::CaptureStderr();
  LogSink log({.program = "cached"});
  log.Warn(std::string_view("name 'a\nb\x1b[31m\0'", 15));
  std::string out = testing::internal::GetCapturedStderr();
  EXPECT_NE(out.find("name 'a\\nb\\x1b[31m\\x00"), std::string::npos) << out;
  EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), 1);
}

TEST(LogSink, ThreadsDoNotMixTheirLines) {
  testing::internal::CaptureStderr();
  {
    LogSink log({.program = "x"});
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 200; ++i) log.Info("a line of the log");
      });
    }
    for (std::thread& t : threads) t.join();
  }
  std::string out = testing::internal::GetCapturedStderr();
  size_t lines = 0;
  for (size_t at = 0; (at = out.find("info a line of the log\n", at)) != out.npos; ++at) ++lines;
  EXPECT_EQ(lines, 800u);
}

TEST(LogSink, LevelsByName) {
  EXPECT_EQ(*ParseLogLevel("warn"), LogLevel::kWarn);
  Status status = ParseLogLevel("loud").status();
  EXPECT_EQ(status.code(), Code::kInvalid);
  EXPECT_NE(status.message().find("'loud'"), std::string::npos);
}

}  // namespace
}  // namespace holdfast::net
