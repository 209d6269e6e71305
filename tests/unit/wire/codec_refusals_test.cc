// SPDX-License-Identifier: Apache-2.0
// What no message is, and what a message may not say.
#include <gtest/gtest.h>

#include "tests/unit/wire/codec_checks.h"
#include "tests/unit/wire/samples.h"

namespace holdfast::wire {
namespace {

TEST(Codec, AnotherProtocolVersionIsNamedWhateverFollows) {
  EnvelopeWriter w;
  w.Array(5), w.Uint(kProtocolVersion + 1);
  Status status = Decode(HeadOnly(w)).status();  // the rest is missing
  EXPECT_EQ(status.code(), Code::kInvalid);
  EXPECT_NE(status.message().find("version " + std::to_string(kProtocolVersion + 1)),
            std::string::npos);
  EXPECT_NE(status.message().find("speaks " + std::to_string(kProtocolVersion)), std::string::npos);
}

TEST(Codec, GarbageEnvelopesAreRefused) {
  auto refused = [](std::string_view bytes) { return Decode({TextOf(bytes), {}}).status(); };
  ExpectCorrupt(refused(""), "cut short");
  ExpectCorrupt(refused("GET / HTTP/1.1\r\n"), "not one array");
  ExpectCorrupt(refused("\xc1"), "not MessagePack");
  ExpectCorrupt(refused("\x01"), "not one array");
  ExpectCorrupt(refused("\x90"), "missing");
  ExpectCorrupt(refused("\x92\x01"), "cut short");
  ExpectCorrupt(refused(std::string_view("\x93\x01\x0a\x01\x00", 5)), "after the envelope");
  ExpectCorrupt(refused("\x81\x01\x01"), "a map");
  ExpectCorrupt(refused("\x93\x01\x0a\xff"), "a negative number");
  ExpectCorrupt(refused("\x93\x01\x0a\xc0"), "nil");
  ExpectCorrupt(refused(std::string_view("\x93\x01\x0a\xca\0\0\0\0", 8)), "a float");
  ExpectCorrupt(refused("\x93\x01\x0a\xc4\x01x"), "bytes");
  ExpectCorrupt(refused("\x93\x01\x0a\xd4\x01x"), "extension");
  ExpectCorrupt(refused("\x93\x01\x0a\xc9\xff\xff\xff\xff"), "");
  ExpectCorrupt(refused("\x93\x01\x0a\x91\x91\x91\x91\x91\x01"), "too deep");
  ExpectCorrupt(refused("\xdd\xff\xff\xff\xff\x01"), "too many elements");
  ExpectCorrupt(refused("\x93\x01\x0a\xdb\xff\xff\xff\xffx"), "cut short");
  ExpectCorrupt(refused("\x93\xa1x\x0a\x01"), "another type");
  ExpectCorrupt(refused("\x93\x01\xa1x\x01"), "another type");
  ExpectCorrupt(refused(std::string(kMaxEnvelopeBytes + 1, '\x01')), "longer than");
}

TEST(Codec, ManyElementsAreRefusedBeforeTheyTakeMemory) {
  EnvelopeWriter w;
  w.Array(3), w.Uint(kProtocolVersion), w.Uint(10), w.Array(8000);
  for (int i = 0; i < 8000; ++i) w.Array(2), w.Uint(1), w.Uint(2);
  ExpectCorrupt(Decode(HeadOnly(w)).status(), "too many elements");
}

TEST(Codec, WrongTypesAndCountsAreRefused) {
  EnvelopeWriter unknown, fewer, more, bool_as_number;
  unknown.Array(2), unknown.Uint(kProtocolVersion), unknown.Uint(std::variant_size_v<Message>);
  ExpectCorrupt(Decode(HeadOnly(unknown)).status(), "at most");
  fewer.Array(2), fewer.Uint(kProtocolVersion), fewer.Uint(10);
  ExpectCorrupt(Decode(HeadOnly(fewer)).status(), "EndJob message: 2 fields instead of 3");
  more.Array(4), more.Uint(kProtocolVersion), more.Uint(10), more.Uint(1), more.Uint(2);
  ExpectCorrupt(Decode(HeadOnly(more)).status(), "EndJob message: 4 fields instead of 3");
  bool_as_number.Array(3), bool_as_number.Uint(kProtocolVersion), bool_as_number.Uint(10);
  bool_as_number.Bool(true);
  ExpectCorrupt(Decode(HeadOnly(bool_as_number)).status(), "EndJob message: element 3");
}

TEST(Codec, MissingAndExtraColumnsAreRefused) {
  for (Message& m : FullMessages()) {
    Frames frames = Encode(std::move(m));
    Frames extra = CopyOf(frames);
    extra.columns.emplace_back();
    ExpectCorrupt(Decode(std::move(extra)).status(), "columns instead of");
    if (frames.columns.empty()) continue;
    frames.columns.pop_back();
    ExpectCorrupt(Decode(std::move(frames)).status(), "columns instead of");
  }
}

TEST(Codec, EveryTruncationAndEveryWrongColumnLengthIsRefused) {
  for (Message& m : FullMessages()) {
    std::string name(NameOf(m));
    Frames frames = Encode(std::move(m));
    for (size_t size = 0; size < frames.head.size(); ++size) {
      Frames cut = CopyOf(frames);
      cut.head = Buffer::CopyOf(frames.head.view().first(size));
      EXPECT_FALSE(Decode(std::move(cut)).ok()) << name << " cut to " << size;
    }
    // Their columns are of any length: text, and frames that are checked where they are used.
    if (name == "StatusReply" || name == "LogAppend" || name == "LogReply") continue;
    if (name == "StreamListed") continue;
    for (size_t c = 0; c < frames.columns.size(); ++c) {
      Frames longer = CopyOf(frames);
      longer.columns[c] = Buffer(frames.columns[c].size() + 1);
      std::memset(longer.columns[c].data(), 0, longer.columns[c].size());
      ExpectCorrupt(Decode(std::move(longer)).status(), name);
    }
  }
}

TEST(Codec, StreamEntriesOutOfTurnAreRefused) {
  auto append = [](auto&& change) {
    StreamEntry entries[] = {
        {.writer = 3, .hash = 5, .number = 6, .records = 7, .bytes = 8, .nodes = {9, kNoNode}},
        {.writer = 3, .hash = 5, .number = 7, .records = 7, .bytes = 8, .nodes = {9, kNoNode}}};
    change(entries);
    for (StreamEntry& entry : entries) entry = Sealed(entry);
    return StreamAppend{1, 2, 3, 6, false, 15s, RowsOf(std::span<const StreamEntry>(entries))};
  };
  EXPECT_TRUE(Decode(Encode(append([](auto&) {}))).ok());
  ExpectCorrupt(Refused(append([](auto& e) { e[1].number = 8; })), "out of turn");
  ExpectCorrupt(Refused(append([](auto& e) { e[0].writer = 4; })), "another writer");
  ExpectCorrupt(Refused(append([](auto& e) { e[1].hash = 0; })), "no hash");
  StreamWriterState writer{.writer = 1};
  writer.phase = static_cast<StreamWriterPhase>(3);
  ExpectCorrupt(Refused(StreamReply{.id = 1,
                                    .status = {},
                                    .name = {},
                                    .terms = {},
                                    .entries = {},
                                    .writers = ColumnOf<StreamWriterState>({writer})}),
                "phase");
}

TEST(Codec, EnumsOutOfRangeAreRefused) {
  Ack ack = FullAck();
  ack.why = static_cast<Refusal>(6);
  ExpectCorrupt(Refused(std::move(ack)), "Ack message: element");
  ExpectCorrupt(Refused(ErrorReply{"", 0, Status(static_cast<Code>(9), "?")}), "ErrorReply");
  Progress p = FullProgress();
  p.lost[0].code = static_cast<Code>(200);
  ExpectCorrupt(Refused(std::move(p)), "Progress");
  Answer answer{1, ColumnOf<uint8_t>({3}), ColumnOf<uint16_t>({0})};
  ExpectCorrupt(Refused(std::move(answer)), "verdict");
}

TEST(Codec, ManifestsOfTheWrongShapeAreRefused) {
  Manifest width = FullManifest(), huge = FullManifest();
  width.columns.size_width = 5;
  ExpectCorrupt(Refused(std::move(width)), "size_width");
  huge.columns.count = kMaxManifestObjects + 1;
  ExpectCorrupt(Refused(std::move(huge)), "at most 4000000");
}

TEST(Codec, CallsOfTheWrongShapeAreRefused) {
  Call tail = FullCall();
  tail.asked.data()[15] = std::byte{0x80};
  ExpectCorrupt(Refused(std::move(tail)), "asked has bits set beyond its end");
  Call home = FullCall();
  home.home = BitmapOf(70, {2});
  ExpectCorrupt(Refused(std::move(home)), "home is not a part of offer");
  Call everything = FullCall();
  everything.asked = {};
  EXPECT_TRUE(Refused(std::move(everything)).ok());
  Call huge = FullCall();
  huge.count = kMaxManifestObjects + 1;
  ExpectCorrupt(Refused(std::move(huge)), "objects, at most");
}

TEST(Codec, ChunksOutsideTheirBoundsAreRefused) {
  Bids odd = FullBids(), large = FullBids(), far = FullBids();
  odd.first = 100;
  ExpectCorrupt(Refused(std::move(odd)), "multiple of 64");
  large.count = kChunkObjects + 1;
  ExpectCorrupt(Refused(std::move(large)), "at most 65536");
  far.first = 0xffffffc0;
  ExpectCorrupt(Refused(std::move(far)), "at most 4000000");
}

TEST(Codec, TwoBidsForOneObjectAreRefused) {
  Bids a = FullBids(), b = FullBids(), c = FullBids();
  a.load = BitmapOf(100, {99});
  ExpectCorrupt(Refused(std::move(a)), "two bids");
  b.spare = BitmapOf(100, {0});
  ExpectCorrupt(Refused(std::move(b)), "two bids");
  c.spare = BitmapOf(100, {2});
  ExpectCorrupt(Refused(std::move(c)), "two bids");
  Bids near = FullBids();
  near.near = BitmapOf(100, {99});
  ExpectCorrupt(Refused(std::move(near)), "kept is near");
  Confirm both = FullConfirm();
  both.keep = BitmapOf(65, {64});
  ExpectCorrupt(Refused(std::move(both)), "both kept and loaded");
}

TEST(Codec, OffsetsThatLeaveTheirTextsAreRefused) {
  auto with = [](std::vector<uint32_t> name_ends, std::string_view names) {
    Confirm m = FullConfirm();
    m.name_ends = ColumnOf(name_ends);
    m.names = TextOf(names);
    return Refused(std::move(m));
  };
  EXPECT_TRUE(with({3, 3}, "abc").ok());
  ExpectCorrupt(with({3, 2}, "ab"), "does not ascend");
  ExpectCorrupt(with({3, 4}, "abc"), "does not end where");
  ExpectCorrupt(with({1, 2}, "abc"), "does not end where");
  ExpectCorrupt(with({0xffffffff, 2}, "ab"), "does not ascend");
  ExpectCorrupt(with({1, 2, 3}, "abc"), "name_ends has 12 bytes instead of 8");
  std::string longest(kMaxNameBytes, 'n');
  EXPECT_TRUE(with({0, kMaxNameBytes}, longest).ok());
  ExpectCorrupt(with({0, kMaxNameBytes + 1}, longest + "n"), "at most 4096");
  Confirm etag = FullConfirm();
  etag.etag_ends = ColumnOf<uint32_t>({0, kMaxEtagBytes + 1});
  etag.etags = TextOf(std::string(kMaxEtagBytes + 1, 'e'));
  ExpectCorrupt(Refused(std::move(etag)), "etag_ends does not ascend in steps of at most 256");
  Confirm none = FullConfirm();
  none.load = BitmapOf(65, {});
  none.name_ends = {}, none.etag_ends = {}, none.need_by = {};
  ExpectCorrupt(Refused(std::move(none)), "name_ends does not end where");
}

TEST(Codec, ObjectsBeyondTheLimitOfAQuestionAreRefused) {
  Ask ask;
  ask.oids = Buffer(16 * (kMaxAskObjects + 1));
  ask.versions = Buffer(8 * (kMaxAskObjects + 1));
  ExpectCorrupt(Refused(std::move(ask)), "16385 objects, at most 16384");
  Ask tried{1, ColumnOf<uint64_t>({1, 2}), ColumnOf<uint64_t>({3}), ColumnOf<uint16_t>({7, 8})};
  ExpectCorrupt(Refused(std::move(tried)), "tried");
  Answer answer;
  answer.verdicts = Buffer(kMaxAskObjects + 1);
  answer.loaders = Buffer(2 * (kMaxAskObjects + 1));
  ExpectCorrupt(Refused(std::move(answer)), "at most 16384");
  ExpectCorrupt(Refused(Drop{1, "file:///a/", ColumnOf<uint64_t>({1, 2})}), "both OIDs");
  ExpectCorrupt(Refused(Drop{1, std::string(kMaxNameBytes + 1, 'a'), {}}), "longer than 4096");
}

}  // namespace
}  // namespace holdfast::wire
