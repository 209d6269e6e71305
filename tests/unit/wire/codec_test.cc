// SPDX-License-Identifier: Apache-2.0
#include "wire/codec.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/unit/wire/codec_checks.h"
#include "tests/unit/wire/samples.h"
#include "wire/envelope.h"

namespace holdfast::wire {
namespace {

TEST(Codec, EveryMessageFullAndEmptySurvives) {
  for (auto make : {+[] { return FullMessages(); }, +[] { return EmptyMessages(); }}) {
    std::vector<Message> messages = make();
    ASSERT_EQ(messages.size(), std::variant_size_v<Message>);
    for (size_t i = 0; i < messages.size(); ++i) {
      ASSERT_EQ(messages[i].index(), i);
      std::string name(NameOf(messages[i]));
      Frames sent = Encode(std::move(messages[i]));
      Result<Message> decoded = Decode(CopyOf(sent));
      ASSERT_TRUE(decoded.ok()) << name << ": " << decoded.status().ToString();
      EXPECT_EQ(decoded->index(), i);
      EXPECT_TRUE(SameFrames(Encode(std::move(*decoded)), sent)) << name;
    }
  }
}

TEST(Codec, NamesAreDistinctAndTheOnesOfTheTypes) {
  std::set<std::string_view> names;
  for (const Message& m : EmptyMessages()) names.insert(NameOf(m));
  EXPECT_EQ(names.size(), std::variant_size_v<Message>);
  EXPECT_EQ(NameOf(Message(Call{})), "Call");
  EXPECT_EQ(NameOf(Message(ErrorReply{})), "ErrorReply");
}

TEST(Codec, FieldsOfHelloAndItsReply) {
  Hello hello = RoundTrip(Hello{"training", 1, 2, 3});
  EXPECT_EQ(hello.cluster, "training");
  EXPECT_EQ(hello.job, 1u);
  EXPECT_EQ(hello.node, 2u);
  EXPECT_EQ(hello.incarnation, 3u);
  HelloReply reply = RoundTrip(HelloReply{1, 2, 3, 4, 5, 6, 7, "tcp://h:1", "http://s3", 8, 9});
  EXPECT_EQ(reply.node, 1u);
  EXPECT_EQ(reply.incarnation, 2u);
  EXPECT_EQ(reply.capacity_bytes, 3u);
  EXPECT_EQ(reply.free_bytes, 4u);
  EXPECT_EQ(reply.max_object_bytes, 5u);
  EXPECT_EQ(reply.far_bytes_per_s, 6u);
  EXPECT_EQ(reply.far_objects_per_s, 7u);
  EXPECT_EQ(reply.bulk_endpoint, "tcp://h:1");
  EXPECT_EQ(reply.far_identity, "http://s3");
  EXPECT_EQ(reply.guest_bytes, 8u);
  EXPECT_EQ(reply.guest_disk_bytes, 9u);
}

TEST(Codec, FieldsOfManifests) {
  NeedManifest need = RoundTrip(NeedManifest{1, 2, {3, 4}});
  EXPECT_EQ(need.job, 1u);
  EXPECT_EQ(need.call, 2u);
  EXPECT_EQ(need.digest, (Oid{3, 4}));
  Manifest got = RoundTrip(FullManifest()), want = FullManifest();
  EXPECT_EQ(got.digest, want.digest);
  EXPECT_EQ(got.columns.count, 2u);
  EXPECT_EQ(got.columns.size_width, 8u);
  EXPECT_TRUE(SameBytes(got.columns.oids, want.columns.oids));
  EXPECT_TRUE(SameBytes(got.columns.sizes, want.columns.sizes));
  EXPECT_TRUE(SameBytes(got.columns.versions, want.columns.versions));
}

TEST(Codec, FieldsOfCall) {
  Call got = RoundTrip(FullCall()), want = FullCall();
  EXPECT_EQ(got.job, 1u);
  EXPECT_EQ(got.call, 2u);
  EXPECT_EQ(got.digest, (Oid{3, 4}));
  EXPECT_EQ(got.count, 70u);
  EXPECT_EQ(got.priority, 5u);
  EXPECT_EQ(got.hold, 6h);
  EXPECT_EQ(got.lease, 7s);
  EXPECT_TRUE(got.dry_run);
  EXPECT_TRUE(SameBytes(got.asked, want.asked));
  EXPECT_TRUE(SameBytes(got.offer, want.offer));
  EXPECT_TRUE(SameBytes(got.home, want.home));
}

TEST(Codec, FieldsOfBids) {
  Bids sent = FullBids(), want = FullBids();
  sent.status = Status::NoSpace("bids: full");
  Bids got = RoundTrip(std::move(sent));
  EXPECT_EQ(got.job, 1u);
  EXPECT_EQ(got.call, 2u);
  EXPECT_EQ(got.incarnation, 3u);
  EXPECT_EQ(got.first, 128u);
  EXPECT_EQ(got.count, 100u);
  EXPECT_EQ(got.keep_t2, 4s);
  EXPECT_EQ(got.load_t2, 5s);
  EXPECT_EQ(got.rate.start, 6ms);
  EXPECT_EQ(got.rate.ns_per_object, 7u);
  EXPECT_EQ(got.rate.ns_per_mib, 8u);
  EXPECT_EQ(got.status.ToString(), Status::NoSpace("bids: full").ToString());
  EXPECT_TRUE(SameBytes(got.keep, want.keep));
  EXPECT_TRUE(SameBytes(got.load, want.load));
  EXPECT_TRUE(SameBytes(got.spare, want.spare));
  EXPECT_TRUE(SameBytes(got.near, want.near));
  EXPECT_EQ(got.near_rate.start, 9ms);
  EXPECT_EQ(got.near_rate.ns_per_object, 10u);
  EXPECT_EQ(got.near_rate.ns_per_mib, 11u);
}

TEST(Codec, FieldsOfConfirmAndAck) {
  Confirm got = RoundTrip(FullConfirm()), want = FullConfirm();
  EXPECT_EQ(got.job, 1u);
  EXPECT_EQ(got.call, 2u);
  EXPECT_EQ(got.incarnation, 3u);
  EXPECT_EQ(got.first, 64u);
  EXPECT_EQ(got.count, 65u);
  EXPECT_TRUE(SameBytes(got.keep, want.keep));
  EXPECT_TRUE(SameBytes(got.load, want.load));
  EXPECT_TRUE(SameBytes(got.name_ends, want.name_ends));
  EXPECT_TRUE(SameBytes(got.names, want.names));
  EXPECT_TRUE(SameBytes(got.etag_ends, want.etag_ends));
  EXPECT_TRUE(SameBytes(got.etags, want.etags));
  EXPECT_TRUE(SameBytes(got.need_by, want.need_by));
  Ack ack = RoundTrip(FullAck());
  EXPECT_EQ(ack.job, 1u);
  EXPECT_EQ(ack.call, 2u);
  EXPECT_EQ(ack.incarnation, 3u);
  EXPECT_EQ(ack.tenancy, 11u);
  EXPECT_EQ(ack.first, 64u);
  EXPECT_EQ(ack.count, 65u);
  EXPECT_EQ(ack.t2, 4s);
  EXPECT_EQ(ack.rate.start, 5ms);
  EXPECT_EQ(ack.why, Refusal::kExpired);
  EXPECT_TRUE(SameBytes(ack.refused, FullAck().refused));
}

TEST(Codec, FieldsOfAJobsLife) {
  Heartbeat beat = RoundTrip(Heartbeat{1, 30s});
  EXPECT_EQ(beat.job, 1u);
  EXPECT_EQ(beat.lease, 30s);
  EXPECT_EQ(RoundTrip(EndJob{7}).job, 7u);
  Progress p = RoundTrip(FullProgress());
  EXPECT_EQ(p.job, 1u);
  EXPECT_EQ(p.incarnation, 2u);
  EXPECT_EQ(p.tenancy, 10u);
  EXPECT_TRUE(p.known);
  EXPECT_EQ(p.kept_objects, 3u);
  EXPECT_EQ(p.loads_left, 4u);
  EXPECT_EQ(p.loads_done, 5u);
  EXPECT_EQ(p.loaded_bytes, 6u);
  EXPECT_EQ(p.far_requests, 7u);
  EXPECT_EQ(p.far_bytes, uint64_t{1} << 63);
  ASSERT_EQ(p.lost.size(), 2u);
  EXPECT_EQ(p.lost[0].index, 8u);
  EXPECT_EQ(p.lost[0].code, Code::kNotFound);
  EXPECT_EQ(p.lost[0].text, "gone");
  EXPECT_EQ(p.lost[1].code, Code::kTimeout);
}

TEST(Codec, FieldsBetweenNodes) {
  Ask ask = RoundTrip(Ask{1, ColumnOf<uint64_t>({1, 2, 3, 4}), ColumnOf<uint64_t>({5, 6}),
                          ColumnOf<uint16_t>({7, kNoNode})});
  EXPECT_EQ(ask.id, 1u);
  EXPECT_EQ(ColumnView<uint64_t>(ask.oids.view())[3], 4u);
  EXPECT_EQ(ColumnView<uint64_t>(ask.versions.view())[1], 6u);
  EXPECT_EQ(ColumnView<uint16_t>(ask.tried.view())[0], 7u);
  Answer answer = RoundTrip(Answer{1, ColumnOf<uint8_t>({0, 1, 2}), ColumnOf<uint16_t>({0, 0, 9})});
  EXPECT_EQ(answer.id, 1u);
  EXPECT_EQ(ColumnView<uint8_t>(answer.verdicts.view())[2], 2u);
  EXPECT_EQ(ColumnView<uint16_t>(answer.loaders.view())[2], 9u);
  Fetched fetched = RoundTrip(Fetched{false, ColumnOf<uint64_t>({1, 2}), ColumnOf<uint64_t>({3})});
  EXPECT_FALSE(fetched.loaded);
  EXPECT_EQ(ColumnView<uint64_t>(fetched.versions.view())[0], 3u);
}

TEST(Codec, FieldsOfSnapshots) {
  EXPECT_EQ(RoundTrip(SnapshotQuery{9, 8, 7}).id, 9u);
  EXPECT_EQ(RoundTrip(SnapshotQuery{9, 8, 7}).sequence, 8u);
  EXPECT_EQ(RoundTrip(SnapshotQuery{9, 8, 7}).previous, 7u);
  SnapshotReply reply = RoundTrip(SnapshotReply{.id = 1,
                                                .incarnation = 2,
                                                .prints = ColumnOf<uint64_t>({3, 4, 5}),
                                                .ages = ColumnOf<uint32_t>({6, 7, 8}),
                                                .held = ColumnOf<uint64_t>({0b101}),
                                                .kept = ColumnOf<uint64_t>({0b110}),
                                                .evicted = ColumnOf<uint64_t>({9, 10}),
                                                .evicted_squares = ColumnOf<uint64_t>({81, 100}),
                                                .moved = ColumnOf<uint64_t>({11})});
  EXPECT_EQ(reply.id, 1u);
  EXPECT_EQ(reply.incarnation, 2u);
  EXPECT_EQ(ColumnView<uint64_t>(reply.prints.view())[2], 5u);
  EXPECT_EQ(ColumnView<uint32_t>(reply.ages.view())[0], 6u);
  EXPECT_EQ(ColumnView<uint64_t>(reply.held.view())[0], 5u);
  EXPECT_EQ(ColumnView<uint64_t>(reply.kept.view())[0], 6u);
  EXPECT_EQ(ColumnView<uint64_t>(reply.moved.view())[0], 11u);
  EXPECT_EQ(ColumnView<uint64_t>(reply.evicted.view())[1], 10u);
  EXPECT_EQ(ColumnView<uint64_t>(reply.evicted_squares.view())[1], 100u);
  LogAppend append = RoundTrip(LogAppend{1, ColumnOf<uint64_t>({2})});
  EXPECT_EQ(append.id, 1u);
  EXPECT_EQ(append.frames.size(), 8u);
  EXPECT_EQ(RoundTrip(LogQuery{1, 2, 5}).after, 2u);
  EXPECT_EQ(RoundTrip(LogQuery{1, 2, 5}).mark, 5u);
  LogReply log = RoundTrip(LogReply{1, 2, 5, 3s, ColumnOf<uint64_t>({4})});
  EXPECT_EQ(log.sequence, 2u);
  EXPECT_EQ(log.age, 3s);
  EXPECT_EQ(log.frames.size(), 8u);
}

TEST(Codec, RefusesListingsWhoseColumnsDoNotFit) {
  auto broken = [](auto change) {
    SnapshotReply reply{1,
                        2,
                        ColumnOf<uint64_t>({1, 2}),
                        ColumnOf<uint32_t>({3, 4}),
                        ColumnOf<uint64_t>({1}),
                        ColumnOf<uint64_t>({2}),
                        ColumnOf<uint64_t>({5, 6}),
                        ColumnOf<uint64_t>({25, 36}),
                        ColumnOf<uint64_t>({7})};
    change(reply);
    return Decode(Encode(std::move(reply))).status().code();
  };
  EXPECT_EQ(broken([](SnapshotReply&) {}), Code::kOk);
  EXPECT_EQ(broken([](SnapshotReply& r) { r.ages = ColumnOf<uint32_t>({3}); }), Code::kCorrupt);
  EXPECT_EQ(broken([](SnapshotReply& r) { r.prints = ColumnOf<uint8_t>({3}); }), Code::kCorrupt);
  EXPECT_EQ(broken([](SnapshotReply& r) { r.held = Buffer(); }), Code::kCorrupt);
  EXPECT_EQ(broken([](SnapshotReply& r) { r.kept = Buffer(); }), Code::kCorrupt);
  EXPECT_EQ(broken([](SnapshotReply& r) { r.kept = ColumnOf<uint64_t>({4}); }), Code::kCorrupt);
  EXPECT_EQ(broken([](SnapshotReply& r) { r.moved = Buffer(); }), Code::kCorrupt);
  EXPECT_EQ(broken([](SnapshotReply& r) { r.evicted = ColumnOf<uint32_t>({3}); }), Code::kCorrupt);
  EXPECT_EQ(broken([](SnapshotReply& r) { r.evicted = ColumnOf<uint64_t>({3}); }), Code::kCorrupt);
  EXPECT_EQ(broken([](SnapshotReply& r) { r.evicted_squares = Buffer(); }), Code::kCorrupt);
}

TEST(Codec, FieldsOfAdministration) {
  EXPECT_EQ(RoundTrip(StatusQuery{9}).id, 9u);
  std::string json(3 * kMaxEnvelopeBytes, 'x');  // longer than an envelope may be
  StatusReply reply = RoundTrip(StatusReply{9, json});
  EXPECT_EQ(reply.id, 9u);
  EXPECT_EQ(reply.json, json);
  Drop drop = RoundTrip(Drop{1, "file:///a/", {}});
  EXPECT_EQ(drop.id, 1u);
  EXPECT_EQ(drop.prefix, "file:///a/");
  EXPECT_EQ(RoundTrip(Drop{1, "", ColumnOf<uint64_t>({1, 2})}).oids.size(), 16u);
  DropReply dropped = RoundTrip(DropReply{1, 2, 3, 4});
  EXPECT_EQ(dropped.id, 1u);
  EXPECT_EQ(dropped.dropped_objects, 2u);
  EXPECT_EQ(dropped.dropped_bytes, 3u);
  EXPECT_EQ(dropped.held_objects, 4u);
  ErrorReply error = RoundTrip(ErrorReply{"Call", 1, Status::Denied("no")});
  EXPECT_EQ(error.about, "Call");
  EXPECT_EQ(error.job, 1u);
  EXPECT_EQ(error.status.code(), Code::kDenied);
  EXPECT_EQ(error.status.message(), "no");
}

TEST(Codec, ColumnsAreMovedNotCopied) {
  Manifest m = FullManifest();
  const std::byte* oids = m.columns.oids.data();
  Frames frames = Encode(std::move(m));
  EXPECT_EQ(frames.columns[0].data(), oids);
  Result<Message> decoded = Decode(std::move(frames));
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(std::get<Manifest>(*decoded).columns.oids.data(), oids);
}

TEST(Codec, LongTextsAreCutBetweenCharacters) {
  std::string text(kMaxStatusTextBytes - 1, 'a');
  text += "\xc3\xa4 and more";  // an a-umlaut across the limit
  ErrorReply error = RoundTrip(ErrorReply{"", 0, Status::Invalid(text)});
  EXPECT_EQ(error.status.message(), std::string(kMaxStatusTextBytes - 1, 'a'));
  Progress p;
  p.lost.resize(kMaxLosses + 5, {1, Code::kNotFound, std::string(2 * kMaxLossTextBytes, 'b')});
  p = RoundTrip(std::move(p));
  ASSERT_EQ(p.lost.size(), kMaxLosses);
  EXPECT_EQ(p.lost.back().text, std::string(kMaxLossTextBytes, 'b'));
}

TEST(Codec, DurationsStayWhereArithmeticIsSafe) {
  EXPECT_EQ(RoundTrip(Heartbeat{1, Duration::max()}).lease, kMaxDuration);
  EXPECT_EQ(RoundTrip(Heartbeat{1, -5s}).lease, 0s);
  EnvelopeWriter w;
  w.Array(5), w.Uint(kProtocolVersion), w.Uint(8), w.Uint(1);
  w.Uint(static_cast<uint64_t>(kMaxDuration.count()) + 1), w.Uint(0);
  ExpectCorrupt(Decode(HeadOnly(w)).status(), "at most");
}

// The bytes of docs/formats.md: a change here is another protocol version.
TEST(Codec, TheBytesAreTheDocumentedOnes) {
  Frames frames = Encode(Heartbeat{0x1122334455667788, 30s});
  EXPECT_TRUE(SameBytes(frames.head, TextOf(std::string_view("\x95\x01\x08"
                                                             "\xcf\x11\x22\x33\x44\x55\x66\x77\x88"
                                                             "\xce\x01\xc9\xc3\x80\x00",
                                                             18))));
  EXPECT_TRUE(frames.columns.empty());
  Frames bids = Encode(FullBids());
  EXPECT_EQ(AsText(bids.head.view()).substr(0, 8),
            std::string_view("\xdc\x00\x11\x01\x05\x01\x02\x03", 8));
  EXPECT_EQ(bids.columns.size(), 4u);
}

}  // namespace
}  // namespace holdfast::wire
