// SPDX-License-Identifier: Apache-2.0
// The client library against real daemons.
#include "holdfast/client.h"

#include "tests/unit/jobclient/client/client_fixture.h"

namespace holdfast {
namespace {

TEST_F(ClientTest, ReadsEveryByteInTwoEpochs) {
  StartCluster(3);
  Connect(true);
  EXPECT_EQ(client->own_node(), NodeId{0});
  uint64_t looked_up = 0;
  PlanOptions options;
  options.order = ShuffledOrder(500, 1, 0);
  options.progress = [&](uint64_t done, uint64_t) { looked_up = done; };
  auto job = Plan(MakeFiles(500), std::move(options));
  ASSERT_NE(job, nullptr);
  EXPECT_EQ(looked_up, 500u);
  EXPECT_EQ(job->planned().cut_objects, 1u);
  const uint64_t pieces = job->planned().objects;
  EXPECT_GT(pieces, 530u);
  EXPECT_EQ(job->planned().load_objects, pieces);
  EXPECT_EQ(job->planned().too_large_objects, 0u);
  ReaderReport first = ReadAll(*job, ShuffledOrder(500, 1, 0));
  EXPECT_EQ(first.failed, 0u);
  ASSERT_TRUE(job->WaitForLoads(10s));
  ReaderReport second = ReadAll(*job, ShuffledOrder(500, 1, 1));
  EXPECT_EQ(second.objects[0] + second.objects[1], 500u);
  EXPECT_GT(second.objects[0], 100u);
  EXPECT_EQ(job->Progress().loads_done, pieces);
}

TEST_F(ClientTest, ReadsWithoutAnOwnNodeAndWithoutAnyNode) {
  StartCluster(2);
  Connect(false);
  auto job = Plan(MakeFiles(200));
  ASSERT_NE(job, nullptr);
  ReaderReport report = ReadAll(*job, ShuffledOrder(200, 5, 0));
  EXPECT_EQ(report.objects[0], 0u);
  job.reset();
  client.reset();
  for (size_t node : {size_t{0}, size_t{1}}) Kill(node, SIGKILL);
  control.clear();
  Connect(false);
  ObjectList list;
  for (const auto& entry : fs::recursive_directory_iterator(root / "data")) {
    if (entry.path().filename() != "a b+5") continue;
    ASSERT_TRUE(list.Add(entry.path().string()).ok());
  }
  job = Plan(std::move(list));
  ASSERT_NE(job, nullptr);
  EXPECT_EQ(job->planned().far_objects, 1u);
  auto reader = job->Read();
  ASSERT_TRUE(reader.ok());
  Result<std::optional<Object>> object = (*reader)->Next();
  ASSERT_TRUE(object.ok() && object->has_value());
  EXPECT_EQ((*object)->text(), contents[5]);
  EXPECT_EQ((*object)->source(), ObjectSource::kFar);
  EXPECT_EQ(client->Spent().gets, 1u);
}

TEST_F(ClientTest, ANodeThatDiesCostsNoRead) {
  StartCluster(3);
  Connect(true);
  auto job = Plan(MakeFiles(800));
  ASSERT_NE(job, nullptr);
  ASSERT_TRUE(job->WaitForLoads(10s));
  ReaderOptions options;
  options.look_ahead_objects = 32;
  for (uint32_t i = 0; i < 800; ++i) options.order.push_back(i);
  auto reader = job->Read(options);
  ASSERT_TRUE(reader.ok());
  for (uint32_t i = 0; i < 800; ++i) {
    if (i == 200) Kill(2, SIGKILL);
    Result<std::optional<Object>> object = (*reader)->Next();
    ASSERT_TRUE(object.ok()) << object.status().ToString();
    EXPECT_EQ((*object)->text(), contents[i]);
  }
  EXPECT_EQ((*reader)->Report().failed, 0u);
  EXPECT_EQ(job->Report().nodes[2].loads, 0u);
}

TEST_F(ClientTest, SeveralReadersAtOnce) {
  StartCluster(2);
  Connect(true);
  auto job = Plan(MakeFiles(300));
  ASSERT_NE(job, nullptr);
  std::vector<std::thread> ranks;
  for (uint64_t rank = 0; rank < 4; ++rank) {
    ranks.emplace_back([&, rank] { ReadAll(*job, ShuffledOrder(300, rank, 0)); });
  }
  for (std::thread& rank : ranks) rank.join();
}

TEST_F(ClientTest, GetsSingleObjectsThroughTheirHome) {
  StartCluster(2);
  Connect(true);
  ObjectList list = MakeFiles(20);
  for (size_t i = 0; i < 20; ++i) {
    std::string name(list.item(i).uri);
    Result<Object> object = client->Get(name);
    ASSERT_TRUE(object.ok()) << object.status().ToString();
    EXPECT_EQ(object->text(), contents[i]);
    EXPECT_TRUE(i == 1 || object->source() != ObjectSource::kFar);
    Result<Object> again = client->Get(name);
    ASSERT_TRUE(again.ok());
    EXPECT_EQ(again->text(), contents[i]);
  }
  EXPECT_EQ(client->Get((root / "data" / "none").string()).status().code(), Code::kNotFound);
  EXPECT_EQ(client->Get("relative/name").status().code(), Code::kInvalid);
  for (size_t node : {size_t{0}, size_t{1}}) Kill(node, SIGKILL);
  Result<Object> far = client->Get(std::string(list.item(7).uri));
  ASSERT_TRUE(far.ok()) << far.status().ToString();
  EXPECT_EQ(far->text(), contents[7]);
}

TEST_F(ClientTest, HoldsOutliveTheJobUntilTheyAreReleased) {
  StartCluster(2);
  Connect(true);
  PlanOptions options;
  options.hold = std::chrono::hours(1);
  auto job = Plan(MakeFiles(100), std::move(options));
  ASSERT_NE(job, nullptr);
  ASSERT_TRUE(job->WaitForLoads(10s));
  Status held = job->Hold();
  ASSERT_TRUE(held.ok()) << held.ToString();
  const JobId id = job->id();
  const uint64_t pieces = job->planned().objects;  // one object is cut
  ASSERT_GT(pieces, 100u);
  job.reset();
  const std::string prefix = (root / "data").string() + "/";
  Result<DropResult> dropped = client->DropPrefix(prefix);
  ASSERT_TRUE(dropped.ok()) << dropped.status().ToString();
  EXPECT_EQ(dropped->held_objects, pieces);
  EXPECT_EQ(dropped->dropped_objects, 0u);
  Status released = client->Release(id);
  ASSERT_TRUE(released.ok()) << released.ToString();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // the books are closed in slices
  Result<DropResult> one = client->DropObjects({prefix + "part2/a b+2"});
  ASSERT_TRUE(one.ok());
  EXPECT_EQ(one->dropped_objects, 1u);
  dropped = client->DropPrefix(prefix);
  ASSERT_TRUE(dropped.ok());
  EXPECT_EQ(dropped->dropped_objects, pieces - 1);
  EXPECT_EQ(dropped->nodes, 2u);
}

TEST_F(ClientTest, SaysWhatANodeDoes) {
  StartCluster(1);
  Connect(false);
  Result<std::string> status = client->NodeStatus(0);
  ASSERT_TRUE(status.ok()) << status.status().ToString();
  EXPECT_TRUE(status->starts_with("{")) << *status;
  Status unknown = client->NodeStatus(9).status();
  EXPECT_EQ(unknown.code(), Code::kNotFound);
  EXPECT_NE(unknown.message().find("it has 0"), std::string::npos) << unknown.message();
  Kill(0, SIGKILL);
  EXPECT_EQ(client->NodeStatus(0, 200ms).status().code(), Code::kTimeout);
}

TEST_F(ClientTest, ListsADirectoryAsAList) {
  Connect(false);
  ObjectList files = MakeFiles(2500);
  uint64_t seen = 0;
  Result<ObjectList> listed =
      client->List((root / "data").string() + "/", [&](uint64_t n) { seen = n; });
  ASSERT_TRUE(listed.ok()) << listed.status().ToString();
  ASSERT_EQ(listed->size(), 2500u);
  EXPECT_EQ(seen, 2500u);
  ASSERT_TRUE(client->Resolve(&files).ok());
  std::set<std::string> expected, found;
  for (size_t i = 0; i < 2500; ++i) {
    ObjectList::Item file = files.item(i), entry = listed->item(i);
    expected.insert(std::string(file.uri) + " " + std::to_string(file.size) + " " +
                    std::string(file.etag));
    found.insert(std::string(entry.uri) + " " + std::to_string(entry.size) + " " +
                 std::string(entry.etag));
    EXPECT_TRUE(i == 0 || listed->item(i - 1).uri < entry.uri);
  }
  EXPECT_EQ(found, expected);
  EXPECT_FALSE(client->List((root / "nothing").string() + "/").ok());
}

TEST_F(ClientTest, NamesBecomeCanonicalWhereverTheyStand) {
  Connect(false);
  const auto write = [&](const char* name, const char* text) {
    const fs::path path = root / "data" / name;
    std::ofstream(path) << text;
    return path.string();
  };
  const std::string a = write("a", "1"), b = write("b b", "22"), c = write("c", "333");
  ObjectList list;
  ASSERT_TRUE(list.Add("file://" + a).ok());  // canonical already
  ASSERT_TRUE(list.Add(b).ok());
  ASSERT_TRUE(list.Add("file://" + c, 3, "given").ok());
  ASSERT_TRUE(client->Resolve(&list).ok());
  ASSERT_EQ(list.size(), 3u);
  EXPECT_EQ(list.item(0).uri, "file://" + a);
  EXPECT_EQ(list.item(1).uri, *client->Canonical(b));
  EXPECT_EQ(list.item(1).size, 2u);
  EXPECT_EQ(list.item(2).etag, "given");
  // What is added to a list that was resolved is looked at, too; what is there already stays.
  ASSERT_TRUE(list.Add((root / "data").string() + "/./a").ok());
  ASSERT_TRUE(client->Resolve(&list).ok());
  EXPECT_EQ(list.item(3).uri, "file://" + a);
  EXPECT_EQ(list.item(3).size, 1u);
  EXPECT_EQ(list.item(1).uri, *client->Canonical(b));
  EXPECT_EQ(list.item(2).etag, "given");
}

TEST_F(ClientTest, NamesWhatIsWrong) {
  Connect(false);
  ObjectList list = MakeFiles(3);
  ASSERT_TRUE(list.Add((root / "data" / "none").string()).ok());
  Status missing = client->Plan(list).status();
  EXPECT_EQ(missing.code(), Code::kNotFound);
  EXPECT_NE(missing.message().find("object 4"), std::string::npos) << missing.message();
  EXPECT_EQ(client->Plan({}).status().code(), Code::kInvalid);
  ObjectList relative;
  ASSERT_TRUE(relative.Add("a/b").ok());
  EXPECT_EQ(client->Plan(relative).status().code(), Code::kInvalid);
  PlanOptions short_lease;
  short_lease.lease = 1ms;
  EXPECT_EQ(client->Plan(MakeFiles(1), short_lease).status().code(), Code::kInvalid);
  auto job = Plan(MakeFiles(2));
  ASSERT_NE(job, nullptr);
  ReaderOptions outside;
  outside.order = {2};
  EXPECT_EQ(job->Read(outside).status().code(), Code::kInvalid);
}

TEST_F(ClientTest, AnObjectThatChangedIsAnErrorOfItsOwn) {
  Connect(false);
  auto job = Plan(MakeFiles(4));
  ASSERT_NE(job, nullptr);
  std::ofstream(root / "data" / "part2" / "a b+2") << "new";
  auto reader = job->Read();
  ASSERT_TRUE(reader.ok());
  std::vector<Code> codes;
  for (int i = 0; i < 4; ++i) codes.push_back((*reader)->Next().status().code());
  EXPECT_EQ(codes, (std::vector<Code>{Code::kOk, Code::kOk, Code::kChanged, Code::kOk}));
}

TEST_F(ClientTest, RefusesOptionsThatCannotBe) {
  ClientOptions options;
  options.nodes = {{1, "tcp://127.0.0.1:1"}, {1, "tcp://127.0.0.1:2"}};
  EXPECT_EQ(Client::Connect(options).status().code(), Code::kInvalid);
  options.nodes = {{1, ""}};
  EXPECT_EQ(Client::Connect(options).status().code(), Code::kInvalid);
  options.nodes.clear();
  options.attach = (root / "none.sock").string();
  EXPECT_EQ(Client::Connect(options).status().code(), Code::kUnavailable);
  options.attach.clear();
  options.cluster_key_file = (root / "none.key").string();
  EXPECT_EQ(Client::Connect(options).status().code(), Code::kNotFound);
}

TEST_F(ClientTest, ReadsItsConfiguration) {
  std::ofstream(root / "good.toml")
      << "cluster = \"x\"\nattach = \"/run/a.sock\"\n[far]\nregion = \"eu\"\n"
         "[[node]]\nid = 3\ncontrol = \"tcp://h:1\"\n";
  Result<ClientOptions> options = LoadClientOptions((root / "good.toml").string());
  ASSERT_TRUE(options.ok()) << options.status().ToString();
  EXPECT_EQ(options->cluster, "x");
  EXPECT_EQ(options->attach, "/run/a.sock");
  EXPECT_EQ(options->far.region, "eu");
  ASSERT_EQ(options->nodes.size(), 1u);
  EXPECT_EQ(options->nodes[0].id, 3);
  ::setenv("HOLDFAST_CLIENT_CLUSTER", "from outside", 1);
  EXPECT_EQ(LoadClientOptions((root / "good.toml").string())->cluster, "from outside");
  ::unsetenv("HOLDFAST_CLIENT_CLUSTER");
  std::ofstream(root / "bad.toml") << "cluster = \"x\"\nclutser = 1\n";
  Status bad = LoadClientOptions((root / "bad.toml").string()).status();
  EXPECT_EQ(bad.code(), Code::kInvalid);
  EXPECT_NE(bad.message().find("clutser"), std::string::npos);
  EXPECT_NE(bad.message().find("cluster_key_file"), std::string::npos) << bad.message();
  std::ofstream(root / "twice.toml")
      << "[[node]]\nid = 3\ncontrol = \"a\"\n[[node]]\nid = 3\ncontrol = \"b\"\n";
  EXPECT_EQ(LoadClientOptions((root / "twice.toml").string()).status().code(), Code::kInvalid);
}

TEST(ShuffledOrder, DependsOnSeedAndEpochAlone) {
  std::vector<uint32_t> order = ShuffledOrder(100, 1, 0);
  EXPECT_EQ(order, ShuffledOrder(100, 1, 0));
  EXPECT_NE(order, ShuffledOrder(100, 1, 1));
  EXPECT_NE(order, ShuffledOrder(100, 2, 0));
  EXPECT_EQ(std::set<uint32_t>(order.begin(), order.end()).size(), 100u);
}

// --- Large objects and ranges --------------------------------------------------------------------

TEST_F(ClientTest, ALargeObjectIsReadInChunksByGetAndGetMany) {
  StartCluster(3);
  Connect(true);
  ObjectList list = MakeFiles(8);
  ASSERT_TRUE(client->Resolve(&list).ok());
  const std::string large(list.item(1).uri);
  Result<Object> object = client->Get(large);
  ASSERT_TRUE(object.ok()) << object.status().ToString();
  EXPECT_EQ(object->text(), contents[1]);
  EXPECT_EQ(object->name(), large);
  const uint64_t far = client->Spent().bytes;
  EXPECT_LT(far, 600'000u) << "what was read to see that it is large";
  std::vector<ObjectList::Item> items;
  for (size_t round = 0; round < 3; ++round) {
    for (size_t i = 0; i < list.size(); ++i) items.push_back(list.item(i));
  }
  for (const uint32_t in_flight : {1u, 2u, 64u}) {
    std::vector<int> seen(items.size());
    client->GetMany(items,
                    [&](size_t i, Result<Object> got) {
                      ++seen[i];
                      ASSERT_TRUE(got.ok()) << got.status().ToString();
                      EXPECT_EQ(got->text(), contents[i % list.size()]);
                    },
                    {.in_flight = in_flight});
    EXPECT_EQ(seen, std::vector<int>(items.size(), 1));
  }
  EXPECT_EQ(client->Spent().bytes, far) << "the cluster has it";
}

TEST_F(ClientTest, ARangeIsAnObjectThatIsLoadedWithoutTheRest) {
  StartCluster(2);
  Connect(true);
  ObjectList list = MakeFiles(3);
  ASSERT_TRUE(client->Resolve(&list).ok());
  const std::string large(list.item(1).uri);
  Result<Object> part = client->GetRange(large, 1'000'000, 1'000);
  ASSERT_TRUE(part.ok()) << part.status().ToString();
  EXPECT_EQ(part->text(), contents[1].substr(1'000'000, 1'000));
  EXPECT_EQ(part->name(), large + "#bytes=1000000-1000999");
  EXPECT_EQ(part->source(), ObjectSource::kThroughHome);
  part = client->GetRange(large, 10'000, 1'234'567);  // larger than a chunk
  ASSERT_TRUE(part.ok()) << part.status().ToString();
  EXPECT_EQ(part->text(), contents[1].substr(10'000, 1'234'567));
  ObjectList ranges;
  for (uint64_t at = 0; at < 100'000; at += 10'000)
    ASSERT_TRUE(ranges.Add(*client->RangeName(large, at, 500)).ok());
  auto job = Plan(std::move(ranges));
  ASSERT_NE(job, nullptr);
  EXPECT_EQ(job->planned().bytes, 5'000u);
  auto reader = job->Read();
  ASSERT_TRUE(reader.ok());
  for (uint64_t at = 0; at < 100'000; at += 10'000) {
    Result<std::optional<Object>> object = (*reader)->Next();
    ASSERT_TRUE(object.ok() && object->has_value());
    EXPECT_EQ((*object)->text(), contents[1].substr(at, 500));
  }
}

TEST_F(ClientTest, WhatIsHereAnswersItsRanges) {
  StartCluster(1);
  Connect(true);
  ObjectList list = MakeFiles(9);
  std::vector<std::string> names;
  for (size_t i = 0; i < list.size(); ++i) names.emplace_back(list.item(i).uri);
  auto job = Plan(std::move(list));
  ASSERT_NE(job, nullptr);
  ASSERT_TRUE(job->WaitForLoads(10s));
  const FarSpending before = client->Spent();
  for (const size_t i : {size_t{1}, size_t{2}, size_t{8}}) {  // of a chunk, and of wholes
    const uint64_t size = contents[i].size();
    Result<Object> part = client->GetRange(names[i], size / 3, std::min<uint64_t>(100, size / 3));
    ASSERT_TRUE(part.ok()) << part.status().ToString();
    EXPECT_EQ(part->text(), contents[i].substr(size / 3, std::min<uint64_t>(100, size / 3)));
    EXPECT_EQ(part->source(), ObjectSource::kLocal) << i;
  }
  EXPECT_EQ(client->Spent().gets, before.gets);
}

TEST_F(ClientTest, RangesThatCannotBeAreSaid) {
  StartCluster(1);
  Connect(true);
  ObjectList list = MakeFiles(3);
  ASSERT_TRUE(client->Resolve(&list).ok());
  const std::string name(list.item(2).uri);
  const uint64_t size = contents[2].size();
  for (const auto& [offset, length] : std::vector<std::pair<uint64_t, uint64_t>>{
           {0, 0}, {0, size + 1}, {size, 1}, {UINT64_MAX, 1}, {1, UINT64_MAX}, {size - 1, 2}}) {
    const Result<Object> part = client->GetRange(name, offset, length);
    ASSERT_FALSE(part.ok()) << offset << " " << length;
    EXPECT_EQ(part.status().code(), Code::kInvalid) << part.status().ToString();
    EXPECT_NE(part.status().message().find(name), std::string::npos) << part.status().message();
  }
  EXPECT_FALSE(client->GetRange(list.item(0).uri, 0, 1).ok()) << "of an empty one";
  EXPECT_FALSE(client->RangeName(name + "#bytes=0-1", 0, 1).ok()) << "of a range";
  EXPECT_EQ(client->GetRange("/no/such/file", 0, 1).status().code(), Code::kNotFound);
  ObjectList wrong;
  ASSERT_TRUE(wrong.Add(name + "#bytes=0-9", 11, "e#100").ok());
  EXPECT_EQ(client->Plan(std::move(wrong)).status().code(), Code::kInvalid);
}

}  // namespace
}  // namespace holdfast
