// SPDX-License-Identifier: Apache-2.0
#include "jobclient/client/stream_listing.h"

#include <algorithm>
#include <utility>

namespace holdfast::client {

StreamListing::StreamListing(const Env& env, ClusterView* cluster, std::function<void()> listed,
                             std::function<void(const Status&)> failed)
    : env_(env), cluster_(cluster), on_listed_(std::move(listed)), on_failed_(std::move(failed)) {}

void StreamListing::Start(const Options& options, const std::vector<NodeId>& nodes) {
  options_ = options;
  for (NodeId node : nodes) {
    catalogues_.push_back({.node = node, .heard = env_.clock->Now(), .asked = env_.clock->Now()});
  }
}

void StreamListing::Add(const wire::StreamEntry& entry) {
  HF_CHECK(entry.number == listed_ + entries_.size());
  entries_.push_back(wire::Sealed(entry));
  Pump();
}

void StreamListing::End() {
  ending_ = true;
  Pump();
}

void StreamListing::Abandon() {
  over_ = true;
  for (const Catalogue& c : catalogues_) {
    if (c.node == kNoNode) continue;
    cluster_->Ask(
        c.node,
        [this, &c](uint64_t id) -> wire::Message {
          return wire::StreamAppend{.id = id,
                                    .stream = options_.stream,
                                    .writer = options_.writer,
                                    .first = c.next,
                                    .lease = {},
                                    .entries = {}};
        },
        env_.clock->Now() + kAnswerTime, [](const Result<wire::Message>&) {});
  }
}

bool StreamListing::ended() const {
  return ending_ && std::all_of(catalogues_.begin(), catalogues_.end(),
                                [](const Catalogue& c) { return c.node == kNoNode || c.ended; });
}

// --- To the catalogues ---------------------------------------------------------------------------

void StreamListing::Tick() {
  if (over_) return;
  const Time now = env_.clock->Now();
  Time last_heard{};
  for (const Catalogue& c : catalogues_) {
    if (c.node != kNoNode) last_heard = std::max(last_heard, c.heard);
  }
  if (now - last_heard > options_.patience) {
    return Fail(
        Status::Unavailable("no node that keeps the catalogue of the stream has answered "
                            "for " +
                            FormatDuration(options_.patience)));
  }
  for (size_t i = 0; i < catalogues_.size(); ++i) {
    const Catalogue& c = catalogues_[i];
    const bool silent = c.node != kNoNode && now - c.heard > kLeaveBehind;
    if (silent && now - last_heard < kLeaveBehind / 2) {
      LeaveBehind(i, Status::Timeout("it does not answer"));
    }
  }
  Pump();
}

void StreamListing::Pump() {
  const Time now = env_.clock->Now();
  const auto all = static_cast<uint32_t>(listed_ + entries_.size());
  for (size_t i = 0; i < catalogues_.size(); ++i) {
    const Catalogue& c = catalogues_[i];
    if (c.node == kNoNode || c.asking || over_) continue;
    const bool lease = now - c.asked >= options_.lease / 5;
    if (c.next < all || (ending_ && !c.ended) || lease) Send(i);
  }
}

void StreamListing::Send(size_t number) {
  Catalogue& c = catalogues_[number];
  c.asking = true;
  c.asked = env_.clock->Now();
  const size_t first = c.next - listed_;
  const size_t count = std::min<size_t>(entries_.size() - first, kEntriesAMessage);
  const std::vector<wire::StreamEntry> entries(
      entries_.begin() + static_cast<ptrdiff_t>(first),
      entries_.begin() + static_cast<ptrdiff_t>(first + count));
  wire::StreamAppend append{.stream = options_.stream,
                            .writer = options_.writer,
                            .first = c.next,
                            .ended = ending_ && first + count == entries_.size(),
                            .lease = options_.lease,
                            .entries = wire::RowsOf(std::span(entries))};
  cluster_->Ask(
      c.node,
      [&append](uint64_t id) -> wire::Message {
        append.id = id;
        return std::move(append);
      },
      c.asked + kAnswerTime,
      [this, number, alive = alive_](Result<wire::Message> answer) {
        if (*alive) OnAnswer(number, std::move(answer));
      });
}

void StreamListing::OnAnswer(size_t number, Result<wire::Message> answer) {
  Catalogue& c = catalogues_[number];
  c.asking = false;
  if (over_ || c.node == kNoNode) return;
  const auto* appended = answer.ok() ? std::get_if<wire::StreamAppended>(&*answer) : nullptr;
  if (appended == nullptr) return Tick();  // silence
  c.heard = env_.clock->Now();
  if (appended->status.code() == Code::kNotFound) return LeaveBehind(number, appended->status);
  if (!appended->status.ok()) return Fail(appended->status);
  const auto all = static_cast<uint32_t>(listed_ + entries_.size());
  c.next = std::clamp(appended->next, c.next, all);
  c.ended = c.ended || appended->ended;
  Settle();
  if (!over_) Pump();
}

// --- What is listed ------------------------------------------------------------------------------

void StreamListing::LeaveBehind(size_t number, const Status& why) {
  Catalogue& c = catalogues_[number];
  env_.log->Warn("node " + std::to_string(c.node) +
                 " no longer keeps the catalogue of a stream: " + why.message());
  c.node = kNoNode;
  const bool any = std::any_of(catalogues_.begin(), catalogues_.end(),
                               [](const Catalogue& other) { return other.node != kNoNode; });
  if (!any) return Fail(why);
  Settle();
}

void StreamListing::Settle() {
  uint32_t everywhere = UINT32_MAX;
  for (const Catalogue& c : catalogues_) {
    if (c.node != kNoNode) everywhere = std::min(everywhere, c.next);
  }
  for (; listed_ < everywhere && !entries_.empty(); ++listed_) {
    const wire::StreamEntry& entry = entries_.front();
    const bool whole = entry.piece + 1 == entry.pieces;
    records_ = entry.first_record + (whole ? entry.records : 0);
    entries_.pop_front();
  }
  on_listed_();
}

void StreamListing::Fail(const Status& status) {
  if (std::exchange(over_, true)) return;
  on_failed_(status);
}

}  // namespace holdfast::client
