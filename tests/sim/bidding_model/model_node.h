// SPDX-License-Identifier: Apache-2.0
// The nodes of the model: their calendars, promises and loads, on a timeline of their own.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <tuple>
#include <utility>
#include <vector>

#include "planner/bidding.h"
#include "planner/calendar.h"
#include "planner/placement.h"
#include "tests/sim/bidding_model/model.h"

namespace holdfast::sim {

constexpr uint32_t kChunk = 65'536;
constexpr Duration kExpiry = 1s;
constexpr Duration kFarLatency = 30ms;
constexpr uint64_t kFarBytesPerS = 500'000'000;
constexpr uint64_t kPeerBytesPerS = 2'000'000'000;
constexpr Time kHold{int64_t{4} * 3600 * 1'000'000};
constexpr Time kNever = Time::Max();

// What runs next: by time, then in the order of asking.
class Timeline {
 public:
  Time now() const { return now_; }
  void At(Time when, std::function<void()> run) {
    events_.push({std::max(when, now_), next_++, std::move(run)});
  }
  void After(Duration delay, std::function<void()> run) { At(now_ + delay, std::move(run)); }
  void Run() {
    while (!events_.empty()) {
      Event e = events_.top();
      events_.pop();
      now_ = e.when;
      e.run();
    }
  }

 private:
  struct Event {
    Time when;
    uint64_t order;
    std::function<void()> run;
    bool operator<(const Event& o) const {
      return std::tie(o.when, o.order) < std::tie(when, order);
    }
  };
  std::priority_queue<Event> events_;
  Time now_;
  uint64_t next_ = 0;
};

// What exists, by position in the universe.
struct Universe {
  planner::Manifest all;
  std::vector<uint64_t> far_requests;
  uint64_t loaded_twice = 0;
};

struct Bid {
  uint32_t first = 0;
  planner::BidOutcome outcome;
};

class ModelNode {
 public:
  ModelNode(NodeId id, uint64_t capacity, const ModelOptions& options, Universe* universe,
            Timeline* timeline, planner::Placement placement, double slowness)
      : id_(id),
        capacity_(capacity),
        universe_(universe),
        timeline_(timeline),
        placement_(std::move(placement)),
        slowness_(slowness),
        calendar_(static_cast<uint64_t>(static_cast<double>(capacity) * options.promisable)),
        present_at_(universe->all.size(), kNever),
        granted_until_(universe->all.size()),
        promised_(universe->all.size()),
        queued_(universe->all.size()) {}

  NodeId id() const { return id_; }
  uint64_t capacity() const { return capacity_; }
  uint64_t room() const { return calendar_.Room(); }
  uint64_t promised_bytes() const { return promised_bytes_; }
  Time present_at(uint32_t object) const { return present_at_[object]; }
  void Place(uint32_t object) { present_at_[object] = Time{}; }
  RateModel rate() const {
    Duration queue = std::max(Duration{}, free_at_ - timeline_->now());
    return {queue + kFarLatency, 0, uint64_t{1'000'000'000} * kMiB / kFarBytesPerS};
  }
  bool alive = true;

  // Bids for a whole call; what it reserves is given back when it is settled, or when it expires.
  std::vector<Bid> OnCall(uint64_t call, const planner::Manifest& manifest,
                          const std::vector<uint32_t>& position, const Bitmap& asked,
                          const Bitmap& offer, const Bitmap& home) {
    std::vector<Bid> bids;
    uint64_t reserved = 0;
    for (uint32_t first = 0; first < manifest.size(); first += kChunk) {
      const uint32_t count = std::min(kChunk, manifest.size() - first);
      planner::BidInput in{.manifest = &manifest,
                           .first = first,
                           .count = count,
                           .asked = &asked,
                           .offer = &offer,
                           .home = &home,
                           .here = Bitmap(count),
                           .held = Bitmap(count),
                           .max_object_bytes = 64 * kMiB,
                           .room_bytes = calendar_.Room() - reserved};
      for (uint32_t i = 0; i < count; ++i) {
        uint32_t object = position[first + i];
        if (Here(object)) in.here.Set(i);
        if (promised_.Get(object)) in.held.Set(i);
      }
      bids.push_back({first, planner::BidForChunk(in)});
      reserved += bids.back().outcome.reserved_bytes;
    }
    const Time until = timeline_->now() + kExpiry;
    HF_CHECK(calendar_.Reserve(reserved, timeline_->now(), until));
    tentative_[call] = {reserved, until};
    timeline_->At(until, [this, call] { DropTentative(call); });
    return bids;
  }

  struct Confirmed {
    Bitmap refused;
    RateModel rate;
    Time received;
  };
  // `reserved` is the part of keep and load that the bids reserved: it is served first. After the
  // expiry all is refused.
  Confirmed OnConfirm(uint64_t call, const std::vector<uint32_t>& position, const Bitmap& chosen,
                      const Bitmap& reserved) {
    Confirmed out{Bitmap(chosen.size()), rate(), timeline_->now()};
    if (!DropTentative(call)) {
      out.refused = chosen;
      return out;
    }
    for (bool first : {true, false}) {
      chosen.ForEach([&](size_t i) {
        if (reserved.Get(i) == first && !Promise(position[i])) out.refused.Set(i);
      });
    }
    chosen.ForEach([&](size_t i) {
      if (!out.refused.Get(i)) Enqueue(position[i]);
    });
    return out;
  }

  void SetPeers(const std::vector<std::unique_ptr<ModelNode>>* peers) { peers_ = peers; }

 private:
  bool Here(uint32_t object) const { return present_at_[object] != kNever || queued_.Get(object); }

  // Loads what was confirmed and is not here, in order, one after the other at the far store's
  // rate.
  void Enqueue(uint32_t object) {
    if (present_at_[object] != kNever || queued_.Get(object)) return;
    queued_.Set(object);
    queue_.push(object);
    free_at_ = std::max(free_at_, timeline_->now()) + TransferTime(object, kFarBytesPerS);
    if (!loading_) LoadNext();
  }

  Duration TransferTime(uint32_t object, uint64_t bytes_per_s) const {
    return Duration(universe_->all.object_bytes(object) * 1'000'000 / bytes_per_s);
  }

  bool Promise(uint32_t object) {
    if (promised_.Get(object)) return true;
    uint64_t bytes = universe_->all.object_bytes(object);
    if (!calendar_.Reserve(bytes, timeline_->now(), kHold)) return false;
    promised_.Set(object);
    promised_bytes_ += bytes;
    return true;
  }

  bool DropTentative(uint64_t call) {
    auto it = tentative_.find(call);
    if (it == tentative_.end()) return false;
    calendar_.Release(it->second.bytes, it->second.until);
    tentative_.erase(it);
    return true;
  }

  void LoadNext() {
    loading_ = !queue_.empty();
    if (!loading_) return;
    const uint32_t object = queue_.front();
    queue_.pop();
    const Time now = timeline_->now();
    // Whoever goes far asks the home first: it has it, or somebody is loading it, or go.
    const planner::Picks picks = placement_.PicksOf(universe_->all.oid(object));
    ModelNode* home = (*peers_)[picks.home].get();
    if (!home->alive && picks.second != kNoNode) home = (*peers_)[picks.second].get();
    Duration busy = TransferTime(object, kPeerBytesPerS);
    Time done = now + busy;
    if (home->alive && home != this && home->present_at_[object] != kNever) {
      done = std::max(done, home->present_at_[object] + busy);
    } else if (home->alive && home->granted_until_[object] > now) {
      done = home->granted_until_[object] + busy;
    } else {
      busy = Duration(static_cast<int64_t>(
          static_cast<double>(TransferTime(object, kFarBytesPerS).count()) * slowness_));
      done = now + kFarLatency + busy;
      ++universe_->far_requests[object];
      if (home->alive) home->granted_until_[object] = done;
    }
    present_at_[object] = done;
    timeline_->After(busy, [this] { LoadNext(); });
  }

  struct Tentative {
    uint64_t bytes;
    Time until;
  };

  NodeId id_;
  uint64_t capacity_;
  Universe* universe_;
  Timeline* timeline_;
  planner::Placement placement_;
  double slowness_;
  const std::vector<std::unique_ptr<ModelNode>>* peers_ = nullptr;
  planner::Calendar calendar_;
  std::map<uint64_t, Tentative> tentative_;
  std::vector<Time> present_at_;
  std::vector<Time> granted_until_;  // as a home: until when somebody fetches it
  Bitmap promised_;
  Bitmap queued_;
  uint64_t promised_bytes_ = 0;
  std::queue<uint32_t> queue_;
  Time free_at_;
  bool loading_ = false;
};

using Nodes = std::vector<std::unique_ptr<ModelNode>>;

}  // namespace holdfast::sim
