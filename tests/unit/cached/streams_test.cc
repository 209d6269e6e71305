// SPDX-License-Identifier: Apache-2.0
// What a node knows about streams: names, entries, writers, and their ends.
#include "tests/unit/cached/streams_fixture.h"

namespace holdfast::cached {
namespace {

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
