// SPDX-License-Identifier: Apache-2.0
// A node's world for unit tests: a real tier over heap memory, a clock that runs by hand, a network
// that remembers.
#pragma once

#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "base/uri.h"
#include "cached/context.h"
#include "planner/manifest.h"
#include "wire/codec.h"

namespace holdfast::cached {

class HandClock : public Clock {
 public:
  Time Now() const override { return now_; }
  WallTime Wall() const override { return {now_.us / 1'000'000}; }
  void At(Time when, std::function<void()> run) override {
    timers_.emplace_back(std::max(when, now_), std::move(run));
  }
  // Runs everything that is due by then, in order of time, then of asking.
  void RunUntil(Time end) {
    for (;;) {
      size_t next = timers_.size();
      for (size_t i = 0; i < timers_.size(); ++i) {
        if (timers_[i].first <= end &&
            (next == timers_.size() || timers_[i].first < timers_[next].first))
          next = i;
      }
      if (next == timers_.size()) break;
      auto [when, run] = std::move(timers_[next]);
      timers_.erase(timers_.begin() + static_cast<ptrdiff_t>(next));
      now_ = std::max(now_, when);
      run();
    }
    now_ = end;
  }
  void RunFor(Duration duration) { RunUntil(now_ + duration); }

 private:
  Time now_{1'000'000};
  std::vector<std::pair<Time, std::function<void()>>> timers_;
};

class RecordingNetwork : public Network {
 public:
  struct Sent {
    PeerId to;
    wire::Message message;
  };
  explicit RecordingNetwork(Clock* clock) : clock_(clock) {}
  PeerId Connect(const std::string&) override { return next_peer_++; }
  void Disconnect(PeerId) override {}
  void Send(const std::vector<PeerId>& peers, Frames frames) override {
    for (PeerId peer : peers) {
      Frames copy{Buffer::CopyOf(frames.head.view()), {}};
      for (const Buffer& column : frames.columns)
        copy.columns.push_back(Buffer::CopyOf(column.view()));
      Result<wire::Message> message = wire::Decode(std::move(copy));
      HF_CHECK(message.ok());
      sent.push_back({peer, *std::move(message)});
    }
  }
  void OnMessage(std::function<void(PeerId, Frames)> handler) override {
    handler_ = std::move(handler);
  }
  // Peers give whatever is wanted (bytes of value 7) when `peers_give`, else nothing.
  void BulkRead(const std::string& endpoint, BulkMode, std::vector<BulkItem> items, Time,
                std::function<void(size_t, BulkOutcome)> each) override {
    for (size_t i = 0; i < items.size(); ++i) {
      BulkOutcome outcome{Status::Unavailable("no peer"), 0, 0, 0};
      if (peers_give) {
        ByteSpan bytes = items[i].into.first(items[i].size);
        std::memset(bytes.data(), 7, bytes.size());
        outcome = {Status(), items[i].version, items[i].size, Hash64(bytes), peers_expire_s};
      }
      peer_reads.push_back({endpoint, items[i].oid});
      clock_->At(clock_->Now() + peers_take, [each, i, outcome] { each(i, outcome); });
    }
  }
  void Deliver(PeerId from, wire::Message message) {
    handler_(from, wire::Encode(std::move(message)));
  }
  // The last message of a kind, nullptr if there was none.
  template <typename T>
  const T* Last() const {
    for (auto it = sent.rbegin(); it != sent.rend(); ++it) {
      if (const T* found = std::get_if<T>(&it->message)) return found;
    }
    return nullptr;
  }
  template <typename T>
  size_t CountOf() const {
    size_t n = 0;
    for (const Sent& s : sent) n += std::holds_alternative<T>(s.message);
    return n;
  }

  std::vector<Sent> sent;
  std::vector<std::pair<std::string, Oid>> peer_reads;
  bool peers_give = false;
  Duration peers_take{0};
  uint32_t peers_expire_s = 0;  // what they give

 private:
  Clock* clock_;
  PeerId next_peer_ = 100;
  std::function<void(PeerId, Frames)> handler_;
};

// Objects "file:///o/N" of `SizeOf(N)` bytes, all of value 7; `failing` ones cannot be had.
class CountingFarStore : public FarStore {
 public:
  explicit CountingFarStore(Clock* clock) : clock_(clock) {}
  void Get(FarGet get, std::function<void(Status, FarInfo, uint64_t)> done) override {
    ++counters_.gets;
    uris.push_back(get.uri);
    bool fails = broken || get.uri == failing;
    Status status = fails ? Status::NotFound(get.uri + " does not exist") : Status();
    uint64_t begin = get.whole ? get.offset : 0;
    uint64_t end = get.whole ? get.length : std::min(get.length, found.size);
    std::memset(get.into.data() + begin, 7, end - begin);
    uint64_t hash = Hash64(get.into.first(end));
    FarInfo info = get.whole ? FarInfo{get.length, get.etag} : found;
    info.expires_s = expires_s;
    if (requests) info.requests = requests(get.uri);
    most_in_flight = std::max(most_in_flight, in_flight += end - begin);
    clock_->At(clock_->Now() + latency,
               [this, done = std::move(done), status, info, hash, bytes = end - begin] {
                 in_flight -= bytes;
                 done(status, info, hash);
               });
    asked.push_back(std::move(get));
  }
  void Head(const std::string&, Time, std::function<void(Result<FarInfo>)> done) override {
    ++heads;
    clock_->At(clock_->Now() + latency, [this, done = std::move(done)] { done(found); });
  }
  void List(const std::string&, const std::string&, bool, Time,
            std::function<void(Result<FarPage>)> done) override {
    done(Status::NotFound("not here"));
  }
  FarCounters Counters() const override { return counters_; }
  bool HasPlaces() const override { return place != nullptr; }
  std::optional<FarPlace> PlaceOf(const Oid& oid) const override {
    return place ? place(oid) : std::nullopt;
  }

  std::function<std::optional<FarPlace>(const Oid&)> place;  // unset: objects have none
  std::function<uint32_t(const std::string& uri)> requests;  // that a Get takes; unset: one
  Duration latency = 10ms;
  std::string failing;
  bool broken = false;     // every object fails
  uint32_t expires_s = 0;  // of all that it gives
  uint64_t heads = 0;
  FarInfo found{1000, "e"};  // what an object is of which nothing was known
  std::vector<std::string> uris;
  std::vector<FarGet> asked;
  uint64_t in_flight = 0, most_in_flight = 0;  // bytes

 private:
  Clock* clock_;
  FarCounters counters_;
};

class QuietLog : public Log {
 public:
  void Write(LogLevel level, std::string_view line) override {
    if (level == LogLevel::kWarn) last_warning = line;
  }
  std::string last_warning;
};

inline std::string NameOfObject(uint32_t n) { return "file:///o/" + std::to_string(n); }
inline std::string EtagOfObject(uint32_t n) { return "etag" + std::to_string(n); }
inline ObjectKey KeyOfObject(uint32_t n, uint64_t size) {
  return {OidOf(NameOfObject(n)), HashVersion(EtagOfObject(n), size)};
}

// One node's parts without the node.
struct World {
  explicit World(uint64_t memory_bytes = 8 * kMiB, NodeOptions options = {},
                 uint64_t index_objects = 0)
      : network(&clock), far(&clock), random(1) {
    store::MemoryTierOptions tier_options;
    tier_options.memory_bytes = memory_bytes;
    tier_options.index_objects = index_objects;
    tier_options.incarnation = 1;
    tier_options.wall = [this] { return clock.Wall(); };
    plan = *store::PlanRegion(tier_options);
    region = Buffer(plan.region_bytes);
    std::memset(region.data(), 0, region.size());
    sessions = std::make_unique<store::Sessions>(plan.segments);
    tier = std::make_unique<store::MemoryTier>(region.span(), plan, tier_options, sessions.get());
    options.incarnation = 1;
    if (options.members.empty()) options.members = {{0, "tcp://127.0.0.1:1"}};
    env = {&clock, &network, &far, &random, &log};
    context = std::make_unique<Context>(Context{env, tier.get(), nullptr, options});
  }

  // Puts object `n` into the tier.
  void Put(uint32_t n, uint64_t size) {
    std::string name = NameOfObject(n), etag = EtagOfObject(n);
    ObjectKey key = KeyOfObject(n, size);
    auto slot = tier->Allocate({key.oid, key.version, size, name, etag}, clock.Now(), std::nullopt);
    HF_CHECK(slot.ok());
    std::memset(slot->payload.data(), 7, size);
    tier->Commit(slot->id, Hash64(slot->payload.first(size)), 0);
  }

  HandClock clock;
  RecordingNetwork network;
  CountingFarStore far;
  Random random;
  QuietLog log;
  shm::RegionPlan plan;
  Buffer region;
  std::unique_ptr<store::Sessions> sessions;
  std::unique_ptr<store::MemoryTier> tier;
  Env env{};
  std::unique_ptr<Context> context;
};

inline planner::Manifest ManifestOf(uint32_t first, uint32_t count, uint64_t size) {
  std::vector<planner::ManifestEntry> entries;
  for (uint32_t n = first; n < first + count; ++n) {
    ObjectKey key = KeyOfObject(n, size);
    entries.push_back({key.oid, size, key.version});
  }
  return *planner::Manifest::Build(std::move(entries));
}

}  // namespace holdfast::cached
