// SPDX-License-Identifier: Apache-2.0
// What a node does about streams: its catalogues, the room that chunks have, and what becomes of both.
#include "tests/unit/cached/node_fixture.h"
#include "tests/unit/cached/store/fake_disk.h"
#include "wire/stream_entry.h"

namespace holdfast::cached {
namespace {

constexpr PeerId kWriterPeer = 9;
constexpr uint32_t kChunk = 50'000;

wire::StreamTerms Terms(uint64_t stream = 5) {
  return {.stream = stream,
          .memory_bytes = 1 * kMiB,
          .disk_bytes = 2 * kMiB,
          .writers = 1,
          .copies = 1,
          .expires_in = 60s};
}

// Bytes of value 7: the network of the fixture gives no others.
uint64_t HashOf(uint32_t bytes) { return Hash64(std::vector<std::byte>(bytes, std::byte{7})); }

wire::StreamEntry Entry(uint32_t number, uint64_t writer = 3) {
  return {.writer = writer,
          .first_record = number * uint64_t{10},
          .hash = 99,
          .number = number,
          .records = 10,
          .bytes = 1'000,
          .nodes = {0, kNoNode}};
}

class StreamsTest : public NodeTest {
 protected:
  void StartWithDisk(uint32_t percent = 75) {
    NodeOptions options;
    options.stream_disk_percent = percent;
    world_ = std::make_unique<World>(8 * kMiB, options);
    disk_ = std::make_unique<store::FakeDisk>(&world_->clock, &image_);
    tier_ = std::make_unique<store::DiskTier>(
        world_->env, disk_.get(),
        store::DiskTierOptions{.identity = {0, "holdfast"}, .index_objects = 20'000});
    tier_->Recover([](const Status& status) { HF_CHECK(status.ok()); });
    world_->clock.RunFor(1s);
    world_->network.peers_give = true;
    node_ = std::make_unique<Node>(world_->env, world_->tier.get(), world_->context->options,
                                   tier_.get());
    node_->Start();
  }

  wire::StreamReply Open(const std::string& name, const wire::StreamTerms& terms,
                         bool create = true, uint64_t writer = 3) {
    world_->network.Deliver(kWriterPeer, wire::StreamOpen{.id = 1,
                                                          .name = name,
                                                          .terms = terms,
                                                          .create = create,
                                                          .writer = writer,
                                                          .lease = 10s});
    const auto* reply = world_->network.Last<wire::StreamReply>();
    return {.id = reply->id, .status = reply->status, .name = reply->name, .terms = reply->terms};
  }
  const wire::StreamAppended* Append(const std::vector<wire::StreamEntry>& entries,
                                     bool ended = false, uint64_t stream = 5) {
    world_->network.Deliver(
        kWriterPeer, wire::StreamAppend{.id = 2,
                                        .stream = stream,
                                        .writer = 3,
                                        .first = entries.empty() ? 0 : entries.front().number,
                                        .ended = ended,
                                        .lease = 10s,
                                        .entries = wire::RowsOf(std::span(entries))});
    return world_->network.Last<wire::StreamAppended>();
  }
  const wire::StreamReply* Query(uint64_t after = 0) {
    world_->network.Deliver(kJobPeer,
                            wire::StreamQuery{.id = 3, .name = "s", .stream = 0, .after = after});
    return world_->network.Last<wire::StreamReply>();
  }
  static wire::StreamWriterState WriterOf(const wire::StreamReply& reply) {
    return wire::RowsIn<wire::StreamWriterState>(reply.writers).at(0);
  }

  void SendKeep(uint32_t number, bool on_disk, uint32_t bytes = kChunk, uint64_t hash = 0) {
    world_->network.Deliver(kWriterPeer, wire::StreamKeep{.id = 4,
                                                          .terms = Terms(),
                                                          .writer = 3,
                                                          .number = number,
                                                          .bytes = bytes,
                                                          .hash = hash != 0 ? hash : HashOf(bytes),
                                                          .on_disk = on_disk,
                                                          .shelf = "tcp://writer:1"});
  }
  const wire::StreamKept& Keep(uint32_t number, bool on_disk, uint32_t bytes = kChunk,
                               uint64_t hash = 0) {
    SendKeep(number, on_disk, bytes, hash);
    world_->clock.RunFor(10ms);
    Check();
    return *world_->network.Last<wire::StreamKept>();
  }
  static Oid OidOfChunk(uint32_t number) { return OidOf(wire::ChunkName(5, 3, number)); }
  bool InMemory(uint32_t number) const {
    return world_->tier->Find(OidOfChunk(number), HashOf(kChunk)).has_value();
  }
  Status Miss(uint32_t number) {
    bulk::ReadMiss miss;
    miss.oid = OidOfChunk(number);
    miss.version = HashOf(kChunk);
    std::optional<Status> got;
    node_->OnMiss(std::move(miss), [&](Status status) { got = std::move(status); });
    world_->clock.RunFor(100ms);
    HF_CHECK(got.has_value());
    return *got;
  }
  const wire::StreamDropped* Drop(const std::string& name, uint64_t stream = 0) {
    world_->network.Deliver(kJobPeer, wire::StreamDrop{.id = 5, .name = name, .stream = stream});
    world_->clock.RunFor(10ms);
    Check();
    return world_->network.Last<wire::StreamDropped>();
  }

  sim::DiskImage image_{16, 256 * kKiB};
  std::unique_ptr<store::FakeDisk> disk_;
  std::unique_ptr<store::DiskTier> tier_;
};

// --- Catalogues ----------------------------------------------------------------------------------

TEST_F(StreamsTest, ANameIsGivenOnce) {
  Start();
  EXPECT_TRUE(Open("s", Terms()).status.ok());
  EXPECT_TRUE(Open("s", Terms()).status.ok());  // the message came twice
  const Status taken = Open("s", Terms(6)).status;
  EXPECT_EQ(taken.code(), Code::kInvalid);
  EXPECT_NE(taken.message().find("open already"), std::string::npos);
  EXPECT_TRUE(Open("other", Terms(6)).status.ok());
  EXPECT_EQ(Open("none", Terms(0), false).status.code(), Code::kNotFound);
  const wire::StreamReply joined = Open("s", Terms(0), false, 4);
  EXPECT_TRUE(joined.status.ok());
  EXPECT_EQ(joined.terms.stream, 5u);
  EXPECT_EQ(Open("a b", Terms(7)).status.code(), Code::kInvalid);
  wire::StreamTerms endless = Terms(7);
  endless.expires_in = {};
  EXPECT_EQ(Open("endless", endless).status.code(), Code::kInvalid);
}

TEST_F(StreamsTest, EntriesAreTakenInTheirOrderAndOnce) {
  Start();
  ASSERT_TRUE(Open("s", Terms()).status.ok());
  EXPECT_EQ(Append({Entry(0), Entry(1)})->next, 2u);
  EXPECT_EQ(Append({Entry(3), Entry(4)})->next, 2u);  // 2 is on its way
  EXPECT_EQ(Append({Entry(1), Entry(2), Entry(3)})->next, 4u);
  EXPECT_EQ(Append({Entry(0)})->next, 4u);
  const wire::StreamReply* reply = Query(1);
  EXPECT_EQ(reply->first, 1u);
  EXPECT_EQ(reply->total, 4u);
  const auto entries = wire::RowsIn<wire::StreamEntry>(reply->entries);
  ASSERT_EQ(entries.size(), 3u);
  for (uint32_t i = 0; i < 3; ++i) EXPECT_EQ(entries[i].number, i + 1);
  EXPECT_EQ(WriterOf(*reply).records, 40u);
  EXPECT_EQ(WriterOf(*reply).phase, wire::StreamWriterPhase::kWriting);
  EXPECT_FALSE(Append({Entry(5)}, true)->ended);  // 4 is missing
  EXPECT_TRUE(Append({Entry(4), Entry(5)}, true)->ended);
  EXPECT_TRUE(Append({Entry(4), Entry(5)}, true)->ended);
  EXPECT_EQ(WriterOf(*Query()).phase, wire::StreamWriterPhase::kEnded);
  EXPECT_EQ(Append({Entry(6)}, false, 77)->status.code(), Code::kNotFound);
}

TEST_F(StreamsTest, AWriterThatIsSilentForItsLeaseIsGone) {
  Start();
  ASSERT_TRUE(Open("s", Terms()).status.ok());
  world_->clock.RunFor(8s);
  EXPECT_TRUE(Append({Entry(0)})->status.ok());
  world_->clock.RunFor(8s);
  EXPECT_EQ(WriterOf(*Query()).phase, wire::StreamWriterPhase::kWriting);
  world_->clock.RunFor(4s);
  EXPECT_EQ(WriterOf(*Query()).phase, wire::StreamWriterPhase::kGone);
  EXPECT_EQ(Append({Entry(1)})->status.code(), Code::kTimeout);
  EXPECT_EQ(Query()->total, 1u);
}

TEST_F(StreamsTest, AStreamExpires) {
  StartWithDisk();
  ASSERT_TRUE(Open("s", Terms()).status.ok());
  ASSERT_TRUE(Keep(0, false).status.ok());
  ASSERT_TRUE(Keep(1, true).status.ok());
  EXPECT_GT(State()["promises"]["reserved_bytes"], 0);
  EXPECT_EQ(tier_->Stats().lent_segments, 1u);
  world_->clock.RunFor(58s);
  EXPECT_TRUE(Query()->status.ok());
  EXPECT_TRUE(InMemory(0));
  world_->clock.RunFor(4s);
  EXPECT_EQ(Query()->status.code(), Code::kNotFound);
  EXPECT_FALSE(InMemory(0));
  EXPECT_EQ(Miss(1).code(), Code::kNotFound);
  EXPECT_EQ(State()["promises"]["reserved_bytes"], 0);
  EXPECT_EQ(tier_->Stats().lent_segments, 0u);
  Check();
}

// --- Chunks --------------------------------------------------------------------------------------

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

TEST_F(StreamsTest, WithoutADiskThereIsNoRoomOnIt) {
  Start();
  world_->network.peers_give = true;
  const Status refused = Keep(0, true).status;
  EXPECT_EQ(refused.code(), Code::kNoSpace);
  EXPECT_NE(refused.message().find("disk.directory"), std::string::npos);
  EXPECT_TRUE(Keep(0, false).status.ok());
}

TEST_F(StreamsTest, TheListSaysWhatThereIs) {
  StartWithDisk();
  ASSERT_TRUE(Open("s", Terms()).status.ok());
  Append({Entry(0)});
  ASSERT_TRUE(Keep(0, false).status.ok());
  ASSERT_TRUE(Keep(1, true).status.ok());
  world_->network.Deliver(kJobPeer, wire::StreamList{.id = 6});
  const auto json = nlohmann::json::parse(world_->network.Last<wire::StreamListed>()->json);
  EXPECT_EQ(json["catalogues"][0]["name"], "s");
  EXPECT_EQ(json["catalogues"][0]["records"], 10);
  EXPECT_EQ(json["catalogues"][0]["writing"], 1);
  EXPECT_EQ(json["rooms"][0]["chunks"], 2);
  EXPECT_EQ(json["rooms"][0]["disk_bytes"], kChunk);
}

}  // namespace
}  // namespace holdfast::cached
