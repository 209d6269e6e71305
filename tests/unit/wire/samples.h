// SPDX-License-Identifier: Apache-2.0
// One well-formed message of every type, full or empty, for the tests and the fuzzers of the codec.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/bitmap.h"
#include "wire/codec.h"
#include "wire/stream_entry.h"

namespace holdfast::wire {

template <typename T>
Buffer ColumnOf(const std::vector<T>& values) {
  return Buffer::CopyOf(std::as_bytes(std::span(values)));
}

inline Buffer BitmapOf(size_t bits, const std::vector<size_t>& set) {
  Bitmap map(bits);
  for (size_t i : set) map.Set(i);
  return Buffer::CopyOf(map.bytes());
}

inline Buffer TextOf(std::string_view text) { return Buffer::CopyOf(AsBytes(text)); }

inline Frames CopyOf(const Frames& frames) {
  Frames copy{Buffer::CopyOf(frames.head.view()), {}};
  for (const Buffer& c : frames.columns) copy.columns.push_back(Buffer::CopyOf(c.view()));
  return copy;
}

inline bool SameBytes(const Buffer& a, const Buffer& b) {
  return AsText(a.view()) == AsText(b.view());
}

inline bool SameFrames(const Frames& a, const Frames& b) {
  if (!SameBytes(a.head, b.head) || a.columns.size() != b.columns.size()) return false;
  for (size_t i = 0; i < a.columns.size(); ++i) {
    if (!SameBytes(a.columns[i], b.columns[i])) return false;
  }
  return true;
}

inline Manifest FullManifest() {
  Manifest m{{1, 2}, {}};
  m.columns.count = 2;
  m.columns.size_width = 8;
  m.columns.oids = ColumnOf<uint64_t>({1, 2, 3, 4});
  m.columns.sizes = ColumnOf<uint64_t>({uint64_t{5} << 32, 6});
  m.columns.versions = ColumnOf<uint64_t>({7, 8});
  return m;
}

inline Call FullCall() {
  Call m;
  m.job = 1, m.call = 2, m.digest = {3, 4}, m.count = 70, m.priority = 5;
  m.hold = 6h, m.lease = 7s;
  m.dry_run = true;
  m.asked = BitmapOf(70, {0, 1, 69});
  m.offer = BitmapOf(70, {1, 64, 69});
  m.home = BitmapOf(70, {1, 69});
  return m;
}

inline Bids FullBids() {
  Bids m;
  m.job = 1, m.call = 2, m.incarnation = 3, m.first = 128, m.count = 100, m.keep_t2 = 4s;
  m.load_t2 = 5s;
  m.rate = {6ms, 7, 8};
  m.keep = BitmapOf(100, {0, 99});
  m.load = BitmapOf(100, {1, 2});
  m.spare = BitmapOf(100, {98});
  m.near = BitmapOf(100, {2, 98});
  m.near_rate = {9ms, 10, 11};
  return m;
}

inline Confirm FullConfirm() {
  Confirm m;
  m.job = 1, m.call = 2, m.incarnation = 3, m.first = 64, m.count = 65;
  m.keep = BitmapOf(65, {0});
  m.load = BitmapOf(65, {1, 64});
  m.name_ends = ColumnOf<uint32_t>({9, 18});
  m.names = TextOf("file:///afile:///b");
  m.etag_ends = ColumnOf<uint32_t>({0, 4});
  m.etags = TextOf("etag");
  m.need_by = ColumnOf<uint32_t>({5, 6});
  return m;
}

inline Ack FullAck() {
  Ack m;
  m.tenancy = 11;
  m.job = 1, m.call = 2, m.incarnation = 3, m.first = 64, m.count = 65, m.t2 = 4s;
  m.rate = {5ms, 6, 7};
  m.refused = BitmapOf(65, {64});
  m.why = Refusal::kExpired;
  return m;
}

inline Progress FullProgress() {
  return {.job = 1,
          .incarnation = 2,
          .tenancy = 10,
          .known = true,
          .kept_objects = 3,
          .loads_left = 4,
          .loads_done = 5,
          .loaded_bytes = 6,
          .far_requests = 7,
          .far_bytes = uint64_t{1} << 63,
          .lost = {{8, Code::kNotFound, "gone"}, {9, Code::kTimeout, ""}}};
}

inline StreamTerms FullTerms() { return {1, 2, 3, 4, 2, 5s}; }

inline std::vector<Message> FullStreamMessages() {
  const StreamEntry entry = Sealed({.writer = 3,
                                    .first_record = 4,
                                    .hash = 5,
                                    .number = 6,
                                    .records = 7,
                                    .bytes = 8,
                                    .nodes = {9, 10}});
  const StreamEntry piece = Sealed({.writer = 3,
                                    .first_record = 11,
                                    .hash = 5,
                                    .number = 7,
                                    .records = 1,
                                    .bytes = 8,
                                    .piece = 1,
                                    .pieces = 2,
                                    .nodes = {9, kNoNode}});
  const StreamWriterState writer{
      .writer = 3, .records = 12, .bytes = 16, .chunks = 8, .phase = StreamWriterPhase::kEnded};
  std::vector<Message> all;
  all.push_back(StreamOpen{1, "job/shuffle", FullTerms(), true, 2, 15s});
  all.push_back(StreamQuery{1, "job/shuffle", 2, 3});
  all.push_back(StreamReply{1, Status::NotFound("no stream"), "job/shuffle", FullTerms(), 2, 4,
                            ColumnOf<StreamEntry>({entry, piece}),
                            ColumnOf<StreamWriterState>({writer})});
  all.push_back(StreamAppend{1, 2, 3, 6, true, 15s, ColumnOf<StreamEntry>({entry, piece})});
  all.push_back(StreamAppended{1, 2, true, Status::NoSpace("too many")});
  all.push_back(StreamKeep{1, FullTerms(), 2, 3, 4, 5, true, "tcp://h:1"});
  all.push_back(StreamKept{1, true, 2, Status::NoSpace("full")});
  all.push_back(StreamDrop{1, "job/shuffle", 2});
  all.push_back(StreamDropped{1, 2, 3, 4});
  all.push_back(StreamList{1});
  all.push_back(StreamListed{1, "{}"});
  return all;
}

inline SpillGive FullGive() {
  return {.id = 1,
          .oids = ColumnOf<uint64_t>({1, 2, 3, 4}),
          .versions = ColumnOf<uint64_t>({5, 6}),
          .sizes = ColumnOf<uint64_t>({7, 8}),
          .ages = ColumnOf<uint32_t>({9, 10}),
          .name_ends = ColumnOf<uint32_t>({9, 18}),
          .names = TextOf("file:///afile:///b"),
          .etag_ends = ColumnOf<uint32_t>({0, 4}),
          .etags = TextOf("etag")};
}

// Every type once, every field set.
inline std::vector<Message> FullMessages() {
  std::vector<Message> all;
  all.push_back(Hello{"training", 1, 2, 3});
  all.push_back(HelloReply{1, 2, 3, 4, 5, 6, 7, "tcp://h:1", "http://s3", 8, 9});
  all.push_back(NeedManifest{1, 2, {3, 4}});
  all.push_back(FullManifest());
  all.push_back(FullCall());
  all.push_back(FullBids());
  all.push_back(FullConfirm());
  all.push_back(FullAck());
  all.push_back(Heartbeat{1, 30s});
  all.push_back(FullProgress());
  all.push_back(EndJob{1});
  all.push_back(Ask{1, ColumnOf<uint64_t>({1, 2, 3, 4}), ColumnOf<uint64_t>({5, 6}),
                    ColumnOf<uint16_t>({7, kNoNode})});
  all.push_back(Answer{1, ColumnOf<uint8_t>({0, 1, 2}), ColumnOf<uint16_t>({0, 0, 9})});
  all.push_back(Fetched{true, ColumnOf<uint64_t>({1, 2}), ColumnOf<uint64_t>({3})});
  all.push_back(StatusQuery{1});
  all.push_back(StatusReply{1, "{\"node\":1}"});
  all.push_back(Drop{1, "", ColumnOf<uint64_t>({1, 2})});
  all.push_back(DropReply{1, 2, 3, 4});
  all.push_back(ErrorReply{"Call", 1, Status::NoSpace("calls: 16 at most")});
  all.push_back(SnapshotQuery{1, 2, 3});
  all.push_back(SnapshotReply{1, 2, ColumnOf<uint64_t>({1, 2}), ColumnOf<uint32_t>({3, 4}),
                              ColumnOf<uint64_t>({1}), ColumnOf<uint64_t>({2}),
                              ColumnOf<uint64_t>({5, 6}), ColumnOf<uint64_t>({25, 36}),
                              ColumnOf<uint64_t>({7})});
  all.push_back(LogAppend{1, ColumnOf<uint64_t>({2})});
  all.push_back(LogQuery{1, 2});
  all.push_back(LogReply{1, 2, 5, 3s, ColumnOf<uint64_t>({4})});
  for (Message& message : FullStreamMessages()) all.push_back(std::move(message));
  all.push_back(SpillOffer{1, 2, 3});
  all.push_back(SpillBid{1, 2, true});
  all.push_back(FullGive());
  all.push_back(SpillTaken{1, 2, 3, 4, 5});
  all.push_back(Lodged{ColumnOf<uint64_t>({1, 2}), ColumnOf<uint64_t>({3})});
  return all;
}

// Every type once, as it is born.
template <size_t... I>
std::vector<Message> EmptyMessages(std::index_sequence<I...>) {
  std::vector<Message> all;
  (all.push_back(Message(std::in_place_index<I>)), ...);
  return all;
}
inline std::vector<Message> EmptyMessages() {
  return EmptyMessages(std::make_index_sequence<std::variant_size_v<Message>>());
}

}  // namespace holdfast::wire
