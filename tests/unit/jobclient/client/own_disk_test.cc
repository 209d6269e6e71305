// SPDX-License-Identifier: Apache-2.0
// A real server that says where objects lie, and a client that reads them there.
#include "jobclient/client/own_disk.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <mutex>
#include <thread>

#include "tests/unit/io/bulk/test_node.h"
#include "tests/unit/io/disk/segment_directory.h"

namespace holdfast::client {
namespace {

using disk::MakeObject;
using disk::Object;

class OwnDiskTest : public disk::SegmentDirectory {
 protected:
  void SetUp() override {
    auto loop = net::EventLoop::Create();
    ASSERT_TRUE(loop.ok());
    loop_ = *std::move(loop);
    ASSERT_TRUE(node_
                    .Serve({.cluster = "test"},
                           [this](bulk::ReadMiss miss, std::function<void(Status)> done) {
                             OnMiss(std::move(miss), done);
                           })
                    .ok());
    bulk_ = std::make_unique<bulk::BulkClient>(bulk::BulkClientOptions{.cluster = "test"});
    own_ = std::make_unique<OwnDisk>(loop_.get(), bulk_.get(), directory_);
    thread_ = std::thread([this] { loop_->Run(); });
  }
  void TearDown() override {
    loop_->Stop();
    thread_.join();
    bulk_.reset();
    own_->Stop();
  }

  // The node: it says the place, and loads into memory what is asked for without.
  void OnMiss(bulk::ReadMiss miss, const std::function<void(Status)>& done) {
    std::lock_guard lock(mutex_);
    ++misses_;
    auto place = places_.find(miss.oid);
    if (miss.on_disk && place != places_.end()) return miss.on_disk(place->second);
    ++asked_for_bytes_;
    auto number = numbers_.find(miss.oid);
    if (number == numbers_.end()) return done(Status::NotFound("nobody has it"));
    node_.Put(number->second, kBytes);
    done({});
  }
  // An object of the node's, of which it says that it lies at `place`.
  void Says(const Oid& oid, disk::Place place) {
    std::lock_guard lock(mutex_);
    places_[oid] = place;
  }

  BulkOutcome Read(const Oid& oid, VersionHash version, uint64_t size, ByteSpan into,
                   Duration patience = 20s) {
    bulk::PendingRead read(1);
    std::vector<BulkItem> items;
    items.push_back(
        {.oid = oid, .version = version, .size = size, .name = {}, .etag = {}, .into = into});
    loop_->Post([&] {
      own_->Read(node_.endpoint(), BulkMode::kWait, std::move(items), loop_->Now() + patience,
                 read.Each());
    });
    read.Wait();
    return read.outcomes[0];
  }
  BulkOutcome Read(const Object& object) {
    into_.assign(object.bytes.size(), std::byte{0xee});
    return Read(object.oid(), object.version(), object.bytes.size(), into_);
  }

  static constexpr uint64_t kBytes = 50'000;

  bulk::TestNode node_;
  std::unique_ptr<net::EventLoop> loop_;
  std::unique_ptr<bulk::BulkClient> bulk_;
  std::unique_ptr<OwnDisk> own_;
  std::thread thread_;
  std::vector<std::byte> into_;
  std::mutex mutex_;
  std::map<Oid, disk::Place> places_;
  std::map<Oid, uint64_t> numbers_;  // what the node can load
  int misses_ = 0;
  int asked_for_bytes_ = 0;
};

TEST_F(OwnDiskTest, WhatTheNodeSaysThePlaceOfIsReadThere) {
  MakeSegment(0);
  const Object object = MakeObject(1, kBytes);
  Says(object.oid(), Write(0, disk::kFirstRecord, object));
  const BulkOutcome outcome = Read(object);
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.ToString();
  EXPECT_TRUE(outcome.own_disk);
  EXPECT_TRUE(outcome.answered);
  EXPECT_EQ(outcome.version, object.version());
  EXPECT_EQ(outcome.hash, Hash64(object.bytes));
  EXPECT_TRUE(into_ == object.bytes);
  EXPECT_EQ(asked_for_bytes_, 0);
  EXPECT_EQ(own_->reads().objects, 1u);
  EXPECT_EQ(own_->reads().bytes, kBytes);
}

// The place was written anew since: the node is asked for the bytes, and its memory gives them.
TEST_F(OwnDiskTest, WhatLiesThereNoLongerIsAskedFor) {
  MakeSegment(0);
  const Oid oid = bulk::OidNumber(7);
  numbers_[oid] = 7;
  Write(0, disk::kFirstRecord, MakeObject(2, kBytes));
  Says(oid, {.segment = 0, .offset = disk::kFirstRecord});
  into_.assign(kBytes, std::byte{0xee});
  const BulkOutcome outcome = Read(oid, 1, kBytes, into_);
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.ToString();
  EXPECT_FALSE(outcome.own_disk);
  EXPECT_TRUE(into_ == bulk::BytesOf(7, 1, kBytes));
  EXPECT_EQ(asked_for_bytes_, 1);
  EXPECT_EQ(own_->reads().missed, 1u);
  EXPECT_EQ(own_->reads().failed, 0u);
}

// A file that cannot be opened: the node is asked, and for a while places are not asked for at all.
TEST_F(OwnDiskTest, ADiskThatCannotBeReadRests) {
  const Oid oid = bulk::OidNumber(7), next = bulk::OidNumber(8);
  numbers_[oid] = 7;
  numbers_[next] = 8;
  Says(oid, {.segment = 3, .offset = disk::kFirstRecord});
  Says(next, {.segment = 3, .offset = disk::kFirstRecord});
  into_.assign(kBytes, std::byte{0xee});
  EXPECT_TRUE(Read(oid, 1, kBytes, into_).status.ok());
  EXPECT_EQ(own_->reads().failed, 1u);
  EXPECT_EQ(misses_, 2);  // the place, and the bytes
  EXPECT_TRUE(Read(next, 1, kBytes, into_).status.ok());
  EXPECT_TRUE(into_ == bulk::BytesOf(8, 1, kBytes));
  EXPECT_EQ(misses_, 3);
}

// A segment that hangs, as a device may that does not answer: the deadline ends the read.
TEST_F(OwnDiskTest, ADiskThatHangsEndsAtTheDeadline) {
  ASSERT_EQ(::mkfifo(PathOf(0).c_str(), 0600), 0);  // to open it waits for somebody who writes
  const Object object = MakeObject(1, kBytes);
  Says(object.oid(), {.segment = 0, .offset = disk::kFirstRecord});
  into_.assign(kBytes, std::byte{0xee});
  const BulkOutcome outcome =
      Read(object.oid(), object.version(), object.bytes.size(), into_, 300ms);
  EXPECT_EQ(outcome.status.code(), Code::kTimeout);
  EXPECT_FALSE(outcome.answered);
  EXPECT_EQ(own_->reads().failed, 1u);
  const int writer = ::open(PathOf(0).c_str(), O_RDWR);
  ASSERT_GE(writer, 0);
  own_->Stop();
  ::close(writer);
  EXPECT_TRUE(into_ == std::vector<std::byte>(kBytes, std::byte{0xee}));
}

TEST_F(OwnDiskTest, WhoHasNoRoomIsToldThatItIsThere) {
  MakeSegment(0);
  const Object object = MakeObject(1, kBytes);
  Says(object.oid(), Write(0, disk::kFirstRecord, object));
  const BulkOutcome outcome = Read(object.oid(), object.version(), kBytes, {});
  EXPECT_EQ(outcome.status.code(), Code::kNoSpace);
  EXPECT_EQ(outcome.size, kBytes);
  EXPECT_TRUE(outcome.own_disk);
  EXPECT_EQ(own_->reads().objects, 0u);
}

}  // namespace
}  // namespace holdfast::client
