// SPDX-License-Identifier: Apache-2.0
#include "io/disk/key_value_log.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <thread>
#include <vector>

#include "tests/unit/io/disk/directory_fixture.h"
#include "tests/unit/io/disk/log_fixture.h"

namespace holdfast::disk {
namespace {

Oid OidAt(uint64_t n) { return {Mix64(n), Mix64(n + 1'000'000)}; }

class KeyValueLogTest : public InDirectory {
 protected:
  std::unique_ptr<KeyValueLog> MustOpenStore() {
    auto store = KeyValueLog::Open(options_);
    EXPECT_TRUE(store.ok()) << store.status().ToString();
    return store.ok() ? *std::move(store) : nullptr;
  }
  static std::optional<std::string> Get(KeyValueLog* store, uint64_t n) {
    Result<std::optional<Buffer>> value = store->Get(OidAt(n));
    EXPECT_TRUE(value.ok()) << value.status().ToString();
    if (!value.ok() || !*value) return std::nullopt;
    return std::string(AsText((*value)->view()));
  }

  const CommitLogOptions options_{.path = directory_ + "/values", .bytes = 16 * kMiB};
};

TEST_F(KeyValueLogTest, HoldsWhatAMapHolds) {
  Random random(3);
  std::map<uint64_t, std::string> model;
  auto store = MustOpenStore();
  for (uint64_t step = 0; step < 400; ++step) {
    const uint64_t n = random.Below(100);
    const std::string value = TextOf(step, random.Below(5'000));
    ASSERT_TRUE(store->Put(OidAt(n), AsBytes(value)).ok());
    model[n] = value;
    if (random.Chance(0.02)) {
      store.reset();
      store = MustOpenStore();
    }
    const uint64_t other = random.Below(120);
    ASSERT_EQ(Get(store.get(), other),
              model.contains(other) ? std::optional(model[other]) : std::nullopt);
  }
  EXPECT_EQ(store->size(), model.size());
  ASSERT_TRUE(store->Truncate(store->end()).ok());
  EXPECT_EQ(store->size(), 0u);
  EXPECT_EQ(Get(store.get(), model.begin()->first), std::nullopt);
}

// The index must say what the log says, however the threads came to it.
TEST_F(KeyValueLogTest, TheNewestOfConcurrentPutsIsTheSameAfterAStart) {
  auto store = MustOpenStore();
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; i < 100; ++i) {
        ASSERT_TRUE(store->Put(OidAt(i % 5), AsBytes(TextOf(t * 100 + i, 900))).ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::vector<std::optional<std::string>> before, after;
  for (uint64_t n = 0; n < 5; ++n) before.push_back(Get(store.get(), n));
  store.reset();
  store = MustOpenStore();
  for (uint64_t n = 0; n < 5; ++n) after.push_back(Get(store.get(), n));
  EXPECT_EQ(before, after);
}

TEST_F(KeyValueLogTest, AGetWaitsForAPutInFlight) {
  auto store = MustOpenStore();
  ASSERT_TRUE(store->Begin(OidAt(1), AsBytes("value")).ok());
  EXPECT_EQ(Get(store.get(), 1), "value");
}

TEST_F(KeyValueLogTest, ADamagedValueIsAnError) {
  auto store = MustOpenStore();
  ASSERT_TRUE(store->Put(OidAt(1), AsBytes(std::string(3'000, 'v'))).ok());
  {
    std::fstream file(options_.path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(kHeadsBytes + 2'000));
    file << 'x';
  }
  EXPECT_EQ(store->Get(OidAt(1)).status().code(), Code::kCorrupt);
}

TEST_F(KeyValueLogTest, ALogOfSomethingElseIsRefused) {
  MustAppend(CommitLog::Open(options_)->get(), "short");
  EXPECT_EQ(KeyValueLog::Open(options_).status().code(), Code::kInvalid);
}

}  // namespace
}  // namespace holdfast::disk
