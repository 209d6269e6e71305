// SPDX-License-Identifier: Apache-2.0
#include "io/config/config_file.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace holdfast::config {
namespace {

ConfigFile Parsed(std::string_view text) {
  Result<ConfigFile> file = ConfigFile::Parse(text, "test.toml");
  EXPECT_TRUE(file.ok()) << file.status().ToString();
  return *std::move(file);
}

TEST(ConfigFile, EveryKindOfValueIsRead) {
  ConfigFile file = Parsed(
      "name = \"a\"\nflag = true\n[memory]\nlimit = \"4GiB\"\nplain = 4096\n[t]\nwait = "
      "\"30s\"\nlist = [\"x\", \"y\"]\n");
  std::string name;
  bool flag = false;
  uint64_t limit = 0, plain = 0;
  Duration wait{};
  std::vector<std::string> list;
  file.Get("name", &name);
  file.Get("flag", &flag);
  file.GetBytes("memory.limit", &limit);
  file.GetBytes("memory.plain", &plain);
  file.GetDuration("t.wait", &wait);
  file.Get("t.list", &list);
  ASSERT_TRUE(file.Finish().ok()) << file.Finish().ToString();
  EXPECT_EQ(name, "a");
  EXPECT_TRUE(flag);
  EXPECT_EQ(limit, 4 * kGiB);
  EXPECT_EQ(plain, 4096u);
  EXPECT_EQ(wait, 30s);
  EXPECT_EQ(list, (std::vector<std::string>{"x", "y"}));
}

TEST(ConfigFile, AnUnknownKeyIsNamedWithItsLineAndWhatIsAllowed) {
  ConfigFile file = Parsed("a = 1\n[memory]\nlimti = \"4GiB\"\n");
  uint64_t a = 0, limit = 0;
  file.Get("a", &a, 0, 10);
  file.GetBytes("memory.limit", &limit);
  EXPECT_EQ(file.Finish().ToString(),
            "invalid: test.toml:3: memory.limti: no such key; allowed are a, memory.limit");
}

TEST(ConfigFile, AWrongValueIsNamedWithItsLine) {
  ConfigFile file = Parsed("a = 1\nlimit = \"4 GiBs\"\n");
  uint64_t a = 0, limit = 7;
  file.Get("a", &a, 0, 10);
  file.GetBytes("limit", &limit);
  EXPECT_EQ(limit, 7u);
  EXPECT_NE(file.Finish().message().find("test.toml:2: limit: \"4 GiBs\" is not a size"),
            std::string::npos)
      << file.Finish().message();
}

TEST(ConfigFile, FlagsBeatTheEnvironmentWhichBeatsTheFile) {
  ConfigFile file = Parsed("[memory]\nlimit = \"1GiB\"\nplanning = \"1MiB\"\nother = \"5B\"\n");
  ::setenv("HFTEST_MEMORY_LIMIT", "2GiB", 1);
  ::setenv("HFTEST_MEMORY_PLANNING", "2MiB", 1);
  file.UseEnvironment("HFTEST");
  ASSERT_TRUE(file.Set("memory.limit=3GiB").ok());
  uint64_t limit = 0, planning = 0, other = 0;
  file.GetBytes("memory.limit", &limit);
  file.GetBytes("memory.planning", &planning);
  file.GetBytes("memory.other", &other);
  EXPECT_TRUE(file.Finish().ok());
  EXPECT_EQ(limit, 3 * kGiB);
  EXPECT_EQ(planning, 2 * kMiB);
  EXPECT_EQ(other, 5u);
  ::unsetenv("HFTEST_MEMORY_LIMIT");
  ::unsetenv("HFTEST_MEMORY_PLANNING");
}

TEST(ConfigFile, AFlagWithoutItsKeyIsUnknown) {
  ConfigFile file = Parsed("");
  ASSERT_TRUE(file.Set("nonsense=1").ok());
  EXPECT_EQ(file.Finish().code(), Code::kInvalid);
  EXPECT_FALSE(file.Set("nonsense").ok());
}

TEST(ConfigFile, ElementsOfAnArrayOfTablesAreCheckedToo) {
  ConfigFile file = Parsed("[[node]]\nid = 1\n[[node]]\nid = 2\nx = 1\n");
  for (ConfigFile& element : file.Tables("node")) {
    uint64_t id = 0;
    element.Get("id", &id, 0, 10);
    file.Join(element);
  }
  EXPECT_EQ(file.Finish().message(), "test.toml:5: node[1].x: no such key; allowed are id");
}

TEST(ConfigFile, TablesCannotBeSetByAFlag) {
  ConfigFile file = Parsed("");
  ASSERT_TRUE(file.Set("node=1").ok());
  EXPECT_TRUE(file.Tables("node").empty());
  EXPECT_EQ(file.Finish().message(), "node: cannot be set so; write [[node]] tables in the file");
}

TEST(ConfigFile, ASyntaxErrorHasItsPlace) {
  Result<ConfigFile> file = ConfigFile::Parse("a = \n", "test.toml");
  ASSERT_FALSE(file.ok());
  EXPECT_EQ(file.status().message().rfind("test.toml:1:", 0), 0u) << file.status().message();
}

TEST(ConfigFile, ANumberOutOfRangeNamesTheRange) {
  ConfigFile file = Parsed("node = 70000\n");
  uint64_t node = 1;
  file.Get("node", &node, 0, 65534);
  EXPECT_EQ(file.Finish().message(), "test.toml:1: node: must be an integer from 0 to 65534");
  EXPECT_EQ(node, 1u);
}

}  // namespace
}  // namespace holdfast::config
