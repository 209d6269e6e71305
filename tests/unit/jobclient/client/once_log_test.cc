// SPDX-License-Identifier: Apache-2.0
#include "jobclient/client/once_log.h"

#include <gtest/gtest.h>

#include <vector>

namespace holdfast::client {
namespace {

class Lines : public Log {
 public:
  void Write(LogLevel, std::string_view line) override { all.emplace_back(line); }
  std::vector<std::string> all;
};

TEST(OnceLog, HandsOnWhatIsNew) {
  Lines lines;
  OnceLog log(&lines);
  for (int connection = 0; connection < 3; ++connection) {
    log.Warn("node 1 is away");
    log.Warn("node 2 is away");
  }
  EXPECT_EQ(lines.all, (std::vector<std::string>{"node 1 is away", "node 2 is away"}));
}

TEST(OnceLog, RemembersNoMoreThanItMay) {
  Lines lines;
  OnceLog log(&lines);
  for (int i = 0; i < 1'000; ++i) log.Warn(std::to_string(i));
  log.Warn("999");
  EXPECT_EQ(lines.all.size(), 1'001u);
}

}  // namespace
}  // namespace holdfast::client
