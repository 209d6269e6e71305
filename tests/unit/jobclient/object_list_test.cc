// SPDX-License-Identifier: Apache-2.0
#include "holdfast/object_list.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

TEST(ObjectList, ParsesNamesWithAndWithoutVersions) {
  Result<ObjectList> list = ObjectList::Parse(
      "# a comment\n"
      "file:///a\n"
      "\n"
      "s3://b/k ey\t123\tabc\r\n"
      "file:///last\t0\tx");
  ASSERT_TRUE(list.ok()) << list.status().ToString();
  ASSERT_EQ(list->size(), 3u);
  EXPECT_EQ(list->item(0).uri, "file:///a");
  EXPECT_FALSE(list->item(0).has_size);
  EXPECT_EQ(list->item(1).uri, "s3://b/k ey");
  EXPECT_EQ(list->item(1).size, 123u);
  EXPECT_EQ(list->item(1).etag, "abc");
  EXPECT_TRUE(list->item(2).has_size);
  EXPECT_EQ(list->item(2).size, 0u);
}

TEST(ObjectList, NamesTheLineOfAMistake) {
  for (const char* text :
       {"a\nb\tmany\tx\n", "a\nb\t12\n", "a\nb\t12\tx\ty\n", "a\n\t1\tx\n", "a\nb\t-1\tx\n"}) {
    Result<ObjectList> list = ObjectList::Parse(text);
    ASSERT_FALSE(list.ok()) << text;
    EXPECT_EQ(list.status().code(), Code::kInvalid);
    EXPECT_NE(list.status().message().find("line 2"), std::string::npos) << list.status().message();
  }
}

TEST(ObjectList, RefusesNamesThatAListFileCannotHold) {
  ObjectList list;
  EXPECT_FALSE(list.Add("").ok());
  EXPECT_FALSE(list.Add(std::string_view("a\0b", 3)).ok());
  EXPECT_FALSE(list.Add("a\nb").ok());
  EXPECT_FALSE(list.Add("a\tb").ok());
  EXPECT_FALSE(list.Add(std::string(4097, 'x')).ok());
  EXPECT_FALSE(list.Add("a", 1, std::string(257, 'e')).ok());
  EXPECT_FALSE(list.Add("a", 1, "e\n").ok());
  EXPECT_TRUE(list.empty());  // what was refused left nothing behind
  EXPECT_TRUE(list.Add(std::string(4096, 'x'), 1, std::string(256, 'e')).ok());
  EXPECT_EQ(list.item(0).uri.size(), 4096u);
}

TEST(ObjectList, FormatIsWhatParseReads) {
  ObjectList list;
  ASSERT_TRUE(list.Add("file:///a").ok());
  ASSERT_TRUE(list.Add("file:///b", 7, "tag").ok());
  ASSERT_TRUE(list.Add("file:///a").ok());
  list.SetVersion(0, 9, "late");
  EXPECT_EQ(list.Format(), "file:///a\t9\tlate\nfile:///b\t7\ttag\nfile:///a\n");
  Result<ObjectList> again = ObjectList::Parse(list.Format());
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->Format(), list.Format());
}

TEST(ObjectList, EndsAtItsLimit) {
  ObjectList list;
  for (int i = 0; i < 4'000'000; ++i) ASSERT_TRUE(list.Add("x").ok());
  Status over = list.Add("x");
  EXPECT_EQ(over.code(), Code::kInvalid);
  EXPECT_NE(over.message().find("4,000,000"), std::string::npos);
}

}  // namespace
}  // namespace holdfast
