// SPDX-License-Identifier: Apache-2.0
// The public side of streams over real daemons.
#include "holdfast/stream.h"

#include "tests/unit/jobclient/client/client_fixture.h"

namespace holdfast {
namespace {

constexpr uint64_t kRoom = 8 * kMiB;

class StreamTest : public ClientTest {
 protected:
  std::unique_ptr<Stream> Open(std::string_view name, StreamOptions options = {}) {
    if (options.memory_bytes == 0) options.memory_bytes = kRoom;
    Result<std::unique_ptr<Stream>> stream = Stream::Open(*client, name, options);
    EXPECT_TRUE(stream.ok()) << stream.status().ToString();
    return stream.ok() ? *std::move(stream) : nullptr;
  }
  std::unique_ptr<StreamReader> Read(std::string_view name) {
    Result<std::unique_ptr<StreamReader>> reader = StreamReader::Open(*client, name);
    EXPECT_TRUE(reader.ok()) << reader.status().ToString();
    return reader.ok() ? *std::move(reader) : nullptr;
  }
  static std::string Bytes(uint64_t seed, size_t size) {
    Random random(seed);
    std::string bytes(size, '\0');
    for (char& c : bytes) c = static_cast<char>(random.Next());
    return bytes;
  }
  // The next record, which must be there.
  StreamRecord Next(StreamReader& reader) {
    Result<std::optional<StreamRecord>> record = reader.Next();
    EXPECT_TRUE(record.ok()) << record.status().ToString();
    HF_CHECK(record.ok() && record->has_value());
    return **record;
  }
  void ExpectEnd(StreamReader& reader) {
    for (int i = 0; i < 2; ++i) {
      Result<std::optional<StreamRecord>> record = reader.Next();
      ASSERT_TRUE(record.ok()) << record.status().ToString();
      EXPECT_FALSE(record->has_value());
    }
    EXPECT_TRUE(reader.losses().empty());
  }
};

TEST_F(StreamTest, RecordsOfAnyLengthComeBackInOrder) {
  StartCluster(2);
  Connect(true);
  std::vector<size_t> sizes{0, 1, 0, 3'000'000, 7, 60'000, 0, 1'000'000, 1'000'001};
  for (size_t i = 0; i < 300; ++i) sizes.push_back(i * 37 % 5'000);
  std::unique_ptr<Stream> stream = Open("sizes");
  for (size_t i = 0; i < sizes.size(); ++i) {
    ASSERT_TRUE(stream->Append(Bytes(i, sizes[i])).ok());
  }
  ASSERT_TRUE(stream->Close().ok());
  EXPECT_EQ(stream->acknowledged(), sizes.size());
  std::unique_ptr<StreamReader> reader = Read("sizes");
  for (size_t i = 0; i < sizes.size(); ++i) {
    const StreamRecord record = Next(*reader);
    EXPECT_EQ(record.number, i);
    EXPECT_EQ(record.writer, stream->id());
    ASSERT_TRUE(record.text() == Bytes(i, sizes[i])) << i;
  }
  ExpectEnd(*reader);
}

TEST_F(StreamTest, AFlushAcknowledgesAndShows) {
  StartCluster(1);
  Connect(true);
  std::unique_ptr<Stream> stream = Open("flush", {.expiration = 60s});
  std::unique_ptr<StreamReader> reader = Read("flush");
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(stream->Append("record " + std::to_string(i)).ok());
    EXPECT_EQ(stream->acknowledged(), static_cast<uint64_t>(i));
    ASSERT_TRUE(stream->Flush().ok());
    EXPECT_EQ(stream->acknowledged(), static_cast<uint64_t>(i) + 1);
    EXPECT_EQ(Next(*reader).text(), "record " + std::to_string(i));
  }
  ASSERT_TRUE(stream->Close().ok());
  EXPECT_TRUE(stream->Close().ok());
  EXPECT_EQ(stream->Append("late").code(), Code::kInvalid);
  ExpectEnd(*reader);
}

TEST_F(StreamTest, TwoWritersAndASecondCopy) {
  StartCluster(3);
  Connect(false);
  std::unique_ptr<Stream> first = Open("two", {.writers = 2, .second_copy = true});
  Result<std::unique_ptr<Stream>> second = Stream::Join(*client, "two");
  ASSERT_TRUE(second.ok()) << second.status().ToString();
  for (int i = 0; i < 500; ++i) {
    ASSERT_TRUE(first->Append(Bytes(static_cast<uint64_t>(i), 1'000)).ok());
    ASSERT_TRUE((*second)->Append(Bytes(static_cast<uint64_t>(i) + 1'000, 1'000)).ok());
  }
  ASSERT_TRUE(first->Close().ok());
  ASSERT_TRUE((*second)->Close().ok());
  Kill(2, SIGKILL);
  std::unique_ptr<StreamReader> reader = Read("two");
  std::map<uint64_t, uint64_t> next;
  for (int i = 0; i < 1'000; ++i) {
    const StreamRecord record = Next(*reader);
    EXPECT_EQ(record.number, next[record.writer]++);
    const uint64_t seed = record.number + (record.writer == first->id() ? 0 : 1'000);
    ASSERT_TRUE(record.text() == Bytes(seed, 1'000));
  }
  ExpectEnd(*reader);
  EXPECT_EQ(next.size(), 2u);
}

TEST_F(StreamTest, WhatIsWrongIsSaid) {
  StartCluster(1);
  Connect(true);
  const Status roomless = Stream::Open(*client, "x", {}).status();
  EXPECT_EQ(roomless.code(), Code::kInvalid);
  EXPECT_NE(roomless.message().find("memory_bytes, disk_bytes"), std::string::npos);
  EXPECT_EQ(Stream::Open(*client, "x", {.memory_bytes = 1, .expiration = 0s}).status().code(),
            Code::kInvalid);
  EXPECT_EQ(Stream::Open(*client, "x", {.memory_bytes = 1, .writers = 0}).status().code(),
            Code::kInvalid);
  EXPECT_EQ(Stream::Open(*client, "", {.memory_bytes = 1}).status().code(), Code::kInvalid);
  EXPECT_EQ(Stream::Open(*client, "x", {.memory_bytes = 1}, {.chunk_bytes = 1}).status().code(),
            Code::kInvalid);
  EXPECT_EQ(Stream::Join(*client, "x").status().code(), Code::kNotFound);
  EXPECT_EQ(StreamReader::Open(*client, "x").status().code(), Code::kNotFound);
  EXPECT_EQ(Stream::Remove(*client, "x").code(), Code::kNotFound);
  std::unique_ptr<Stream> stream = Open("x", {.memory_bytes = 100'000});
  EXPECT_EQ(Stream::Open(*client, "x", {.memory_bytes = 1}).status().code(), Code::kInvalid);
  // Two copies need two nodes; too little room is said with the first copy, too.
  std::string block = Bytes(1, 10'000);
  Status status;
  for (int i = 0; i < 100 && status.ok(); ++i) status = stream->Append(block);
  if (status.ok()) status = stream->Close();
  EXPECT_EQ(status.code(), Code::kNoSpace);
  EXPECT_LT(stream->acknowledged(), 10u);
  std::unique_ptr<StreamReader> reader = Read("x");
  for (uint64_t i = 0; i < stream->acknowledged(); ++i) EXPECT_EQ(Next(*reader).text(), block);
  EXPECT_EQ(reader->Next().status().code(), Code::kUnavailable);  // the writer is gone
  ExpectEnd(*reader);
  EXPECT_TRUE(Stream::Remove(*client, "x").ok());
  Result<std::vector<std::string>> listed = Stream::List(*client);
  ASSERT_TRUE(listed.ok());
  EXPECT_EQ(listed->size(), 1u);
  std::unique_ptr<Stream> alone = Open("alone", {.second_copy = true});
  EXPECT_TRUE(alone->Append("one").ok());
  EXPECT_EQ(alone->Close().code(), Code::kNoSpace);
}

TEST_F(StreamTest, AReaderOfAStreamThatIsRemovedIsTold) {
  StartCluster(2);
  Connect(true);
  std::unique_ptr<Stream> stream = Open("removed");
  ASSERT_TRUE(stream->Append("one").ok());
  ASSERT_TRUE(stream->Flush().ok());
  std::unique_ptr<StreamReader> reader = Read("removed");
  EXPECT_EQ(Next(*reader).text(), "one");
  ASSERT_TRUE(Stream::Remove(*client, "removed").ok());
  EXPECT_EQ(reader->Next().status().code(), Code::kNotFound);
  EXPECT_TRUE(reader->over());
  EXPECT_EQ(reader->Next().status().code(), Code::kNotFound);
  ASSERT_TRUE(stream->Append("two").ok());
  EXPECT_EQ(stream->Close().code(), Code::kNotFound);
}

}  // namespace
}  // namespace holdfast
