// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/cluster.h"

#include <algorithm>

#include "nlohmann/json.hpp"
#include "tests/sim/chaos.h"

namespace holdfast::sim {
namespace {

constexpr Time kFaultsEnd{40'000'000};
// After the faults every job has this long: leases, deadlines and rounds of calls have to run out
// one after the other.
constexpr Duration kJobsMustEnd = 400s;
constexpr Time kShortest{60'000'000};
// Streams have expired by then, and whoever reads them was told.
constexpr Duration kStreamsMustEnd = 120s;
// A read that is announced to nobody, and a round of a collector, end within this.
constexpr Duration kDynamicMustEnd = 60s;
// After the last job: leases, offers and grants run out.
constexpr Duration kSettle = 70s;
// Of what may be promised, with which no node runs out though some get more than the mean.
constexpr double kRoomForOffers = 0.7;

PlannedList ManifestOrder(const std::vector<ListedObject>& listed) {
  PlannedList planned;
  for (const ListedObject& object : listed) planned.push_back({object.object->oid, object.version});
  auto by_oid = [](const PlannedObject& a, const PlannedObject& b) { return a.oid < b.oid; };
  auto same = [](const PlannedObject& a, const PlannedObject& b) { return a.oid == b.oid; };
  std::sort(planned.begin(), planned.end(), by_oid);
  planned.erase(std::unique(planned.begin(), planned.end(), same), planned.end());
  return planned;
}

std::vector<std::unique_ptr<NodeHost>> MakeHosts(Fabric* fabric, FarWorld* far,
                                                 const Scenario& scenario) {
  std::vector<std::unique_ptr<NodeHost>> hosts;
  for (const NodeSetup& setup : scenario.nodes)
    hosts.push_back(std::make_unique<NodeHost>(fabric, far, setup));
  return hosts;
}

}  // namespace

Cluster::Cluster(uint64_t seed, std::FILE* trace)
    : world_(seed),
      fabric_(&world_),
      random_(world_.Stream("cluster")),
      scenario_(DrawScenario(&world_, &far_)),
      promises_(&world_, &far_, [this](ProcessId process) { return HostOf(process); }),
      grants_(&world_, &far_, [this](ProcessId process) { return HostOf(process); }),
      hosts_(MakeHosts(&fabric_, &far_, scenario_)),
      dynamic_(&fabric_, &far_, scenario_, &hosts_,
               [this](ProcessId process) { return HostOf(process); }),
      streams_(&fabric_, &far_, scenario_, &hosts_,
               hosts_.size() + scenario_.jobs.size() + dynamic_.machines()) {
  world_.trace().PrintTo(trace);
  fabric_.set_queue_limit(scenario_.queue_limit);
  fabric_.Observe([this](const Delivery& delivery) {
    promises_.Observe(delivery);
    grants_.Observe(delivery);
    dynamic_.Observe(delivery);
    streams_.Observe(delivery);
    NoteLease(delivery);
  });
  for (auto& host : hosts_) {
    visitors_.emplace_back(&world_, &far_, host.get(), scenario_.background_objects,
                           &report_.visits);
  }
  for (JobSetup& setup : scenario_.jobs) {
    if (setup.job.reader != kNoNode) setup.own_node = hosts_[setup.job.reader].get();
    JobSlot slot = {.setup = setup, .process = nullptr};
    jobs_.push_back(std::move(slot));
  }
}

Cluster::~Cluster() {
  for (JobSlot& slot : jobs_) {
    if (slot.process != nullptr) world_.Kill(slot.process->process());
    slot.process.reset();
  }
}

// A garbled message can ask for any lease.
void Cluster::NoteLease(const Delivery& delivery) {
  if (!delivery.garbled || delivery.message == nullptr) return;
  auto* call = std::get_if<wire::Call>(delivery.message);
  auto* beat = std::get_if<wire::Heartbeat>(delivery.message);
  auto* keep = std::get_if<wire::StreamKeep>(delivery.message);
  if ((call != nullptr && call->lease > kSettle) || (beat != nullptr && beat->lease > kSettle) ||
      (keep != nullptr && keep->terms.expires_in > kSettle))
    long_leases_.insert(delivery.to);
}

NodeHost* Cluster::HostOf(ProcessId process) const {
  for (const auto& host : hosts_) {
    if (host->up() && host->process() == process) return host.get();
  }
  return nullptr;
}

void Cluster::StartJob(size_t job) {
  JobSlot& slot = jobs_[job];
  ProcessId process = world_.Spawn(slot.setup.name + "." + std::to_string(++slot.starts));
  // Some list anew before they start, some use an old list.
  Time listed_at = random_.Chance(0.5) ? world_.now() : Time{};
  slot.process = std::make_unique<JobProcess>(&fabric_, &far_, process, &slot.setup, &report_.reads,
                                              listed_at);
  promises_.AddJob(process, ManifestOrder(slot.process->listed()));
  world_.After({}, process, [&slot] { slot.process->Start(); });
}

void Cluster::KillJob(size_t job, bool again, Duration delay) {
  JobSlot& slot = jobs_[job];
  world_.Note("kill job", {job, again});
  slot.process->Kill();
  slot.process.reset();
  slot.abandoned = !again;
  if (again) world_.After(delay, kWorld, [this, job] { StartJob(job); });
}

void Cluster::StopFaults() {
  world_.faults().Stop();
  world_.Note("faults end", {});
  fabric_.Mend();
  far_.outage_until = {};
  for (auto& host : hosts_) {
    if (!host->up()) host->Start(random_.Chance(0.5));
  }
}

bool Cluster::AllJobsDone() const {
  return world_.now() >= kShortest &&
         std::all_of(jobs_.begin(), jobs_.end(), [](const JobSlot& slot) {
           return slot.abandoned || (slot.process != nullptr && slot.process->done());
         });
}

void Cluster::LookAround() {
  NodeHost& host = *hosts_[random_.Below(hosts_.size())];
  if (host.up()) CheckNode(host);
  world_.After(Duration(random_.Below(30'000)), kWorld, [this] { LookAround(); });
}

void Cluster::CheckNode(NodeHost& host) {
  Status books = host.core().CheckInvariants();
  if (!books.ok())
    world_.Violate("node-invariants",
                   "node " + std::to_string(host.node()) + ": " + books.ToString());
  store::TierStats stats = host.tier().Stats();
  if (stats.held_bytes > host.tier().PromisableBytes() || stats.live_bytes > stats.object_bytes ||
      stats.held_bytes > stats.live_bytes) {
    world_.Violate("capacity", "node " + std::to_string(host.node()) + " holds more than it may");
  }
  promises_.Check(host);
}

void Cluster::CheckEmpty(NodeHost& host) {
  std::string who = "node " + std::to_string(host.node()) + " at the end: ";
  store::TierStats stats = host.tier().Stats();
  bool long_lease = long_leases_.contains(host.process());
  if (stats.held_objects != 0 && !long_lease) {
    world_.Violate("promises-end",
                   who + std::to_string(stats.held_objects) + " objects are held for nobody");
  }
  if (stats.waiting_segments != 0) {
    world_.Violate("pins", who + std::to_string(stats.waiting_segments) +
                               " segments wait for readers that are gone");
  }
  if (host.bulk().open_misses() != 0) {
    world_.Violate("flows-end", who + "a miss was never answered: " + host.bulk().OldestMiss());
  }
  if (host.far_in_flight() != 0) world_.Violate("flows-end", who + "far requests under way");
  nlohmann::json state = nlohmann::json::parse(host.core().StatusJson(), nullptr, false);
  if (state.is_discarded()) return world_.Violate("status", who + "the state is no JSON");
  report_.spill += SpillCounts{.guests = state["spill"]["guests"],
                               .disk_guests = state["spill"]["disk_guests"],
                               .reads = state["spill"]["guest_reads"],
                               .kept = state["spill"]["kept_guests"],
                               .given_up = state["spill"]["given_up_guests"],
                               .sent = state["spill"]["sent_to_lodgings"],
                               .lifted = state["spill"]["lifted_objects"]};
  std::vector<const char*> paths{"/promises/tentative_bytes", "/loads/active", "/grants",
                                 "/spill/active"};
  if (!long_lease)
    paths.insert(paths.end(), {"/promises/reserved_bytes", "/promises/pending_objects", "/jobs"});
  for (const char* path : paths) {
    uint64_t left = state.value(nlohmann::json::json_pointer(path), uint64_t{1});
    if (left != 0)
      world_.Violate("flows-end", who + path + " is " + std::to_string(left) + ", not 0");
  }
}

void Cluster::CheckFarGets() {
  for (const auto& [key, gets] : far_.gets()) report_.far_gets += gets;
  report_.distinct_objects = far_.gets().size();
  if (!world_.faults().none() || !scenario_.ample) return;
  for (const auto& [key, gets] : far_.gets()) {
    if (gets == 1) continue;
    const FarObject* object = far_.Find(key.first);
    // No node can have it, so every reader goes far for it.
    if (object->size > hosts_[0]->tier().max_object_bytes()) continue;
    // Its home may have forgotten who fetched it (docs/decisions/0006) when a reader asks that was
    // told of no promise.
    if (dynamic_.Wants(object->oid)) continue;
    world_.Violate("fetched-once", object->uri + " was fetched " + std::to_string(gets) + " times");
  }
}

void Cluster::RunUntil(Time end, bool (Cluster::*enough)() const) {
  while (world_.now() < end && !(enough != nullptr && (this->*enough)())) {
    if (!world_.Step()) break;
  }
}

RunReport Cluster::Run() {
  Chaos chaos(this);
  for (auto& host : hosts_) host->Start(false);
  for (Visitor& visitor : visitors_) visitor.Start();
  dynamic_.Start();
  streams_.Start();
  for (size_t j = 0; j < jobs_.size(); ++j) {
    world_.After(scenario_.starts[j], kWorld, [this, j] { StartJob(j); });
  }
  world_.After(1s, kWorld, [this] { LookAround(); });
  world_.At(kFaultsEnd, kWorld, [this] { StopFaults(); });
  chaos.Start();
  RunUntil(kFaultsEnd + kJobsMustEnd, &Cluster::AllJobsDone);
  if (world_.verdict() == Verdict::kOk && !AllJobsDone()) {
    std::string who;
    for (const JobSlot& slot : jobs_) {
      if (slot.process != nullptr && !slot.process->done()) who += slot.process->Where() + "; ";
    }
    world_.Fail(Verdict::kStuck, "flows-end", who);
  }
  EndDynamic();
  EndStreams();
  for (JobSlot& slot : jobs_) {
    if (slot.process == nullptr) continue;
    if (slot.process->report().has_value()) AddPlan(*slot.process);
  }
  // The jobs' last messages leave before their processes do.
  RunUntil(world_.now() + Duration(1s), nullptr);
  for (JobSlot& slot : jobs_) {
    if (slot.process != nullptr) slot.process->Kill();
    slot.process.reset();
  }
  for (Visitor& visitor : visitors_) visitor.End();
  RunUntil(world_.now() + kSettle, nullptr);
  if (world_.verdict() != Verdict::kOk) return Report();
  for (auto& host : hosts_) {
    CheckNode(*host);
    CheckEmpty(*host);
    store::TierStats stats = host->tier().Stats();
    report_.dropped_objects += stats.dropped_objects;
    report_.moved_bytes += stats.moved_bytes;
  }
  CheckFarGets();
  // Each job's offers reserve room until they are settled, for what the others' have reserved, too.
  bool room_for_all_offers = scenario_.fill * static_cast<double>(jobs_.size()) < kRoomForOffers;
  if (world_.faults().none() && scenario_.ample && room_for_all_offers &&
      report_.covered_objects < report_.planned_objects) {
    world_.Violate("everything-is-covered", std::to_string(report_.covered_objects) + " of " +
                                                std::to_string(report_.planned_objects) +
                                                " objects; they fill " +
                                                std::to_string(scenario_.fill) + ", " +
                                                std::to_string(jobs_.size()) + " jobs");
  }
  return Report();
}

// Its reads end, and then a collector reaches every node, whatever has happened before.
void Cluster::EndDynamic() {
  dynamic_.Stop();
  for (int part = 0; part < 2; ++part) {
    RunUntil(world_.now() + kDynamicMustEnd, &Cluster::DynamicDone);
    if (world_.verdict() == Verdict::kOk && !dynamic_.done())
      world_.Fail(Verdict::kStuck, "flows-end", dynamic_.Where());
    if (part == 0) dynamic_.CollectFromAll();
  }
  dynamic_.End();
}

void Cluster::EndStreams() {
  streams_.Stop();
  RunUntil(world_.now() + kStreamsMustEnd, &Cluster::StreamsDone);
  if (world_.verdict() == Verdict::kOk && !streams_.done())
    world_.Fail(Verdict::kStuck, "flows-end", streams_.Where());
  streams_.End();
}

void Cluster::AddPlan(const JobProcess& job) {
  const jobclient::PlanReport& plan = *job.report();
  report_.planned_objects += plan.objects - plan.too_large_objects;
  report_.covered_objects += plan.kept_objects + plan.load_objects;
}

RunReport Cluster::Report() {
  report_.seed = world_.seed();
  report_.verdict = world_.verdict();
  report_.trace = world_.trace().Digest();
  report_.events = world_.events();
  report_.messages = fabric_.delivered();
  report_.simulated_s = static_cast<double>(world_.now().us) / 1e6;
  report_.faults = world_.faults().counts();
  report_.faultless = world_.faults().none();
  report_.ample = scenario_.ample;
  report_.promises = promises_.counts();
  report_.dynamic = dynamic_.counts();
  report_.streams = streams_.counts();
  report_.grants = grants_.granted();
  report_.deepest_queue = fabric_.deepest_queue();
  return report_;
}

}  // namespace holdfast::sim
