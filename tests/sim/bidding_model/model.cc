// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/bidding_model/model.h"

#include <algorithm>
#include <map>
#include <memory>

#include "base/hash.h"
#include "base/random.h"
#include "planner/bidding.h"
#include "planner/offers.h"
#include "tests/sim/bidding_model/model_node.h"

namespace holdfast::sim {
namespace {

using planner::Manifest;
using planner::NodeBids;
using planner::NodeLoad;
using planner::NodeWeight;
using planner::Offer;
using planner::Placement;

constexpr Duration kBidTimeout = 500ms;

// A promised load and when it was due.
struct Due {
  NodeId node;
  uint32_t object;
  Time t1;
};

class ModelJobRun {
 public:
  ModelJobRun(uint64_t id, const ModelOptions& options, Manifest manifest,
              std::vector<uint32_t> position, Placement placement, Nodes* nodes, Timeline* timeline,
              Random random)
      : id_(id),
        options_(options),
        manifest_(std::move(manifest)),
        position_(std::move(position)),
        placement_(std::move(placement)),
        nodes_(*nodes),
        timeline_(*timeline),
        random_(random),
        left_(manifest_.size(), true) {
    for (const auto& n : nodes_) {
      if (n->alive) loads_.push_back({n->id(), 0, 0, n->room()});
    }
  }

  void Call() {
    ++round_;
    if (options_.rule.fresh_room) {
      for (NodeLoad& n : loads_) n.spare_room_bytes = nodes_[n.node]->room();
    }
    std::vector<NodeLoad> known = loads_;
    if (options_.rule.room_ignored) {
      for (NodeLoad& n : known) n.spare_room_bytes = UINT64_MAX;
    }
    offers_ = planner::OffersFor(manifest_, placement_, known, left_, round_, kNoNode);
    settler_ = std::make_unique<planner::Settler>(&manifest_, &placement_, kNoNode,
                                                  planner::AfterOffers(loads_, offers_));
    if (options_.rule.every_pick_reserves) {
      for (Offer& o : offers_) o.home = o.offer;
    }
    bids_.assign(loads_.size(), {});
    bidding_ = loads_.size();
    const uint32_t round = round_;
    for (size_t n = 0; n < loads_.size(); ++n) {
      timeline_.After(Delay(), [this, n, round] {
        ModelNode& node = *nodes_[loads_[n].node];
        if (!node.alive) return;
        std::vector<Bid> bids = node.OnCall(CallId(round), manifest_, position_, left_,
                                            offers_[n].offer, offers_[n].home);
        rates_[node.id()] = node.rate();
        timeline_.After(Delay(), [this, n, round, bids = std::move(bids)]() mutable {
          if (round != round_ || bidding_ == 0) return;
          bids_[n] = std::move(bids);
          if (--bidding_ == 0) Settle();
        });
      });
    }
    timeline_.After(kBidTimeout, [this, round] {
      if (round != round_ || bidding_ == 0) return;
      bidding_ = 0;
      Settle();
    });
  }

  const Manifest& manifest() const { return manifest_; }
  const Placement& placement() const { return placement_; }
  const std::vector<uint32_t>& position() const { return position_; }
  const std::vector<size_t>& confirmed_after() const { return confirmed_after_; }
  const std::vector<Due>& due() const { return due_; }
  Time settled() const { return settled_; }
  uint64_t first_bids() const { return first_bids_; }
  uint64_t first_unbid() const { return first_unbid_; }

 private:
  uint64_t CallId(uint32_t round) const { return id_ * 1000 + round; }
  Duration Delay() { return Duration(200 + static_cast<int64_t>(random_.Below(5000))); }

  void Settle() {
    if (options_.dies_during_settle && round_ == 1) nodes_[1]->alive = false;
    chosen_.assign(loads_.size(), Bitmap(manifest_.size()));
    reserved_.assign(loads_.size(), Bitmap(manifest_.size()));
    to_load_.assign(loads_.size(), Bitmap(manifest_.size()));
    for (uint32_t first = 0; first < manifest_.size(); first += kChunk) SettleChunk(first);
    if (round_ == 1) first_unbid_ = manifest_.size() - reservable_;
    acks_ = loads_.size();
    const uint32_t round = round_;
    for (size_t n = 0; n < loads_.size(); ++n) {
      Duration delay = random_.Chance(options_.lost_settles) ? kExpiry + 100ms : Delay();
      timeline_.After(delay, [this, n, round] {
        ModelNode& node = *nodes_[loads_[n].node];
        ModelNode::Confirmed result{chosen_[n], {}, {}};  // a dead node refuses by its silence
        if (node.alive) result = node.OnConfirm(CallId(round), position_, chosen_[n], reserved_[n]);
        timeline_.After(node.alive ? Delay() : kBidTimeout,
                        [this, n, result] { OnAck(n, result); });
      });
    }
  }

  void SettleChunk(uint32_t first) {
    const uint32_t count = std::min(kChunk, manifest_.size() - first);
    std::vector<NodeBids> bids;
    std::vector<size_t> who;
    Bitmap reservable(count);
    for (size_t n = 0; n < loads_.size(); ++n) {
      if (bids_[n].empty()) continue;
      const planner::BidOutcome& o = bids_[n][first / kChunk].outcome;
      bids.push_back({loads_[n].node, o.keep, o.load, o.spare, rates_[loads_[n].node]});
      who.push_back(n);
      reservable.OrAt(0, o.keep);
      reservable.OrAt(0, o.load);
      if (round_ == 1) first_bids_ += o.keep.Count() + o.load.Count() + o.spare.Count();
      // The home says "no room" by making the offer that should reserve a spare one.
      Bitmap home = offers_[n].home.Slice(first, count);
      for (size_t w = 0; w < home.words(); ++w) {
        if ((home.word(w) & o.spare.word(w)) != 0) full_[loads_[n].node] = true;
      }
    }
    if (round_ == 1) reservable_ += reservable.Count();
    planner::Settler::Outcome out = settler_->Settle(first, count, left_.Slice(first, count), bids);
    for (size_t b = 0; b < who.size(); ++b) {
      chosen_[who[b]].OrAt(first, out.choices[b].keep);
      chosen_[who[b]].OrAt(first, out.choices[b].load);
      to_load_[who[b]].OrAt(first, out.choices[b].load);
      reserved_[who[b]].OrAt(first, bids[b].keep);
      reserved_[who[b]].OrAt(first, bids[b].load);
    }
  }

  void OnAck(size_t n, const ModelNode::Confirmed& result) {
    ModelNode& node = *nodes_[loads_[n].node];
    uint64_t objects = 0;
    uint64_t bytes = 0;
    chosen_[n].ForEach([&](size_t i) {
      if (result.refused.Get(i)) return;
      left_.Clear(i);
      if (!to_load_[n].Get(i)) return;
      bytes += manifest_.object_bytes(static_cast<uint32_t>(i));
      due_.push_back(
          {node.id(), position_[i], result.received + result.rate.Finish(++objects, bytes)});
    });
    NodeLoad& load = loads_[n];
    load.objects += objects;
    load.bytes += bytes;
    load.spare_room_bytes -= std::min(load.spare_room_bytes, bytes);
    if (full_[node.id()]) load.spare_room_bytes = 0;
    settled_ = timeline_.now();
    if (--acks_ == 0) AfterCall();
  }

  void AfterCall() {
    std::erase_if(loads_, [&](const NodeLoad& n) { return !nodes_[n.node]->alive; });
    full_.clear();
    confirmed_after_.push_back(manifest_.size() - left_.Count());
    if (left_.None() || round_ == options_.max_calls) return;
    // Another job's settle may be all that is missing: wait when nothing was gained, longer each
    // time.
    const bool gained = round_ == 1 || confirmed_after_[round_ - 1] > confirmed_after_[round_ - 2];
    idle_calls_ = gained ? 0 : idle_calls_ + 1;
    timeline_.After(options_.first_wait * (1 << idle_calls_) + Delay(), [this] { Call(); });
  }

  uint64_t id_;
  const ModelOptions& options_;
  Manifest manifest_;
  std::vector<uint32_t> position_;  // in the universe, of each object of the manifest
  Placement placement_;
  Nodes& nodes_;
  Timeline& timeline_;
  Random random_;
  Bitmap left_;
  std::vector<NodeLoad> loads_;  // of the live nodes, and what the job knows of their room
  uint32_t round_ = 0;
  uint32_t idle_calls_ = 0;
  std::vector<Offer> offers_;
  std::vector<std::vector<Bid>> bids_;
  std::map<NodeId, RateModel> rates_;
  std::map<NodeId, bool> full_;
  std::unique_ptr<planner::Settler> settler_;
  std::vector<Bitmap> chosen_, reserved_, to_load_;
  size_t bidding_ = 0;
  size_t acks_ = 0;
  std::vector<size_t> confirmed_after_;
  std::vector<Due> due_;
  Time settled_;
  uint64_t first_bids_ = 0;
  uint64_t first_unbid_ = 0;
  uint64_t reservable_ = 0;
};

// Sizes spread around 100 kB by a factor of four.
Manifest MakeUniverse(uint32_t objects, Random& random) {
  std::vector<planner::ManifestEntry> entries(objects);
  for (auto& e : entries) {
    uint64_t size =
        50'000 + random.Below(50'000) + (random.Chance(0.3) ? random.Below(100'000) : 0);
    e = {{random.Next(), random.Next()}, size, 1};
  }
  Result<Manifest> m = Manifest::Build(std::move(entries));
  HF_CHECK(m.ok());
  return std::move(*m);
}

std::vector<uint64_t> Capacities(const ModelOptions& o, uint64_t universe_bytes) {
  const double total = static_cast<double>(universe_bytes) / o.universe_share;
  std::vector<double> shares;
  double sum = 0;
  for (uint32_t n = 0; n < o.nodes; ++n) {
    shares.push_back(o.unequal ? 1 + n % 4 : 1);
    if (n >= o.nodes - o.dead_nodes) continue;  // the living have to hold it
    sum += shares.back();
  }
  std::vector<uint64_t> capacities;
  for (double s : shares) capacities.push_back(static_cast<uint64_t>(total * s / sum));
  return capacities;
}

// The weights as one observer sees them.
Placement View(const std::vector<uint64_t>& capacities, double error, Random& random) {
  std::vector<NodeWeight> weights;
  for (NodeId n = 0; n < capacities.size(); ++n) {
    double factor = 1 + error * (2 * random.Unit() - 1);
    weights.push_back({n, static_cast<uint64_t>(static_cast<double>(capacities[n]) * factor)});
  }
  return Placement(std::move(weights));
}

// The job's part of the universe: a pseudo-random order, so that parts overlap as the options say
// but not in OID ranges.
std::pair<Manifest, std::vector<uint32_t>> PartOf(const Manifest& all, const ModelJob& job) {
  std::vector<planner::ManifestEntry> entries;
  std::vector<uint32_t> position;
  for (uint32_t i = 0; i < all.size(); ++i) {
    double at = static_cast<double>(Mix64(i + 1) >> 11) * 0x1p-53 - job.first;
    if (at < 0 || at >= job.share) continue;
    entries.push_back({all.oid(i), all.object_bytes(i), all.version(i)});
    position.push_back(i);
  }
  Result<Manifest> part = Manifest::Build(std::move(entries));
  HF_CHECK(part.ok());
  return {std::move(*part), std::move(position)};
}

using Jobs = std::vector<std::unique_ptr<ModelJobRun>>;

void CountCalls(const ModelOptions& options, const Jobs& jobs, ModelFigures* f) {
  double objects = 0;
  for (const auto& job : jobs) objects += job->manifest().size();
  f->confirmed_after.assign(options.max_calls, 0);
  for (const auto& job : jobs) {
    const std::vector<size_t>& after = job->confirmed_after();
    uint32_t calls = options.max_calls + 1;
    for (uint32_t c = options.max_calls; c-- > 0;) {
      size_t confirmed = after[std::min<size_t>(c, after.size() - 1)];
      f->confirmed_after[c] += static_cast<double>(confirmed) / objects;
      if (static_cast<double>(confirmed) >= 0.999 * job->manifest().size()) calls = c + 1;
    }
    f->calls = std::max(f->calls, calls);
    f->bids_per_object += static_cast<double>(job->first_bids()) / objects;
    f->unbid_share += static_cast<double>(job->first_unbid()) / objects;
    f->settled_ms = std::max(f->settled_ms, static_cast<double>(job->settled().us) / 1000);
  }
}

void CountLoads(const Universe& universe, const Nodes& nodes, const Jobs& jobs, ModelFigures* f) {
  uint64_t requests = 0;
  uint64_t distinct = 0;
  for (uint64_t r : universe.far_requests) {
    requests += r;
    distinct += r > 0 ? 1 : 0;
  }
  f->far_per_object =
      distinct == 0 ? 0 : static_cast<double>(requests) / static_cast<double>(distinct);
  double loads = 0;
  double on_time = 0;
  double error = 0;
  double promised = 0;
  for (const auto& job : jobs) {
    for (const Due& d : job->due()) {
      Time actual = nodes[d.node]->present_at(d.object);
      if (actual == kNever) continue;
      ++loads;
      on_time += actual <= d.t1 ? 1 : 0;
      error += static_cast<double>(std::abs((actual - d.t1).count()));
      promised += static_cast<double>(d.t1.us);
    }
  }
  f->on_time_share = loads == 0 ? 1 : on_time / loads;
  f->t1_error = promised == 0 ? 0 : error / promised;
}

void CountBalance(const ModelOptions& options, const Nodes& nodes, ModelFigures* f) {
  double busiest = 0;
  double bytes = 0;
  double capacity = 0;
  for (const auto& n : nodes) {
    if (!n->alive) continue;
    double promised = static_cast<double>(n->promised_bytes());
    busiest = std::max(busiest, promised / static_cast<double>(n->capacity()));
    bytes += promised;
    capacity += static_cast<double>(n->capacity());
    f->over_promised |= promised > static_cast<double>(n->capacity()) * options.promisable;
  }
  f->busiest_vs_mean = bytes == 0 ? 0 : busiest / (bytes / capacity);
}

}  // namespace

ModelFigures RunBiddingModel(const ModelOptions& options) {
  Random random(options.seed);
  Timeline timeline;
  Universe universe{MakeUniverse(options.objects, random), std::vector<uint64_t>(options.objects)};
  std::vector<uint64_t> capacities = Capacities(options, universe.all.total_bytes());
  Nodes nodes;
  for (NodeId n = 0; n < options.nodes; ++n) {
    Placement view = View(capacities, options.view_error, random);
    double slowness = 1 + options.rate_error * (2 * random.Unit() - 1);
    nodes.push_back(std::make_unique<ModelNode>(n, capacities[n], options, &universe, &timeline,
                                                std::move(view), slowness));
    nodes.back()->SetPeers(&nodes);
    nodes.back()->alive = n < options.nodes - options.dead_nodes;
  }
  if (options.warm) {
    Placement homes = View(capacities, 0, random);
    for (uint32_t i = 0; i < options.objects; ++i)
      nodes[homes.PicksOf(universe.all.oid(i)).home]->Place(i);
  }
  Jobs jobs;
  for (const ModelJob& j : options.jobs) {
    auto [manifest, position] = PartOf(universe.all, j);
    Placement view = View(capacities, options.view_error, random);
    jobs.push_back(std::make_unique<ModelJobRun>(jobs.size() + 1, options, std::move(manifest),
                                                 std::move(position), std::move(view), &nodes,
                                                 &timeline, Random(random.Next())));
    timeline.At(Time{} + j.start, [job = jobs.back().get()] { job->Call(); });
  }
  timeline.Run();
  ModelFigures f;
  CountCalls(options, jobs, &f);
  CountLoads(universe, nodes, jobs, &f);
  CountBalance(options, nodes, &f);
  double same = 0;
  for (uint32_t i = 0; i < universe.all.size(); ++i) {
    const Oid oid = universe.all.oid(i);
    if (jobs.front()->placement().PicksOf(oid).home == jobs.back()->placement().PicksOf(oid).home)
      ++same;
  }
  f.same_home_share = same / universe.all.size();
  return f;
}

}  // namespace holdfast::sim
