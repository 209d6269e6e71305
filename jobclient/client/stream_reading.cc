// SPDX-License-Identifier: Apache-2.0
#include "jobclient/client/stream_reading.h"

#include <algorithm>
#include <utility>

#include "base/uri.h"

namespace holdfast::client {
namespace {

constexpr Duration kTickEvery = 10ms;
constexpr Duration kTryAgain = 250ms;
constexpr Duration kDown = 10s;  // a node that has used up a reader's patience
constexpr uint32_t kMostCorrupt = 3;

}  // namespace

StreamReading::StreamReading(const Env& env, ClusterView* cluster, StreamReadingOptions options,
                             Deliver deliver)
    : env_(env),
      cluster_(cluster),
      options_(std::move(options)),
      deliver_(std::move(deliver)),
      sources_(env, cluster, options_.name, [this] { OnSources(); }) {}

template <typename Run>
auto StreamReading::WhileAlive(Run run) {
  return [alive = alive_, run = std::move(run)](auto&&... args) {
    if (*alive) run(std::forward<decltype(args)>(args)...);
  };
}

// --- 1. Ask --------------------------------------------------------------------------------------

void StreamReading::Open(std::function<void(Result<wire::StreamTerms>)> opened) {
  opened_ = std::move(opened);
  cluster_->WhenGreeted(WhileAlive([this] { Tick(); }));
}

void StreamReading::Tick() {
  if (over_) return;
  sources_.Tick();
  MayEnd();
  if (over_) return;
  env_.clock->At(env_.clock->Now() + kTickEvery, WhileAlive([this] { Tick(); }));
}

void StreamReading::OnSources() {
  if (over_) return;
  if (opened_ && sources_.known()) {
    stream_ = sources_.terms().stream;
    std::exchange(opened_, nullptr)(sources_.terms());
  }
  Advance();
  MayEnd();
}

// --- 2. Fetch ------------------------------------------------------------------------------------

void StreamReading::Advance() {
  while (!over_ && next_fetch_ < sources_.total() && chunks_ahead_ < options_.look_ahead_chunks) {
    const wire::StreamEntry& entry = sources_.at(next_fetch_);
    if (chunks_ahead_ > 0 && bytes_ahead_ + entry.bytes > options_.look_ahead_bytes) return;
    ++chunks_ahead_;
    bytes_ahead_ += entry.bytes;
    const uint64_t number = next_fetch_++;
    ahead_[number] = {.entry = entry, .begun = env_.clock->Now()};
    sources_.Forget(next_fetch_);
    Begin(number);
  }
}

void StreamReading::Begin(uint64_t number) {
  const wire::StreamEntry& entry = ahead_.at(number).entry;
  const bool here = entry.nodes[0] == options_.own || entry.nodes[1] == options_.own;
  if (here && options_.own != kNoNode && options_.view) {
    const Oid oid = OidOf(wire::ChunkName(stream_, entry.writer, entry.number));
    LocalView view = options_.view(oid, entry.hash);
    if (view) {
      return Done(number, {.kind = StreamDelivery::Kind::kChunk,
                           .entry = entry,
                           .view = std::move(view),
                           .bytes = {},
                           .status = {}});
    }
  }
  Fetch(number);
}

void StreamReading::Fetch(uint64_t number) {
  auto it = ahead_.find(number);
  if (over_ || it == ahead_.end() || it->second.done) return;
  Ahead& ahead = it->second;
  const Time now = env_.clock->Now();
  // The own node's copy first.
  const size_t first = ahead.entry.nodes[1] != kNoNode && ahead.entry.nodes[1] == options_.own;
  bool hope = false;
  for (size_t k = 0; k < 2; ++k) {
    const size_t copy = k ^ first;
    const NodeId node = ahead.entry.nodes[copy];
    if (node == kNoNode || !ahead.tried[copy].ok()) continue;
    if (const std::string* endpoint = cluster_->BulkEndpoint(node)) {
      return FetchFrom(number, copy, *endpoint);
    }
    const bool down = down_until_[node] > now;
    if (down || now - ahead.begun > options_.patience) {
      down_until_[node] = std::max(down_until_[node], now + kDown);
      ahead.tried[copy] = Status::Unavailable("node " + std::to_string(node) + " does not answer");
    } else {
      hope = true;
    }
  }
  if (hope) return TryAgain(number);
  const Status& one = ahead.tried[0];
  const Status& other = ahead.tried[1];
  Lost(number, other.ok() || one.code() == Code::kUnavailable ? one : other);
}

void StreamReading::FetchFrom(uint64_t number, size_t copy, const std::string& endpoint) {
  const wire::StreamEntry& entry = ahead_.at(number).entry;
  // The bytes live as long as somebody may write them.
  auto bytes = std::make_shared<Buffer>(TakeBuffer(entry.bytes));
  std::vector<BulkItem> items;
  items.push_back({.oid = OidOf(wire::ChunkName(stream_, entry.writer, entry.number)),
                   .version = entry.hash,
                   .size = entry.bytes,
                   .name = {},
                   .etag = {},
                   .into = bytes->span().first(entry.bytes)});
  env_.network->BulkRead(
      endpoint, BulkMode::kWait, std::move(items), env_.clock->Now() + options_.patience,
      WhileAlive([this, number, copy, bytes](size_t, const BulkOutcome& outcome) {
        OnRead(number, copy, outcome, std::move(*bytes));
      }));
}

Buffer StreamReading::TakeBuffer(uint64_t bytes) {
  constexpr uint64_t kStep = 64 * kKiB;
  if (spare_.empty() || spare_.back().size() < bytes) {
    return Buffer((bytes + kStep - 1) / kStep * kStep);
  }
  Buffer buffer = std::move(spare_.back());
  spare_.pop_back();
  return buffer;
}

void StreamReading::OnRead(uint64_t number, size_t copy, const BulkOutcome& outcome, Buffer bytes) {
  auto it = ahead_.find(number);
  if (over_ || it == ahead_.end() || it->second.done) return;
  Ahead& ahead = it->second;
  const NodeId node = ahead.entry.nodes[copy];
  const uint64_t hash = outcome.hash == 0 ? 1 : outcome.hash;
  if (outcome.status.ok() && outcome.size == ahead.entry.bytes && hash == ahead.entry.hash) {
    return Done(number, {.kind = StreamDelivery::Kind::kChunk,
                         .entry = ahead.entry,
                         .view = {},
                         .bytes = std::move(bytes),
                         .verified = true,
                         .status = {}});
  }
  spare_.push_back(std::move(bytes));
  const Code code = outcome.status.ok() ? Code::kCorrupt : outcome.status.code();
  if (code == Code::kNotFound || (code == Code::kCorrupt && ++ahead.corrupt >= kMostCorrupt)) {
    ahead.tried[copy] =
        Status(code, "node " + std::to_string(node) + ": " + outcome.status.message());
    return Fetch(number);
  }
  if (!outcome.answered && code != Code::kCorrupt) cluster_->Failed(node);
  const bool out_of_patience = env_.clock->Now() - ahead.begun > options_.patience;
  if (out_of_patience && code != Code::kCorrupt) {
    ahead.tried[copy] =
        Status::Unavailable("node " + std::to_string(node) + ": " + outcome.status.message());
  }
  TryAgain(number);
}

void StreamReading::TryAgain(uint64_t number) {
  cluster_->WhenGreeted([] {});
  env_.clock->At(env_.clock->Now() + kTryAgain, WhileAlive([this, number] { Fetch(number); }));
}

void StreamReading::Lost(uint64_t number, const Status& why) {
  Done(number, {.kind = StreamDelivery::Kind::kLost,
                .entry = ahead_.at(number).entry,
                .view = {},
                .bytes = {},
                .status = why});
}

// --- 3. Deliver ----------------------------------------------------------------------------------

void StreamReading::Done(uint64_t number, StreamDelivery delivery) {
  Ahead& ahead = ahead_.at(number);
  ahead.done = true;
  ahead.delivery = std::move(delivery);
  DeliverReady();
  MayEnd();
}

void StreamReading::DeliverReady() {
  for (auto it = ahead_.begin(); it != ahead_.end() && it->second.done; it = ahead_.begin()) {
    StreamDelivery delivery = std::move(it->second.delivery);
    ahead_.erase(it);
    ++next_delivery_;
    deliver_(std::move(delivery));
  }
}

void StreamReading::Used(uint64_t bytes, Buffer memory) {
  if (!memory.empty() && spare_.size() < options_.look_ahead_chunks) {
    spare_.push_back(std::move(memory));
  }
  bytes_ahead_ -= std::min(bytes, bytes_ahead_);
  if (chunks_ahead_ > 0) --chunks_ahead_;
  Advance();
}

// --- 4. End --------------------------------------------------------------------------------------

void StreamReading::MayEnd() {
  if (over_) return;
  const Status status = sources_.status();
  const bool all_delivered = ahead_.empty() && next_delivery_ == sources_.total();
  const bool failed =
      !status.ok() && (status.code() == Code::kNotFound || opened_ || all_delivered);
  const bool ended = all_delivered && sources_.complete();
  if (!failed && !ended) return;
  over_ = true;
  ahead_.clear();
  if (opened_) return std::exchange(opened_, nullptr)(status);
  if (failed) {
    return deliver_({.kind = StreamDelivery::Kind::kFailed,
                     .entry = {},
                     .view = {},
                     .bytes = {},
                     .status = status});
  }
  for (const wire::StreamWriterState& writer : sources_.Gone()) {
    deliver_({.kind = StreamDelivery::Kind::kGone,
              .entry = {.writer = writer.writer, .first_record = writer.records},
              .view = {},
              .bytes = {},
              .status = Status::Unavailable("a writer of " + options_.name +
                                            " ended without saying so, after record " +
                                            FormatCount(writer.records) + " of its own")});
  }
  deliver_(
      {.kind = StreamDelivery::Kind::kEnd, .entry = {}, .view = {}, .bytes = {}, .status = {}});
}

}  // namespace holdfast::client
