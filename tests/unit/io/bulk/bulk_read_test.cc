// SPDX-License-Identifier: Apache-2.0
// Client and server together over real sockets.
#include <optional>
#include <thread>

#include "tests/unit/io/bulk/test_node.h"

namespace holdfast::bulk {
namespace {

struct Wire {
  const char* name;
  bool tcp;
  uint64_t sendfile_bytes;
  uint32_t threads;
  uint32_t connections;
  uint32_t max_pinned_segments;
};
void PrintTo(const Wire& wire, std::ostream* out) { *out << wire.name; }

class BulkRead : public testing::TestWithParam<Wire> {
 protected:
  void Serve(MissHandler on_miss = nullptr) {
    std::string path = "/tmp/holdfast-bulk-test-" + std::to_string(getpid()) + ".sock";
    ASSERT_TRUE(node_
                    .Serve({.endpoints = {GetParam().tcp ? "tcp://127.0.0.1:0" : "unix:" + path},
                            .cluster = "test",
                            .threads = GetParam().threads,
                            .sendfile_bytes = GetParam().sendfile_bytes,
                            .max_pinned_segments = GetParam().max_pinned_segments},
                           std::move(on_miss))
                    .ok());
  }
  BulkClientOptions Options() {
    return {.cluster = "test",
            .connections_per_endpoint = GetParam().connections,
            .window_items = 64,
            .window_bytes = 4 * kMiB};
  }

  TestNode node_;
};

INSTANTIATE_TEST_SUITE_P(Wires, BulkRead,
                         testing::Values(Wire{"tcp_sendfile", true, 32 * kKiB, 1, 1, 64},
                                         Wire{"tcp_copy", true, ~0ull, 1, 2, 64},
                                         Wire{"tcp_one_pin", true, 4 * kKiB, 2, 2, 1},
                                         Wire{"unix_socket", false, 32 * kKiB, 1, 1, 64}),
                         [](const auto& wire) { return wire.param.name; });

TEST_P(BulkRead, ObjectsOfEverySizeArriveWhole) {
  const std::vector<size_t> sizes = {0,       1,       47,      48,      49,     63,
                                     64,      65,      1000,    4095,    4096,   4097,
                                     16'383,  16'384,  32'767,  32'768,  32'769, 65'536,
                                     131'071, 131'072, 131'073, 500'000, 900'000};
  for (size_t i = 0; i < sizes.size(); ++i) node_.Put(i, sizes[i]);
  Serve();
  BulkClient client(Options());
  PendingRead read(sizes.size() * 7);
  auto items = read.Items(0, 0);
  for (size_t i = 0; i < items.size(); ++i) {
    size_t n = (i * 5) % sizes.size();
    read.buffers[i].resize(sizes[n] + i % 3);
    items[i].oid = OidNumber(n);
    items[i].into = read.buffers[i];
    items[i].size = i % 2 == 0 ? sizes[n] : 0;
  }
  client.Read(node_.endpoint(), BulkMode::kLook, std::move(items), In(60s), read.Each());
  read.Wait();
  for (size_t i = 0; i < sizes.size() * 7; ++i) {
    size_t n = (i * 5) % sizes.size();
    ASSERT_NO_FATAL_FAILURE(read.ExpectBytes(i, n, sizes[n]));
  }
}

// What finds the socket full is looked at again. Read more than once is what reclaim keeps.
TEST_P(BulkRead, EachObjectIsMarkedAsReadOnce) {
  constexpr uint64_t kObjects = 200;
  for (uint64_t n = 0; n < kObjects; ++n) node_.Put(n, 100'000);
  Serve();
  BulkClient client(Options());
  PendingRead read(kObjects);
  client.Read(node_.endpoint(), BulkMode::kLook, read.Items(0, 100'000), In(60s), read.Each());
  read.Wait();
  read.ExpectAll(Code::kOk);
  EXPECT_EQ(node_.marks(), kObjects);
  PendingRead too_large(kObjects);  // it only asks how large they are
  client.Read(node_.endpoint(), BulkMode::kLook, too_large.Items(0, 99'999), In(60s),
              too_large.Each());
  too_large.Wait();
  too_large.ExpectAll(Code::kNoSpace);
  EXPECT_EQ(node_.marks(), kObjects);
}

TEST_P(BulkRead, ThousandsOfItemsInOneReadAndManyReadsAtOnce) {
  for (uint64_t n = 0; n < 2000; ++n) node_.Put(n, 100 + n % 3000);
  Serve();
  BulkClient client(Options());
  std::vector<std::unique_ptr<PendingRead>> reads;
  for (int r = 0; r < 4; ++r) {
    reads.push_back(std::make_unique<PendingRead>(5000));
    auto items = reads.back()->Items(0, 3100);
    for (size_t i = 0; i < items.size(); ++i) items[i].oid = OidNumber(i % 2100);
    client.Read(node_.endpoint(), BulkMode::kLook, std::move(items), In(60s), reads.back()->Each());
  }
  for (auto& read : reads) {
    read->Wait();
    for (size_t i = 0; i < 5000; ++i) {
      uint64_t n = i % 2100;
      if (n < 2000) {
        ASSERT_NO_FATAL_FAILURE(read->ExpectBytes(i, n, 100 + n % 3000));
      } else {
        ASSERT_EQ(read->outcomes[i].status.code(), Code::kNotFound);
      }
    }
  }
}

TEST_P(BulkRead, TooLittleRoomSaysHowMuchItTakes) {
  node_.Put(1, 5000);
  node_.Put(2, 200'000);
  Serve();
  BulkClient client(Options());
  PendingRead read(2);
  client.Read(node_.endpoint(), BulkMode::kLook, read.Items(1, 4999), In(60s), read.Each());
  read.Wait();
  read.ExpectAll(Code::kNoSpace);
  EXPECT_EQ(read.outcomes[0].size, 5000u);
  EXPECT_EQ(read.outcomes[1].size, 200'000u);
  for (std::byte b : read.buffers[0]) ASSERT_EQ(b, std::byte{0xee});
}

TEST_P(BulkRead, TheVersionThatWasAskedForComes) {
  node_.Put(1, 3000, 1);
  node_.Put(1, 3000, 2);
  Serve();
  BulkClient client(Options());
  PendingRead read(3);
  auto items = read.Items(1, 3000);
  for (size_t i = 0; i < 3; ++i) items[i] = {OidNumber(1), i + 1, 0, "", "", items[i].into};
  client.Read(node_.endpoint(), BulkMode::kLook, std::move(items), In(60s), read.Each());
  read.Wait();
  EXPECT_EQ(read.buffers[0], BytesOf(1, 1, 3000));
  EXPECT_EQ(read.buffers[1], BytesOf(1, 2, 3000));
  EXPECT_EQ(read.outcomes[1].version, 2u);
  EXPECT_EQ(read.outcomes[2].status.code(), Code::kNotFound);
}

// Everything that the reader took is acknowledged within a moment, also when it asks for nothing
// more.
TEST_P(BulkRead, NoSegmentStaysPinnedAfterwards) {
  for (uint64_t n = 0; n < 40; ++n) node_.Put(n, 150'000);
  Serve();
  BulkClient client(Options());
  for (int round = 0; round < 3; ++round) {
    PendingRead read(40);
    client.Read(node_.endpoint(), BulkMode::kLook, read.Items(0, 150'000), In(60s), read.Each());
    read.Wait();
    read.ExpectAll(Code::kOk);
  }
  for (int wait = 0; wait < 2000 && node_.PinnedSegments() > 0; ++wait) usleep(5000);
  EXPECT_EQ(node_.PinnedSegments(), 0u);
}

// Objects are replaced in their segments all the time; readers see whole objects or none.
TEST_P(BulkRead, ReclaimUnderReadersNeverMixesBytes) {
  for (uint64_t n = 0; n < 300; ++n) node_.Put(n, 60'000 + n);
  Serve();
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (uint64_t n = 0; !stop; ++n) {
      ASSERT_NO_FATAL_FAILURE(node_.Put(1000 + n, 60'000));  // pushes older ones out
      ASSERT_NO_FATAL_FAILURE(node_.Put(n % 300, 60'000 + n % 300));
      usleep(20);
    }
  });
  BulkClient client(Options());
  size_t hits = 0;
  for (int round = 0; round < 20; ++round) {
    PendingRead read(300);
    client.Read(node_.endpoint(), BulkMode::kLook, read.Items(0, 61'000), In(60s), read.Each());
    read.Wait();
    for (size_t i = 0; i < 300; ++i) {
      if (read.outcomes[i].status.code() == Code::kNotFound) continue;
      ++hits;
      EXPECT_NO_FATAL_FAILURE(read.ExpectBytes(i, i, 60'000 + i));
    }
  }
  stop = true;
  writer.join();
  EXPECT_GT(hits, 1000u);
}

TEST_P(BulkRead, MissesAreHandedOverAndServedWhenThere) {
  std::mutex mutex;
  std::vector<ReadMiss> seen;
  std::vector<std::thread> loads;
  Serve([&](ReadMiss miss, std::function<void(Status)> done) {
    std::lock_guard lock(mutex);
    uint64_t n = std::stoull(miss.name);
    seen.push_back(std::move(miss));
    if (n % 3 == 2) return done(Status::NotFound("no such object far away"));
    if (n % 3 == 1) {
      node_.Put(n, 2000);
      return done({});
    }
    loads.emplace_back([this, n, done] {
      node_.Put(n, 2000);
      done({});
    });
  });
  BulkClient client(Options());
  PendingRead read(30);
  auto items = read.Items(0, 2000);
  for (size_t i = 0; i < 30; ++i) {
    items[i].name = std::to_string(i);
    items[i].etag = "etag";
    items[i].size = 2000;
  }
  client.Read(node_.endpoint(), BulkMode::kFetch, std::move(items), In(60s), read.Each());
  read.Wait();
  for (std::thread& load : loads) load.join();
  for (size_t i = 0; i < 30; ++i) {
    if (i % 3 == 2) {
      EXPECT_EQ(read.outcomes[i].status.code(), Code::kNotFound);
      EXPECT_NE(read.outcomes[i].status.message().find("far away"), std::string::npos);
    } else {
      ASSERT_NO_FATAL_FAILURE(read.ExpectBytes(i, i, 2000));
    }
  }
  ASSERT_EQ(seen.size(), 30u);
  EXPECT_EQ(seen[0].mode, BulkMode::kFetch);
  EXPECT_EQ(seen[0].etag, "etag");
  EXPECT_EQ(seen[0].size, 2000u);
  EXPECT_GT(seen[0].patience, 0us);
}

TEST_P(BulkRead, WhoCanReadTheDiskIsToldThePlace) {
  std::atomic<int> offered{0}, peeks{0};
  Serve([&](ReadMiss miss, std::function<void(Status)> done) {
    const uint64_t n = miss.size - 1'000;
    if (miss.on_disk) ++offered;
    if (miss.peek) ++peeks;
    if (miss.on_disk && n % 2 == 0)
      return miss.on_disk({.segment = static_cast<uint32_t>(n), .offset = 4096 + 64 * n});
    node_.Put(n, miss.size);
    done({});
  });
  BulkClient client(Options());
  PendingRead bytes(200), told(200), narrow(4);
  auto items = bytes.Items(0, 2'000);
  auto wanted = told.Items(0, 2'000);
  for (size_t i = 0; i < items.size(); ++i) items[i].size = wanted[i].size = 1'000 + i;
  // Who has no room only wants to know where it is.
  auto looked = narrow.Items(300, 0);
  for (size_t i = 0; i < looked.size(); ++i) looked[i].size = 1'300 + i;
  std::vector<std::optional<disk::Place>> places(wanted.size());
  auto placed = [&](size_t i, disk::Place place) {
    places[i] = place;
    told.Each()(i, {});
  };
  client.Read(node_.endpoint(), BulkMode::kWait, std::move(wanted), In(60s), told.Each(), placed);
  client.Read(
      node_.endpoint(), BulkMode::kWait, std::move(looked), In(60s), narrow.Each(),
      [&](size_t i, disk::Place) { narrow.Each()(i, {.status = Status::NoSpace("on the disk")}); });
  told.Wait();
  narrow.Wait();
  narrow.ExpectAll(Code::kNoSpace);
  EXPECT_EQ(offered, 204);
  EXPECT_EQ(peeks, 4);
  for (size_t i = 0; i < places.size(); ++i) {
    ASSERT_EQ(places[i].has_value(), i % 2 == 0) << i;
    if (places[i]) {
      EXPECT_EQ(*places[i], (disk::Place{static_cast<uint32_t>(i), 4096 + 64 * i}));
    } else {
      ASSERT_NO_FATAL_FAILURE(told.ExpectBytes(i, i, 1'000 + i));
    }
  }
  EXPECT_EQ(node_.server()->Stats().places, 102u);
  // Who does not say that a place will do gets bytes.
  client.Read(node_.endpoint(), BulkMode::kWait, std::move(items), In(60s), bytes.Each());
  bytes.Wait();
  EXPECT_EQ(offered, 204);
  for (size_t i = 0; i < 200; ++i) ASSERT_NO_FATAL_FAILURE(bytes.ExpectBytes(i, i, 1'000 + i));
}

TEST_P(BulkRead, LookNeverAsksTheMissHandlerAndWaitCarriesNoName) {
  std::atomic<int> asked{0};
  Serve([&](ReadMiss miss, std::function<void(Status)> done) {
    ++asked;
    EXPECT_EQ(miss.mode, BulkMode::kWait);
    EXPECT_TRUE(miss.name.empty());
    done(Status::NotFound("nobody loads it"));
  });
  BulkClient client(Options());
  PendingRead look(5);
  client.Read(node_.endpoint(), BulkMode::kLook, look.Items(0, 10), In(60s), look.Each());
  look.Wait();
  look.ExpectAll(Code::kNotFound);
  EXPECT_EQ(asked, 0);
  PendingRead wait(5);
  auto items = wait.Items(0, 10);
  for (auto& item : items) item.name = "s3+http://h/b/k";
  client.Read(node_.endpoint(), BulkMode::kWait, std::move(items), In(60s), wait.Each());
  wait.Wait();
  wait.ExpectAll(Code::kNotFound);
  EXPECT_EQ(asked, 5);
}

// A load that is reclaimed before it can be sent is asked for again, a few times.
TEST_P(BulkRead, ALoadThatIsGoneAgainIsAskedForAFewTimes) {
  std::atomic<int> asked{0};
  Serve([&](ReadMiss, std::function<void(Status)> done) {
    ++asked;
    done({});
  });
  BulkClient client(Options());
  PendingRead read(1);
  client.Read(node_.endpoint(), BulkMode::kWait, read.Items(0, 10), In(60s), read.Each());
  read.Wait();
  read.ExpectAll(Code::kUnavailable);
  EXPECT_EQ(asked, 3);
}

TEST_P(BulkRead, DeadlinesEndReadsThatNobodyServes) {
  std::vector<std::function<void(Status)>> kept;
  std::mutex mutex;
  Serve([&](ReadMiss, std::function<void(Status)> done) {
    std::lock_guard lock(mutex);
    kept.push_back(std::move(done));
  });
  node_.Put(100, 1000);
  BulkClient client(Options());
  PendingRead waiting(200);
  client.Read(node_.endpoint(), BulkMode::kWait, waiting.Items(0, 1000), In(300ms), waiting.Each());
  waiting.Wait();
  for (size_t i = 0; i < 200; ++i) {
    if (waiting.outcomes[i].status.ok()) continue;  // object 100, when its turn came
    ASSERT_EQ(waiting.outcomes[i].status.code(), Code::kTimeout);
  }
  PendingRead past(3);
  client.Read(node_.endpoint(), BulkMode::kLook, past.Items(100, 1000), In(-1s), past.Each());
  past.Wait();
  past.ExpectAll(Code::kTimeout);
  // Late answers of the handler find nobody, and the node goes on serving.
  {
    std::lock_guard lock(mutex);
    for (auto& done : kept) done({});
  }
  PendingRead after(1);
  client.Read(node_.endpoint(), BulkMode::kLook, after.Items(100, 1000), In(60s), after.Each());
  after.Wait();
  ASSERT_NO_FATAL_FAILURE(after.ExpectBytes(0, 100, 1000));
}

TEST_P(BulkRead, ReadsFromInsideACallback) {
  node_.Put(1, 1000);
  Serve();
  BulkClient client(Options());
  std::vector<std::byte> buffer(1000);
  PendingRead last(1);
  auto items = last.Items(1, 1000);
  client.Read(node_.endpoint(), BulkMode::kLook, {{OidNumber(1), 0, 0, "", "", buffer}}, In(60s),
              [&](size_t, BulkOutcome outcome) {
                EXPECT_TRUE(outcome.status.ok());
                client.Read(node_.endpoint(), BulkMode::kLook, items, In(60s), last.Each());
              });
  last.Wait();
  ASSERT_NO_FATAL_FAILURE(last.ExpectBytes(0, 1, 1000));
}

TEST_P(BulkRead, ServersMissHandlerMayAnswerAfterTheServerIsGone) {
  std::vector<std::function<void(Status)>> kept;
  Serve([&](ReadMiss, std::function<void(Status)> done) { kept.push_back(std::move(done)); });
  BulkClient client(Options());
  PendingRead read(8);
  client.Read(node_.endpoint(), BulkMode::kWait, read.Items(0, 10), In(60s), read.Each());
  for (int i = 0; i < 2000 && node_.server()->Stats().misses < 8; ++i) usleep(2000);
  node_.StopServing();
  read.Wait();
  read.ExpectAll(Code::kUnavailable);
  ASSERT_EQ(kept.size(), 8u);
  for (auto& done : kept) done({});
}

TEST_P(BulkRead, TheClientsEndEndsEverything) {
  Serve([](ReadMiss, std::function<void(Status)>) {});
  PendingRead read(100);
  {
    BulkClient client(Options());
    client.Read(node_.endpoint(), BulkMode::kWait, read.Items(0, 10), In(60s), read.Each());
  }
  EXPECT_EQ(read.done(), 100u);
  read.ExpectAll(Code::kUnavailable);
}

}  // namespace
}  // namespace holdfast::bulk
