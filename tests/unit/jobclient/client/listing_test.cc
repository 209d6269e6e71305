// SPDX-License-Identifier: Apache-2.0
#include "jobclient/client/listing.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace holdfast::client {
namespace {

class QueueClock : public Clock {
 public:
  Time Now() const override { return {}; }
  WallTime Wall() const override { return {}; }
  void At(Time, std::function<void()> run) override { queue_.push_back(std::move(run)); }
  void RunAll() {
    while (!queue_.empty()) {
      std::function<void()> run = std::move(queue_.front());
      queue_.pop_front();
      run();
    }
  }

 private:
  std::deque<std::function<void()>> queue_;
};

// Answers every LIST with what `page` says.
class Store : public FarStore {
 public:
  using Page = std::function<FarPage(const std::string& prefix, const std::string& token)>;
  Store(QueueClock* clock, Page page) : clock_(clock), page_(std::move(page)) {}
  void Get(FarGet, std::function<void(Status, FarInfo, uint64_t)>) override {}
  void Head(const std::string&, Time, std::function<void(Result<FarInfo>)>) override {}
  void List(const std::string& prefix, const std::string& token, bool, Time,
            std::function<void(Result<FarPage>)> done) override {
    ++lists;
    clock_->At({}, [this, prefix, token, done = std::move(done)] { done(page_(prefix, token)); });
  }
  FarCounters Counters() const override { return {}; }
  size_t lists = 0;

 private:
  QueueClock* clock_;
  Page page_;
};

class ListingTest : public testing::Test {
 protected:
  Result<std::vector<FarEntry>> ListAll(Store::Page page) {
    Store store(&clock_, std::move(page));
    Result<std::vector<FarEntry>> listed = Status::Timeout("it does not end");
    Listing::Start(
        {.clock = &clock_, .network = nullptr, .far = &store, .random = nullptr, .log = nullptr},
        "s3+http://h/b/", 100, &count_,
        [&](Result<std::vector<FarEntry>> all) { listed = std::move(all); });
    clock_.RunAll();
    lists_ = store.lists;
    return listed;
  }
  QueueClock clock_;
  std::atomic<uint64_t> count_{0};
  size_t lists_ = 0;
};

TEST_F(ListingTest, FollowsPagesAndPrefixes) {
  const auto listed = ListAll([](const std::string& prefix, const std::string& token) {
    FarPage page;
    page.entries.push_back({prefix + "x" + token, {1, "e"}});
    if (prefix == "s3+http://h/b/" && token.empty()) {
      page.prefixes.push_back(prefix + "p/");
      page.next = "2";
    }
    return page;
  });
  ASSERT_TRUE(listed.ok()) << listed.status().ToString();
  EXPECT_EQ(listed->size(), 3u);
  EXPECT_EQ(count_, 3u);
}

TEST_F(ListingTest, EndsWhateverTheStoreSays) {
  const auto too_many = ListAll([](const std::string& prefix, const std::string&) {
    FarPage page;
    for (int i = 0; i < 60; ++i) page.entries.push_back({prefix + std::to_string(i), {1, "e"}});
    page.next = "more";
    return page;
  });
  EXPECT_EQ(too_many.status().code(), Code::kNoSpace);
  const auto empty_pages = ListAll([](const std::string&, const std::string& token) {
    FarPage page;
    page.next = token + "x";
    return page;
  });
  EXPECT_EQ(empty_pages.status().code(), Code::kNoSpace);
  const auto new_prefixes = ListAll([](const std::string& prefix, const std::string&) {
    FarPage page;
    page.prefixes = {prefix + "a/", prefix + "b/"};
    return page;
  });
  EXPECT_EQ(new_prefixes.status().code(), Code::kNoSpace);
  EXPECT_LE(lists_, 300u);
}

}  // namespace
}  // namespace holdfast::client
