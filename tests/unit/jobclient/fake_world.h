// SPDX-License-Identifier: Apache-2.0
// A world for the job's core in one process: a clock that jumps to the next event, nodes that
// follow a simple script and speak through the real codec, and a far store of one formula.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/bitmap.h"
#include "base/env.h"
#include "base/hash.h"
#include "holdfast/object_list.h"
#include "jobclient/job.h"
#include "planner/manifest.h"
#include "wire/codec.h"

namespace holdfast::jobclient {

class FakeClock : public Clock {
 public:
  Time Now() const override { return now_; }
  WallTime Wall() const override { return {0}; }
  void At(Time when, std::function<void()> run) override {
    events_.emplace(std::pair(std::max(when, now_), next_++), std::move(run));
  }
  // Runs until `stop` or until the clock would pass `limit`; true when `stop` did it.
  bool RunUntil(const std::function<bool()>& stop, Duration limit = 100s) {
    const Time end = now_ + limit;
    while (!stop()) {
      if (events_.empty() || events_.begin()->first.first > end) return false;
      auto event = events_.extract(events_.begin());
      now_ = event.key().first;
      event.mapped()();
    }
    return true;
  }
  // A job's process is gone, and with it what it waited for.
  void DropAll() { events_.clear(); }
  void RunFor(Duration time) {
    const Time end = now_ + time;
    RunUntil([] { return false; }, time);
    now_ = end;
  }

 private:
  Time now_{1'000'000};
  uint64_t next_ = 0;
  std::map<std::pair<Time, uint64_t>, std::function<void()>> events_;
};

class FakeLog : public Log {
 public:
  void Write(LogLevel, std::string_view line) override { lines.emplace_back(line); }
  std::vector<std::string> lines;
};

// The only right bytes of an object.
inline std::string BytesOf(std::string_view uri, uint64_t size) {
  std::string bytes(size, '\0');
  Random random(Hash64(AsBytes(uri)));
  for (char& c : bytes) c = static_cast<char>(random.Next());
  return bytes;
}

inline std::string EtagOf(std::string_view uri) {
  return "e" + std::to_string(Hash64(AsBytes(uri)) % 10'000);
}

// A node by script. It keeps what it holds, bids as the protocol says, and does what the switches
// tell.
struct FakeNode {
  NodeId id = 0;
  Incarnation incarnation = 0;
  uint64_t tenancy = 0;  // of every job
  uint64_t capacity = 1 << 30;
  uint64_t free = 1 << 30;
  uint64_t boast = 0;  // free bytes that its hello adds
  uint64_t max_object = 1 << 20;
  std::set<Oid> holds;
  std::set<Oid> below;  // on its disk: the first one who asks has it in memory

  // Faults.
  bool dead = false;              // answers nothing at all
  bool silent_calls = false;      // answers hello and heartbeats, never bids
  bool deaf_to_confirms = false;  // bids, never acknowledges
  uint32_t lose_acks = 0;         // this many
  uint32_t lose_bids = 0;         // this many messages
  std::set<Oid> refuses;          // in acknowledgements
  bool forgets_job = false;       // progress says that it does not know the job
  bool refuses_calls = false;     // a Bids that says why
  Code bulk_fails = Code::kOk;    // of every bulk item
  bool wrong_version = false;
  Status hello_error;
  std::vector<wire::Loss> losses;  // to be told with the next progress
  uint64_t first_loss = 0;         // how many were told before

  // What it saw.
  std::map<ManifestDigest, planner::Manifest> manifests;
  std::map<uint32_t, wire::Call> calls;
  uint64_t manifests_received = 0;
  uint64_t calls_received = 0;
  uint64_t confirms_received = 0;
  uint64_t heartbeats = 0;
  bool ended = false;
  std::map<std::pair<uint32_t, uint32_t>, wire::Confirm> confirms;  // by call and first
  std::map<uint32_t, uint32_t> need_by;                             // of promised loads, by index
  std::set<uint32_t> promised;                                      // indices
  uint64_t bulk_items = 0;
  std::map<BulkMode, uint64_t> bulk_by_mode;
  uint32_t bulk_batches = 0;
};

class FakeWorld : public Network, public FarStore {
 public:
  static constexpr Duration kDelay = 1ms;

  FakeNode& AddNode(NodeId id) {
    FakeNode& node = *nodes.emplace(id, std::make_unique<FakeNode>()).first->second;
    node.id = id;
    node.incarnation = node.tenancy = 1000 + id;
    return node;
  }
  void AddNodes(NodeId count) {  // 0, 1, ...
    for (NodeId id = 0; id < count; ++id) AddNode(id);
  }
  FakeNode& node(NodeId id) { return *nodes.at(id); }
  Env env() {
    return {.clock = &clock, .network = this, .far = this, .random = &random, .log = &log};
  }
  JobOptions options() const {
    JobOptions o;
    for (const auto& [id, node] : nodes) o.members.push_back({id, "fake:" + std::to_string(id)});
    return o;
  }
  // Names "file:///o/N" of sizes below `max_bytes`.
  static ObjectList List(uint32_t objects, uint64_t max_bytes = 100) {
    ObjectList list;
    for (uint32_t i = 0; i < objects; ++i) {
      std::string uri = "file:///o/" + std::to_string(i);
      HF_CHECK(list.Add(uri, Hash64(AsBytes(uri)) % max_bytes, EtagOf(uri)).ok());
    }
    return list;
  }

  // Network.
  PeerId Connect(const std::string& endpoint) override {
    peers_[++next_peer_] = static_cast<NodeId>(std::stoi(endpoint.substr(5)));
    return next_peer_;
  }
  void Disconnect(PeerId peer) override { peers_.erase(peer); }
  void Send(const std::vector<PeerId>& to, Frames frames) override;
  void OnMessage(std::function<void(PeerId, Frames)> handler) override {
    handler_ = std::move(handler);
  }
  void BulkRead(const std::string& endpoint, BulkMode mode, std::vector<BulkItem> items,
                Time deadline, std::function<void(size_t, BulkOutcome)> each) override;
  // A message to the job as if this node had sent it.
  void Deliver(NodeId from, wire::Message message, Duration delay = kDelay);
  void DeliverGarbage(NodeId from);

  // FarStore.
  void Get(FarGet get, std::function<void(Status, FarInfo, uint64_t)> done) override;
  void Head(const std::string&, Time, std::function<void(Result<FarInfo>)>) override {
    HF_CHECK(false);
  }
  void List(const std::string&, const std::string&, bool, Time,
            std::function<void(Result<FarPage>)>) override {
    HF_CHECK(false);
  }
  FarCounters Counters() const override { return far_counters; }

  FakeClock clock;
  FakeLog log;
  Random random{42};
  std::map<NodeId, std::unique_ptr<FakeNode>> nodes;
  FarCounters far_counters;
  std::map<std::string, Code> far_fails;
  uint64_t bytes_in_flight = 0;  // of buffers that wait for a bulk or far read
  uint64_t most_bytes_in_flight = 0;

 private:
  void Handle(FakeNode& node, wire::Message message);
  void Bid(FakeNode& node, const wire::Call& call);
  void Acknowledge(FakeNode& node, wire::Confirm confirm);
  BulkOutcome Serve(FakeNode& node, BulkMode mode, const BulkItem& item);
  void InFlight(int64_t bytes) {
    bytes_in_flight += static_cast<uint64_t>(bytes);
    most_bytes_in_flight = std::max(most_bytes_in_flight, bytes_in_flight);
  }

  PeerId next_peer_ = 0;
  std::map<PeerId, NodeId> peers_;
  std::map<Oid, std::string> names_;  // as far as a confirm or a fetch told them
  std::function<void(PeerId, Frames)> handler_;

 public:
  void KnowNames(const ObjectList& list) {
    for (size_t i = 0; i < list.size(); ++i)
      names_[Hash128(AsBytes(list.item(i).uri))] = list.item(i).uri;
  }
};

// Plans and runs the clock until the report is there.
inline Result<PlanReport> PlanNow(FakeWorld& world, Job& job, const ObjectList& list) {
  std::optional<Result<PlanReport>> report;
  job.Plan(&list, [&](Result<PlanReport> r) { report = std::move(r); });
  HF_CHECK(!report.has_value());
  HF_CHECK(world.clock.RunUntil([&] { return report.has_value(); }));
  return *report;
}

// The nodes' books and the job's must say the same: every object at one node at most, and that one
// has promised it.
inline void ExpectBooksAgree(FakeWorld& world, const Job& job) {
  for (uint32_t i = 0; i < job.manifest().size(); ++i) {
    NodeId node = job.NodeOf(i);
    if (node == kNoNode) continue;
    EXPECT_TRUE(world.node(node).promised.contains(i)) << "object " << i << " at node " << node;
  }
}

}  // namespace holdfast::jobclient
