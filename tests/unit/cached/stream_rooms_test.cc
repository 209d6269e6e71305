// SPDX-License-Identifier: Apache-2.0
// The room that chunks of streams have at a node, in memory and on its disk.
#include "tests/unit/cached/streams_fixture.h"

namespace holdfast::cached {
namespace {

TEST_F(StreamsTest, AChunkIsReadFromItsWriterAndHeld) {
  StartWithDisk();
  const wire::StreamKept kept = Keep(0, false);
  EXPECT_TRUE(kept.status.ok()) << kept.status.ToString();
  EXPECT_GT(kept.room_bytes, 0u);
  EXPECT_TRUE(InMemory(0));
  ASSERT_EQ(world_->network.peer_reads.size(), 1u);
  EXPECT_EQ(world_->network.peer_reads[0].first, "tcp://writer:1");
  EXPECT_TRUE(Keep(0, false).status.ok());  // once more: nothing is read again
  EXPECT_EQ(world_->network.peer_reads.size(), 1u);
  EXPECT_EQ(Keep(0, false, kChunk, 1234).status.code(), Code::kInvalid);
  // Memory fills with other objects; the chunk stays.
  for (uint32_t n = 0; n < 3'000; ++n) world_->Put(n, 10'000);
  EXPECT_TRUE(InMemory(0));
  Check();
}

TEST_F(StreamsTest, LimitsOfTheStreamAreKept) {
  StartWithDisk();
  uint32_t kept = 0;
  while (Keep(kept, false).status.ok()) ++kept;
  EXPECT_EQ(kept, 1 * kMiB / (kChunk + 128));
  EXPECT_EQ(world_->network.Last<wire::StreamKept>()->status.code(), Code::kNoSpace);
  uint32_t on_disk = 0;
  while (Keep(kept + on_disk, true).status.ok()) ++on_disk;
  EXPECT_EQ(on_disk, 2 * kMiB / kChunk);
  EXPECT_NE(world_->network.Last<wire::StreamKept>()->status.message().find("of disk"),
            std::string::npos);
}

TEST_F(StreamsTest, LimitsOfTheNodeAreKept) {
  StartWithDisk(25);
  // All that may be promised is promised.
  const planner::Manifest manifest = ManifestOf(0, 4'000, kSize);
  Call(manifest);
  Confirm(manifest, Bitmap(4'000), Bitmap(4'000, true));
  world_->clock.RunFor(2s);
  const uint64_t left = State()["promises"]["promisable_bytes"].get<uint64_t>() -
                        State()["promises"]["reserved_bytes"].get<uint64_t>();
  uint32_t number = 0;
  while (Keep(number, false).status.ok()) ++number;
  EXPECT_LE(number * uint64_t{kChunk}, left);
  const uint32_t in_memory = number;
  while (Keep(number, true).status.ok()) ++number;
  EXPECT_EQ(tier_->Stats().lent_segments, 4u);  // a quarter of 16
  EXPECT_NE(world_->network.Last<wire::StreamKept>()->status.message().find("stream_disk_percent"),
            std::string::npos);
  EXPECT_GE(number - in_memory, 4u * 4);
}

TEST_F(StreamsTest, AChunkOnTheDiskComesBackIntoMemoryForItsReaders) {
  StartWithDisk();
  for (uint32_t n = 0; n < 20; ++n) ASSERT_TRUE(Keep(n, true).status.ok());
  EXPECT_FALSE(InMemory(3));
  EXPECT_TRUE(Miss(3).ok());
  ASSERT_TRUE(InMemory(3));
  const auto record = world_->tier->Find(OidOfChunk(3), HashOf(kChunk));
  EXPECT_EQ(Hash64(record->payload), HashOf(kChunk));
  EXPECT_EQ(record->name, wire::ChunkName(5, 3, 3));
  EXPECT_EQ(Miss(99).code(), Code::kNotFound);
  disk_->fail_reads = true;
  const Status lost = Miss(4);
  EXPECT_EQ(lost.code(), Code::kNotFound);
  EXPECT_NE(lost.message().find("disk"), std::string::npos);
  disk_->fail_reads = false;
  EXPECT_TRUE(Miss(4).ok());
}

TEST_F(StreamsTest, WhatCannotBeReadOrWrittenIsNotKept) {
  StartWithDisk();
  world_->network.peers_give = false;
  const Status unread = Keep(0, false).status;
  EXPECT_EQ(unread.code(), Code::kUnavailable);
  EXPECT_NE(unread.message().find("tcp://writer:1"), std::string::npos);
  world_->network.peers_give = true;
  EXPECT_EQ(Keep(0, false, kChunk, 4321).status.code(), Code::kCorrupt);
  disk_->fail_writes = true;
  EXPECT_EQ(Keep(0, true).status.code(), Code::kNoSpace);
  EXPECT_EQ(State()["promises"]["reserved_bytes"], 0);
  EXPECT_EQ(Keep(0, false, 8).status.code(), Code::kInvalid);
  disk_->fail_writes = false;
  EXPECT_TRUE(Keep(0, true).status.ok());
}

TEST_F(StreamsTest, ADropFreesEverythingAlsoWhatIsUnderWay) {
  StartWithDisk();
  ASSERT_TRUE(Open("s", Terms()).status.ok());
  ASSERT_TRUE(Keep(0, false).status.ok());
  ASSERT_TRUE(Keep(1, true).status.ok());
  SendKeep(2, false);
  SendKeep(3, true);
  const wire::StreamDropped* dropped = Drop("s");
  EXPECT_EQ(dropped->stream, 5u);
  EXPECT_EQ(dropped->chunks, 4u);
  EXPECT_FALSE(InMemory(0));
  EXPECT_FALSE(InMemory(2));
  EXPECT_EQ(State()["promises"]["reserved_bytes"], 0);
  EXPECT_EQ(tier_->Stats().lent_segments, 0u);
  EXPECT_EQ(Query()->status.code(), Code::kNotFound);
  EXPECT_EQ(Drop("s")->stream, 0u);
  EXPECT_EQ(Keep(4, false).status.code(), Code::kNotFound);  // its writer did not know yet
  ASSERT_TRUE(Open("s", Terms(8)).status.ok());              // the name is free
}

// What was read for a stream that expired goes nowhere: its place on the disk is another's by then,
// also when the stream began anew and wants the same chunk.
TEST_F(StreamsTest, WhatArrivesForAnEndedStreamIsNotTakenForItsSuccessors) {
  StartWithDisk();
  wire::StreamTerms brief = Terms();
  brief.expires_in = 1s;
  world_->network.peers_take = 4s;
  SendKeep(0, true, kChunk, 0, brief);
  world_->clock.RunFor(3s);
  ASSERT_EQ(tier_->Stats().lent_segments, 0u);
  SendKeep(0, true);
  ASSERT_EQ(tier_->Stats().lent_segments, 1u);
  world_->clock.RunFor(2s);  // the first read comes back
  ASSERT_EQ(world_->network.CountOf<wire::StreamKept>(), 1u);
  EXPECT_EQ(world_->network.Last<wire::StreamKept>()->status.code(), Code::kNotFound);
  Check();
  world_->clock.RunFor(3s);
  ASSERT_EQ(world_->network.CountOf<wire::StreamKept>(), 2u);
  EXPECT_TRUE(world_->network.Last<wire::StreamKept>()->status.ok());
  EXPECT_TRUE(Miss(0).ok());
}

TEST_F(StreamsTest, WithoutADiskThereIsNoRoomOnIt) {
  Start();
  world_->network.peers_give = true;
  const Status refused = Keep(0, true).status;
  EXPECT_EQ(refused.code(), Code::kNoSpace);
  EXPECT_NE(refused.message().find("disk.directory"), std::string::npos);
  EXPECT_TRUE(Keep(0, false).status.ok());
}

}  // namespace
}  // namespace holdfast::cached
