// SPDX-License-Identifier: Apache-2.0
// A deciding thread for tests: the test's own. Calls are made and waited for one after the other,
// or many at once.
#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/hash.h"
#include "io/far/far_store.h"

namespace holdfast::far {

class DecidingThread {
 public:
  Post post() {
    return [this](std::function<void()> run) {
      std::lock_guard lock(mutex_);
      queue_.push_back(std::move(run));
      arrived_.notify_one();
    };
  }
  void RunUntil(const std::function<bool()>& done) {
    while (!done()) {
      std::unique_lock lock(mutex_);
      arrived_.wait(lock, [&] { return !queue_.empty(); });
      const std::function<void()> run = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      run();
    }
  }
  size_t posted() {
    std::lock_guard lock(mutex_);
    return queue_.size();
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<std::function<void()>> queue_;
};

struct GetOutcome {
  Status status;
  FarInfo info;
  uint64_t hash = 0;
  std::vector<std::byte> bytes;
};

class FarTest : public testing::Test {
 protected:
  // Quick retries, no proxy, nothing from the environment.
  static FarOptions QuickOptions() {
    FarOptions options;
    options.proxy = "";
    options.timeouts.backoff = 1ms;
    options.timeouts.backoff_limit = 20ms;
    options.timeouts.stall = 200ms;
    options.timeouts.max_attempts = 4;
    options.seed = 1;
    return options;
  }

  void Open(FarOptions options) {
    auto client = FarClient::Open(std::move(options), thread_.post());
    ASSERT_TRUE(client.ok()) << client.status().ToString();
    client_ = std::move(*client);
  }

  // `before`: what is in the buffer already.
  GetOutcome Get(FarGet get, std::vector<std::byte> before = {}) {
    GetOutcome outcome;
    outcome.bytes = std::move(before);
    outcome.bytes.resize(get.length);
    get.into = outcome.bytes;
    const FarGet asked = get;
    bool done = false;
    client_->Get(std::move(get), [&](Status status, FarInfo info, uint64_t hash) {
      outcome.status = std::move(status);
      outcome.info = std::move(info);
      outcome.hash = hash;
      done = true;
    });
    EXPECT_FALSE(done) << "called back from inside the call";
    thread_.RunUntil([&] { return done; });
    if (outcome.status.ok()) {
      if (!asked.whole && outcome.info.size < asked.offset + asked.length) {
        outcome.bytes.resize(outcome.info.size - asked.offset);
      }
      EXPECT_EQ(outcome.hash, Hash64(outcome.bytes));
    }
    return outcome;
  }
  GetOutcome GetWhole(const std::string& uri, uint64_t size, const std::string& etag = "") {
    FarGet get;
    get.uri = uri;
    get.etag = etag;
    get.length = size;
    return Get(std::move(get));
  }
  GetOutcome GetRange(const std::string& uri, uint64_t offset, uint64_t length,
                      const std::string& etag = "") {
    FarGet get;
    get.uri = uri;
    get.etag = etag;
    get.whole = false;
    get.offset = offset;
    get.length = length;
    return Get(std::move(get));
  }
  // Of an object of `size` bytes what is missing after `first`.
  GetOutcome GetRest(const std::string& uri, std::vector<std::byte> first, uint64_t size,
                     const std::string& etag) {
    FarGet get;
    get.uri = uri;
    get.etag = etag;
    get.offset = first.size();
    get.length = size;
    return Get(std::move(get), std::move(first));
  }
  Result<FarInfo> Head(const std::string& uri, Time deadline = Time::Max()) {
    std::optional<Result<FarInfo>> outcome;
    client_->Head(uri, deadline, [&](Result<FarInfo> info) { outcome.emplace(std::move(info)); });
    thread_.RunUntil([&] { return outcome.has_value(); });
    return *outcome;
  }
  Result<FarPage> List(const std::string& prefix, const std::string& token = "",
                       bool delimited = false) {
    std::optional<Result<FarPage>> outcome;
    client_->List(prefix, token, delimited, Time::Max(),
                  [&](Result<FarPage> page) { outcome.emplace(std::move(page)); });
    thread_.RunUntil([&] { return outcome.has_value(); });
    return *outcome;
  }

  DecidingThread thread_;
  std::unique_ptr<FarClient> client_;
};

}  // namespace holdfast::far
