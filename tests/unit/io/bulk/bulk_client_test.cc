// SPDX-License-Identifier: Apache-2.0
// The client against nodes that die, lie, stall or speak something else.
#include "io/bulk/bulk_client.h"

#include <atomic>
#include <semaphore>

#include "tests/unit/io/bulk/raw_socket.h"
#include "tests/unit/io/bulk/test_node.h"

namespace holdfast::bulk {
namespace {

using Server = ScriptedServer;

Answer GoodAnswer(uint64_t request, uint16_t item, ByteView body) {
  return {.request = request,
          .item = item,
          .version = 1,
          .size = body.size(),
          .payload_hash = Hash64(body)};
}

void ReadAll(BulkClient* client, const std::string& endpoint, PendingRead* read, size_t room,
             Duration patience = 60s) {
  client->Read(endpoint, BulkMode::kLook, read->Items(1, room), In(patience), read->Each());
  read->Wait();
}

TEST(BulkClient, NobodyListensThere) {
  std::string endpoint;
  {
    Server gone([](int, int) {}, 0);
    endpoint = gone.endpoint();
  }
  BulkClient client({.backoff_min = 10s, .backoff_max = 10s});
  for (int round = 0; round < 2; ++round) {  // at first by trying, then by remembering
    PendingRead read(10);
    ReadAll(&client, endpoint, &read, 10);
    read.ExpectAll(Code::kUnavailable);
    EXPECT_NE(read.outcomes[0].status.message().find(endpoint), std::string::npos);
  }
}

TEST(BulkClient, EndpointsThatAreNoneAreNamed) {
  BulkClient client({});
  for (const char* wrong : {"", "tcp:/127.0.0.1:1", "unix:x"}) {
    PendingRead read(2);
    ReadAll(&client, wrong, &read, 10);
    read.ExpectAll(Code::kInvalid);
  }
}

TEST(BulkClient, EndpointsAndItemsAreLimited) {
  BulkClient client({.max_queued_items = 5, .max_endpoints = 1});
  PendingRead many(6);
  ReadAll(&client, "tcp://127.0.0.1:1", &many, 10);
  many.ExpectAll(Code::kNoSpace);
  TestNode node;
  node.Put(1, 10);
  ASSERT_TRUE(node.Serve({}).ok());
  PendingRead first(1);
  ReadAll(&client, node.endpoint(), &first, 10);
  first.ExpectAll(Code::kOk);
  PendingRead second(1);
  ReadAll(&client, "tcp://127.0.0.1:2", &second, 10);
  second.ExpectAll(Code::kNoSpace);
}

TEST(BulkClient, EndpointsThatAreGoneMakeRoomForOthers) {
  BulkClient client({.max_endpoints = 2, .backoff_min = 1us, .backoff_max = 1us});
  for (int port = 1; port <= 9; ++port) {
    PendingRead read(1);
    ReadAll(&client, "tcp://127.0.0.1:" + std::to_string(port), &read, 10);
    read.ExpectAll(Code::kUnavailable);
  }
}

TEST(BulkClient, NamesThatAreTooLongEndAloneTheirItem) {
  TestNode node;
  node.Put(1, 10);
  node.Put(3, 10);
  ASSERT_TRUE(node.Serve({}).ok());
  BulkClient client({});
  PendingRead read(3);
  auto items = read.Items(1, 10);
  items[1].name = std::string(kMaxBulkNameBytes + 1, 'n');
  client.Read(node.endpoint(), BulkMode::kFetch, std::move(items), In(60s), read.Each());
  read.Wait();
  EXPECT_EQ(read.outcomes[1].status.code(), Code::kInvalid);
  ASSERT_NO_FATAL_FAILURE(read.ExpectBytes(0, 1, 10));
  ASSERT_NO_FATAL_FAILURE(read.ExpectBytes(2, 3, 10));
}

// Batches are cut at their limit in bytes, too.
TEST(BulkClient, ManyLongNamesTravelInSeveralBatches) {
  TestNode node;
  std::atomic<size_t> name_bytes{0};
  ASSERT_TRUE(node.Serve({},
                         [&](ReadMiss miss, std::function<void(Status)> done) {
                           name_bytes += miss.name.size();
                           done(Status::NotFound("no"));
                         })
                  .ok());
  BulkClient client({.window_items = 4096});
  PendingRead read(2000);
  auto items = read.Items(0, 1);
  for (auto& item : items) item.name = std::string(4000, 'n');
  client.Read(node.endpoint(), BulkMode::kFetch, std::move(items), In(60s), read.Each());
  read.Wait();
  read.ExpectAll(Code::kNotFound);
  EXPECT_EQ(name_bytes, 2000u * 4000u);
}

TEST(BulkClient, ANodeThatDiesInMidPayloadFailsWhatWasInFlight) {
  auto body = BytesOf(1, 1, 300'000);
  Server server(
      [&](int fd, int connection) {
        Server::Greet(fd);
        BatchHeader batch = Server::TakeBatch(fd);
        if (connection == 0) {
          Server::SendAnswer(fd, GoodAnswer(batch.request, 0, body), body);
          Server::SendAnswer(fd, GoodAnswer(batch.request, 1, body), ByteView(body).first(100'000));
          return;
        }
        Server::SendAnswer(fd, GoodAnswer(batch.request, 0, body), body);
        ReceiveSome(fd, 1 << 20);
      },
      2);
  BulkClient client({.backoff_min = 1ms, .backoff_max = 1ms});
  PendingRead read(4);
  ReadAll(&client, server.endpoint(), &read, body.size());
  ASSERT_NO_FATAL_FAILURE(read.ExpectBytes(0, 1, body.size()));
  for (size_t i = 1; i < 4; ++i) {
    EXPECT_EQ(read.outcomes[i].status.code(), Code::kUnavailable) << i;
  }
  usleep(20'000);  // the backoff is over: the next Read connects again
  PendingRead again(1);
  ReadAll(&client, server.endpoint(), &again, body.size());
  ASSERT_NO_FATAL_FAILURE(again.ExpectBytes(0, 1, body.size()));
}

TEST(BulkClient, WrongBytesAreNeverData) {
  auto body = BytesOf(1, 1, 200'000);
  auto wrong = body;
  wrong[150'000] ^= std::byte{1};
  Server server([&](int fd, int) {
    Server::Greet(fd);
    BatchHeader batch = Server::TakeBatch(fd);
    Server::SendAnswer(fd, GoodAnswer(batch.request, 1, body), wrong);
    Server::SendAnswer(fd, GoodAnswer(batch.request, 0, ByteView(body).first(10)),
                       ByteView(wrong).subspan(1, 10));
    Server::SendAnswer(fd, GoodAnswer(batch.request, 2, body), body);
    ReceiveSome(fd, 1 << 20);
  });
  BulkClient client({});
  PendingRead read(3);
  ReadAll(&client, server.endpoint(), &read, body.size());
  EXPECT_EQ(read.outcomes[0].status.code(), Code::kCorrupt);
  EXPECT_EQ(read.outcomes[1].status.code(), Code::kCorrupt);
  ASSERT_NO_FATAL_FAILURE(read.ExpectBytes(2, 1, body.size()));
}

// What a node may not answer: each ends the connection, and with it everything in flight.
TEST(BulkClient, AnswersThatBreakTheProtocol) {
  auto body = BytesOf(1, 1, 100);
  const std::vector<std::function<void(int, uint64_t)>> lies = {
      [&](int fd, uint64_t r) { Server::SendAnswer(fd, GoodAnswer(r + 1, 0, body), body); },
      [&](int fd, uint64_t r) { Server::SendAnswer(fd, GoodAnswer(r, 4, body), body); },
      [&](int fd, uint64_t r) {
        auto longer = BytesOf(1, 1, 101);
        Server::SendAnswer(fd, GoodAnswer(r, 0, longer), longer);
      },
      [&](int fd, uint64_t r) {
        Answer answer = GoodAnswer(r, 0, body);
        answer.version = 2;
        Server::SendAnswer(fd, answer, body);
      },
      [&](int fd, uint64_t) { SendAll(fd, std::vector<std::byte>(4096, std::byte{0x5a})); },
      [&](int fd, uint64_t) {
        for (int i = 0; i < 3; ++i) SendAll(fd, Encode(ServerHello{}));
      },
  };
  for (size_t lie = 0; lie < lies.size(); ++lie) {
    Server server([&](int fd, int) {
      Server::Greet(fd);
      BatchHeader batch = Server::TakeBatch(fd);
      lies[lie](fd, batch.request);
      ReceiveSome(fd, 1 << 20);
    });
    BulkClient client({});
    PendingRead read(4);
    auto items = read.Items(1, 100);
    for (auto& item : items) item.version = 1;
    client.Read(server.endpoint(), BulkMode::kLook, std::move(items), In(60s), read.Each());
    read.Wait();
    read.ExpectAll(Code::kCorrupt);
  }
}

TEST(BulkClient, ASecondAnswerToTheSameItemBreaksTheProtocol) {
  auto body = BytesOf(1, 1, 100);
  Server server([&](int fd, int) {
    Server::Greet(fd);
    BatchHeader batch = Server::TakeBatch(fd);
    for (int i = 0; i < 2; ++i) Server::SendAnswer(fd, GoodAnswer(batch.request, 0, body), body);
    ReceiveSome(fd, 1 << 20);
  });
  BulkClient client({});
  PendingRead read(2);
  ReadAll(&client, server.endpoint(), &read, 100);
  ASSERT_NO_FATAL_FAILURE(read.ExpectBytes(0, 1, 100));
  EXPECT_EQ(read.outcomes[1].status.code(), Code::kCorrupt);
}

// Headers of a group, then its bodies: large and small ones, errors and an empty one between them,
// in any pieces.
TEST(BulkClient, GroupsOfAnswersArriveWhole) {
  const std::vector<size_t> sizes = {100'000, 60'000, 0, 10, 200'000, 17'000, 300'000, 5};
  Server server([&](int fd, int) {
    Server::Greet(fd);
    BatchHeader batch = Server::TakeBatch(fd);
    std::vector<std::byte> stream(sizes.size() * kAnswerBytes);
    for (uint16_t i = 0; i < sizes.size(); ++i) {
      auto body = BytesOf(1 + i, 1, sizes[i]);
      Answer answer = GoodAnswer(batch.request, i, body);
      if (i == 3) {
        body.assign(10, std::byte{'x'});
        answer = {.request = batch.request, .item = i, .code = Code::kNotFound, .text_bytes = 10};
      }
      answer.more = i + 1u < sizes.size();
      StoreAnswer(answer, stream.data() + i * kAnswerBytes);
      stream.insert(stream.end(), body.begin(), body.end());
    }
    Random random(4);
    for (ByteView rest = stream; !rest.empty();) {
      size_t n = std::min<size_t>(rest.size(), 1 + random.Below(120'000));
      SendAll(fd, rest.first(n));
      rest = rest.subspan(n);
      usleep(1000);
    }
    ReceiveSome(fd, 1 << 20);
  });
  BulkClient client({});
  PendingRead read(sizes.size());
  ReadAll(&client, server.endpoint(), &read, 300'000);
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (i == 3) {
      EXPECT_EQ(read.outcomes[i].status.code(), Code::kNotFound);
      EXPECT_NE(read.outcomes[i].status.message().find("xxxxxxxxxx"), std::string::npos);
    } else {
      ASSERT_NO_FATAL_FAILURE(read.ExpectBytes(i, 1 + i, sizes[i]));
    }
  }
}

TEST(BulkClient, GroupsAreLimitedAndNameNoItemTwice) {
  for (size_t headers : {kMaxGroup + 1, size_t{2}}) {
    Server server([&](int fd, int) {
      Server::Greet(fd);
      BatchHeader batch = Server::TakeBatch(fd);
      for (size_t i = 0; i < headers; ++i) {
        Answer answer = GoodAnswer(batch.request, headers == 2 ? 0 : static_cast<uint16_t>(i), {});
        answer.more = headers != 2 || i == 0;
        Server::SendAnswer(fd, answer);
      }
      ReceiveSome(fd, 1 << 20);
    });
    BulkClient client({});
    PendingRead read(200);
    ReadAll(&client, server.endpoint(), &read, 0);
    read.ExpectAll(Code::kCorrupt);
  }
}

// The first body of a group is half there when the reader of the second gives up; the third one is
// still wanted.
TEST(BulkClient, ADeadlineInMidGroupGivesOneBufferBack) {
  auto body = BytesOf(1, 1, 100'000);
  std::binary_semaphore timed_out{0};
  Server server([&](int fd, int) {
    Server::Greet(fd);
    BatchHeader batches[3];
    for (BatchHeader& batch : batches) batch = Server::TakeBatch(fd);
    std::vector<std::byte> stream(3 * kAnswerBytes);
    for (size_t i = 0; i < 3; ++i) {
      Answer answer = GoodAnswer(batches[i].request, 0, body);
      answer.more = i < 2;
      StoreAnswer(answer, stream.data() + i * kAnswerBytes);
      stream.insert(stream.end(), body.begin(), body.end());
    }
    SendAll(fd, ByteView(stream).first(50'000));
    timed_out.acquire();
    SendAll(fd, ByteView(stream).subspan(50'000));
    ReceiveSome(fd, 1 << 20);
  });
  BulkClient client({});
  PendingRead first(1), hasty(1), third(1);
  for (PendingRead* read : {&first, &hasty, &third}) {
    client.Read(server.endpoint(), BulkMode::kLook, read->Items(1, body.size()),
                In(read == &hasty ? Duration(300ms) : Duration(60s)), read->Each());
  }
  hasty.Wait();
  hasty.ExpectAll(Code::kTimeout);
  std::fill(hasty.buffers[0].begin(), hasty.buffers[0].end(), std::byte{0x77});
  timed_out.release();
  first.Wait();
  third.Wait();
  ASSERT_NO_FATAL_FAILURE(first.ExpectBytes(0, 1, body.size()));
  ASSERT_NO_FATAL_FAILURE(third.ExpectBytes(0, 1, body.size()));
  for (std::byte b : hasty.buffers[0]) ASSERT_EQ(b, std::byte{0x77});
}

TEST(BulkClient, SomethingElseListensThere) {
  for (std::string speech : {"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", "x", ""}) {
    Server server([&](int fd, int) { SendAll(fd, AsBytes(speech)); });
    BulkClient client({});
    PendingRead read(3);
    ReadAll(&client, server.endpoint(), &read, 10);
    for (const BulkOutcome& outcome : read.outcomes) {
      EXPECT_TRUE(outcome.status.code() == Code::kCorrupt ||
                  outcome.status.code() == Code::kUnavailable)
          << outcome.status.ToString();
    }
  }
}

TEST(BulkClient, RandomAnswersYieldErrors) {
  Random random(5);
  for (int round = 0; round < 60; ++round) {
    auto body = BytesOf(1, 1, 2000);
    Server server([&](int fd, int) {
      Server::Greet(fd);
      BatchHeader batch = Server::TakeBatch(fd);
      std::vector<std::byte> bytes(kAnswerBytes);
      StoreAnswer(GoodAnswer(batch.request, 0, body), bytes.data());
      bytes.insert(bytes.end(), body.begin(), body.end());
      for (int i = 0; i < 2; ++i) {
        bytes[random.Below(bytes.size())] ^= static_cast<std::byte>(1 + random.Below(255));
      }
      SendAll(fd, bytes);
    });
    BulkClient client({});
    PendingRead read(1);
    ReadAll(&client, server.endpoint(), &read, 2000);
    EXPECT_FALSE(read.outcomes[0].status.ok());
  }
}

// The deadline passes while a payload is half there: its buffer is the caller's again, and what
// still comes is not written to it; the others on the connection are served.
TEST(BulkClient, ADeadlineInMidPayloadGivesTheBufferBack) {
  auto body = BytesOf(1, 1, 500'000);
  std::binary_semaphore timed_out{0};
  Server server([&](int fd, int) {
    Server::Greet(fd);
    BatchHeader first = Server::TakeBatch(fd);
    Server::SendAnswer(fd, GoodAnswer(first.request, 0, body), ByteView(body).first(200'000));
    BatchHeader second = Server::TakeBatch(fd);
    timed_out.acquire();
    SendAll(fd, ByteView(body).subspan(200'000));
    Server::SendAnswer(fd, GoodAnswer(second.request, 0, body), body);
    ReceiveSome(fd, 1 << 20);
  });
  BulkClient client({});
  PendingRead hasty(1);
  PendingRead patient(1);
  client.Read(server.endpoint(), BulkMode::kLook, hasty.Items(1, body.size()), In(300ms),
              hasty.Each());
  client.Read(server.endpoint(), BulkMode::kLook, patient.Items(1, body.size()), In(60s),
              patient.Each());
  hasty.Wait();
  EXPECT_EQ(hasty.outcomes[0].status.code(), Code::kTimeout);
  std::fill(hasty.buffers[0].begin(), hasty.buffers[0].end(), std::byte{0x77});
  timed_out.release();
  patient.Wait();
  ASSERT_NO_FATAL_FAILURE(patient.ExpectBytes(0, 1, body.size()));
  for (std::byte b : hasty.buffers[0]) ASSERT_EQ(b, std::byte{0x77});
}

// Nobody waits on the connection any more: it is dropped, so that a stalled node does not keep it,
// and the next Read takes another.
TEST(BulkClient, AStalledConnectionIsLeftAtTheDeadline) {
  auto body = BytesOf(1, 1, 1000);
  std::atomic<bool> first_closed{false};
  Server server(
      [&](int fd, int connection) {
        Server::Greet(fd);
        BatchHeader batch = Server::TakeBatch(fd);
        if (connection == 0) {
          first_closed = Closes(fd);
          return;
        }
        Server::SendAnswer(fd, GoodAnswer(batch.request, 0, body), body);
        ReceiveSome(fd, 1 << 20);
      },
      2);
  BulkClient client({});
  PendingRead stalled(3);
  ReadAll(&client, server.endpoint(), &stalled, 1000, 200ms);
  stalled.ExpectAll(Code::kTimeout);
  PendingRead next(1);
  ReadAll(&client, server.endpoint(), &next, 1000);
  ASSERT_NO_FATAL_FAILURE(next.ExpectBytes(0, 1, 1000));
  EXPECT_TRUE(first_closed);
}

TEST(BulkClient, ANodeThatNeverSaysHelloIsGivenUp) {
  Server server([](int fd, int) { Closes(fd); });
  BulkClient client({.connect_timeout = 300ms});
  PendingRead read(2);
  ReadAll(&client, server.endpoint(), &read, 10);
  read.ExpectAll(Code::kUnavailable);
}

TEST(BulkClient, IdleConnectionsAreClosedWithoutHarm) {
  TestNode node;
  node.Put(1, 10);
  ASSERT_TRUE(node.Serve({.idle_timeout = 100ms}).ok());
  for (Duration idle :
       {Duration(50ms), Duration(60s)}) {  // the client's end first, then the server's
    BulkClient client({.idle_timeout = idle, .backoff_min = 60s, .backoff_max = 60s});
    for (int round = 0; round < 2; ++round) {
      PendingRead read(1);
      ReadAll(&client, node.endpoint(), &read, 10);
      ASSERT_NO_FATAL_FAILURE(read.ExpectBytes(0, 1, 10));
      for (int i = 0; i < 2000 && node.server()->Stats().connections > 0; ++i) usleep(2000);
      usleep(20'000);
    }
  }
}

TEST(BulkClient, TenMebibytesInOneObject) {
  TestNode node(256 * kMiB, 16 * kMiB);
  constexpr size_t kSize = 10 * kMiB + 3;
  node.Put(1, kSize);
  node.Put(2, 50);
  for (uint64_t sendfile_bytes : {uint64_t{32} * kKiB, ~uint64_t{0}}) {
    ASSERT_TRUE(node.Serve({.sendfile_bytes = sendfile_bytes}).ok());
    BulkClient client({.window_bytes = 1 * kMiB});  // one item always goes
    PendingRead read(6);
    auto items = read.Items(0, kSize);
    for (size_t i = 0; i < 6; ++i) items[i].oid = OidNumber(1 + i % 2);
    client.Read(node.endpoint(), BulkMode::kLook, std::move(items), In(60s), read.Each());
    read.Wait();
    for (size_t i = 0; i < 6; ++i) {
      ASSERT_NO_FATAL_FAILURE(read.ExpectBytes(i, 1 + i % 2, i % 2 == 0 ? kSize : 50));
    }
    node.StopServing();
  }
}

}  // namespace
}  // namespace holdfast::bulk
