// SPDX-License-Identifier: Apache-2.0
#include "jobclient/client/stream_writing.h"

#include <algorithm>
#include <utility>

#include "jobclient/client/stream_opening.h"

namespace holdfast::client {
namespace {

constexpr Duration kTickEvery = 250ms;
constexpr Duration kAnswerTime = 1s;
constexpr Duration kPendingPause = 20ms;
constexpr Duration kFullPause = 20ms;
constexpr uint32_t kMostSilent = 3;  // answers that a node may owe

}  // namespace

StreamWriting::StreamWriting(const Env& env, ClusterView* cluster, StreamWritingOptions options,
                             Events events)
    : env_(env),
      cluster_(cluster),
      options_(std::move(options)),
      events_(std::move(events)),
      placing_(options_.own, options_.terms.memory_bytes, options_.terms.disk_bytes),
      listing_(
          env, cluster, [this] { OnListed(); }, [this](const Status& status) { Fail(status); }) {}

template <typename Run>
auto StreamWriting::WhileAlive(Run run) {
  return [alive = alive_, run = std::move(run)](auto&&... args) {
    if (*alive) run(std::forward<decltype(args)>(args)...);
  };
}

// --- 1. Open -------------------------------------------------------------------------------------

void StreamWriting::Open(std::function<void(Result<wire::StreamTerms>)> done) {
  StreamOpening::Start(
      env_, cluster_,
      {.name = options_.name,
       .terms = options_.terms,
       .create = options_.create,
       .writer = options_.writer,
       .lease = options_.lease},
      WhileAlive([this, done = std::move(done)](Result<StreamOpening::Opened> opened) {
        if (!opened.ok()) return done(opened.status());
        options_.terms = opened->terms;
        expires_ = env_.clock->Now() + opened->terms.expires_in;
        placing_ =
            StreamPlacing(options_.own, opened->terms.memory_bytes, opened->terms.disk_bytes);
        listing_.Start({.stream = opened->terms.stream,
                        .writer = options_.writer,
                        .lease = options_.lease,
                        .patience = options_.patience},
                       opened->catalogues);
        Tick();
        done(opened->terms);
      }));
}

void StreamWriting::Tick() {
  if (over_) return;
  listing_.Tick();
  env_.clock->At(env_.clock->Now() + kTickEvery, WhileAlive([this] { Tick(); }));
}

// --- 2. Place ------------------------------------------------------------------------------------

void StreamWriting::Put(Chunk chunk) {
  const uint32_t number = chunk.entry.number;
  chunks_[number] = {.chunk = chunk, .begun = env_.clock->Now()};
  // In their order: what is acknowledged is a beginning.
  if (over_ || !waiting_.empty() || !Place(number)) WaitForRoom(number);
}

// False when it has to wait.
bool StreamWriting::Place(uint32_t number) {
  Placing& placing = chunks_.at(number);
  const wire::StreamEntry& entry = placing.chunk.entry;
  const std::vector<NodeId> here = cluster_->Here();
  const std::optional<StreamTarget> target =
      placing_.Next(here, entry.nodes[0], entry.bytes, env_.clock->Now());
  if (!target) return false;
  placing.target = *target;
  placing.silent = 0;
  placing_.Sent(*target, entry.bytes);
  Keep(number);
  return true;
}

void StreamWriting::WaitForRoom(uint32_t number) {
  waiting_.insert(number);
  if (waiting_.size() > 1) return;
  env_.clock->At(env_.clock->Now() + kFullPause, WhileAlive([this] { PlaceWaiting(); }));
}

void StreamWriting::PlaceWaiting() {
  while (!over_ && !waiting_.empty()) {
    const uint32_t number = *waiting_.begin();
    auto it = chunks_.find(number);
    if (it != chunks_.end() && !Place(number)) {
      CheckPatience(it->second);
      cluster_->WhenGreeted([] {});  // those who were away may be back
      break;
    }
    waiting_.erase(number);
  }
  if (over_ || waiting_.empty()) return;
  env_.clock->At(env_.clock->Now() + kFullPause, WhileAlive([this] { PlaceWaiting(); }));
}

// Nobody has room for it, or nobody is there.
void StreamWriting::CheckPatience(const Placing& placing) {
  const Time now = env_.clock->Now();
  if (cluster_->Here().empty()) {
    full_since_ = now;
    if (now - placing.begun <= options_.patience) return;
    return Fail(Status::Unavailable("no node answers for " + FormatDuration(options_.patience)));
  }
  if (full_since_ == Time{}) full_since_ = now;
  if (now - full_since_ <= options_.full_patience) return;
  const bool second = placing.chunk.entry.nodes[0] != kNoNode;
  Fail(Status::NoSpace(std::string("no node has room for ") + (second ? "a second copy of " : "") +
                       "more of the stream " + options_.name + ": " + placing_.Why()));
}

// --- 3. Keep -------------------------------------------------------------------------------------

void StreamWriting::Keep(uint32_t number) {
  auto it = chunks_.find(number);
  if (over_ || it == chunks_.end()) return;
  const Placing& placing = it->second;
  const wire::StreamEntry& entry = placing.chunk.entry;
  const Time now = env_.clock->Now();
  wire::StreamKeep keep{.terms = options_.terms,
                        .writer = entry.writer,
                        .number = entry.number,
                        .bytes = entry.bytes,
                        .hash = entry.hash,
                        .on_disk = placing.target.on_disk,
                        .shelf = options_.shelf};
  keep.terms.expires_in = expires_ - now;
  cluster_->Ask(
      placing.target.node,
      [&keep](uint64_t id) -> wire::Message {
        keep.id = id;
        return std::move(keep);
      },
      now + kAnswerTime,
      WhileAlive([this, number, target = placing.target](Result<wire::Message> answer) {
        OnKept(number, target, std::move(answer));
      }));
}

void StreamWriting::OnKept(uint32_t number, const StreamTarget& target,
                           Result<wire::Message> answer) {
  auto it = chunks_.find(number);
  if (over_ || it == chunks_.end() || it->second.target != target) return;
  Placing& placing = it->second;
  const auto* kept = answer.ok() ? std::get_if<wire::StreamKept>(&*answer) : nullptr;
  if (kept == nullptr) {
    if (++placing.silent < kMostSilent) return Keep(number);
    return NotKept(number, target,
                   Status::Timeout("node " + std::to_string(target.node) + " does not answer"));
  }
  placing.silent = 0;
  if (kept->pending) {
    if (env_.clock->Now() - placing.begun > options_.patience) {
      return NotKept(number, target, Status::Timeout("it takes too long"));
    }
    env_.clock->At(env_.clock->Now() + kPendingPause, WhileAlive([this, number, target] {
                     auto waiting = chunks_.find(number);
                     if (waiting != chunks_.end() && waiting->second.target == target) Keep(number);
                   }));
    return;
  }
  placing_.SetRoom(target, kept->room_bytes);
  if (!kept->status.ok()) return NotKept(number, target, kept->status);
  HasCopy(number);
}

void StreamWriting::NotKept(uint32_t number, const StreamTarget& target, const Status& why) {
  const Time now = env_.clock->Now();
  placing_.Arrived(target, chunks_.at(number).chunk.entry.bytes);
  if (why.code() == Code::kInvalid || why.code() == Code::kNotFound) return Fail(why);
  if (why.code() == Code::kNoSpace) {
    placing_.Refused(target, why, now);
  } else {
    // It is away, or cannot read from here.
    env_.log->Warn("a stream passes node " + std::to_string(target.node) + " by: " + why.message());
    placing_.Failed(target.node, why, now);
    if (now - chunks_.at(number).begun > options_.patience) {
      return Fail(why.Annotate("no node took a part of the stream " + options_.name));
    }
  }
  if ((!waiting_.empty() && *waiting_.begin() < number) || !Place(number)) WaitForRoom(number);
}

void StreamWriting::HasCopy(uint32_t number) {
  Placing& placing = chunks_.at(number);
  wire::StreamEntry& entry = placing.chunk.entry;
  placing_.Arrived(placing.target, entry.bytes);
  full_since_ = {};
  const bool first = entry.nodes[0] == kNoNode;
  entry.nodes[first ? 0 : 1] = placing.target.node;
  if (first && options_.terms.copies > 1) {
    if (!waiting_.empty() || !Place(number)) WaitForRoom(number);
    return;
  }
  const Chunk done = placing.chunk;
  chunks_.erase(number);
  events_.released(done.place);
  placed_[number] = done.entry;
  for (auto it = placed_.begin(); it != placed_.end() && it->first == next_to_list_;
       it = placed_.erase(it)) {
    ++next_to_list_;
    listing_.Add(it->second);
    if (over_) return;
  }
  if (ending_ && chunks_.empty()) listing_.End();
}

// --- 5. Acknowledge ------------------------------------------------------------------------------

void StreamWriting::OnListed() {
  if (over_) return;
  if (listing_.listed_records() > acknowledged_) {
    acknowledged_ = listing_.listed_records();
    events_.acknowledged(acknowledged_);
  }
  if (!ending_ || !chunks_.empty() || !listing_.ended()) return;
  over_ = true;
  events_.ended();
}

// --- 6. End --------------------------------------------------------------------------------------

void StreamWriting::End() {
  ending_ = true;
  if (!over_ && chunks_.empty()) listing_.End();
}

void StreamWriting::Fail(Status status) {
  if (over_) return;
  Abandon();
  events_.failed(status);
}

void StreamWriting::Abandon() {
  if (std::exchange(over_, true)) return;
  chunks_.clear();
  waiting_.clear();
  listing_.Abandon();
}

}  // namespace holdfast::client
