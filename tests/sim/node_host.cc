// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/node_host.h"

namespace holdfast::sim {

void SimLog::Write(LogLevel, std::string_view line) {
  if (world_->trace().printing())
    world_->trace().Say(world_->now(), who_ + ": " + std::string(line));
}

SimEnv::SimEnv(Fabric* fabric, FarWorld* far_world, ProcessId process, HostId host,
               SimClockOptions clock_options, std::string endpoint)
    : clock(fabric->world(), process, clock_options),
      network(fabric, process, host, &clock, std::move(endpoint)),
      far(fabric->world(), far_world, process, &clock),
      ranged(&clock, &far),
      random(fabric->world()->Stream("core " + fabric->world()->NameOf(process))),
      log(fabric->world(), fabric->world()->NameOf(process)) {}

SimClockOptions RandomClock(World* world, Random* random) {
  SimClockOptions clock;
  clock.drift_ppm = static_cast<int64_t>(random->Below(2'001)) - 1'000;
  clock.start = Duration(random->Below(1'000'000'000));
  if (world->faults().Fires(Fault::kSlowProcessor))
    clock.cost_per_look = Duration(1 + random->Below(400));
  return clock;
}

std::string ControlEndpoint(NodeId node) { return "tcp://node-" + std::to_string(node) + ":7070"; }
std::string BulkEndpoint(NodeId node) { return "tcp://node-" + std::to_string(node) + ":7071"; }

NodeHost::NodeHost(Fabric* fabric, FarWorld* far, NodeSetup setup)
    : fabric_(fabric),
      world_(fabric->world()),
      far_(far),
      setup_(std::move(setup)),
      random_(world_->Stream("host " + std::to_string(setup_.node.node))) {
  setup_.tier.node = node();
  setup_.node.bulk_endpoint = BulkEndpoint(node());
  Result<shm::RegionPlan> plan = store::PlanRegion(setup_.tier);
  HF_CHECK(plan.ok());
  plan_ = *plan;
  if (setup_.disk_segments > 0) {
    disk_image_ = std::make_shared<DiskImage>(setup_.disk_segments, setup_.disk_segment_bytes);
  }
}

// The whole host went down, or was not up yet. Clients keep their old files mapped until they notice.
void NodeHost::Boot() {
  ++boots_;
  region_ = std::make_shared<RegionFile>(plan_);
  clients_.clear();
  Faults& faults = world_->faults();
  if (disk_image_ != nullptr && faults.Fires(Fault::kDiskCrash)) disk_image_->Crash(&random_);
  if (setup_.journal_bytes == 0) return;
  if (journal_image_ == nullptr || faults.Fires(Fault::kJournalLost)) {
    journal_image_ = std::make_shared<JournalImage>(setup_.journal_bytes);
    earlier_.clear();
  } else if (faults.Fires(Fault::kJournalCrash)) {
    journal_image_->Crash(&random_);
  }
}

NodeHost::~NodeHost() {
  if (up()) Kill();
}

void NodeHost::Start(bool warm) {
  HF_CHECK(!up());
  last_start_ = world_->now();
  if (!warm || region_ == nullptr) Boot();
  ProcessId process =
      world_->Spawn("node-" + std::to_string(node()) + "." + std::to_string(++starts_));
  daemon_ = std::make_unique<Daemon>(fabric_, far_, process, node(), RandomClock(world_, &random_),
                                     ControlEndpoint(node()), plan_.segments);
  Daemon& d = *daemon_;
  for (const auto& [number, session] : clients_) d.sessions.Attach(number, session->memory());
  setup_.tier.incarnation = setup_.node.incarnation = random_.Next() | 1;
  setup_.tier.wall = [clock = &d.env.clock] { return clock->Wall(); };
  d.tier =
      std::make_unique<store::MemoryTier>(region_->pages.span(), plan_, setup_.tier, &d.sessions);
  d.bulk_session =
      SessionFile::Make(region_, ++last_session_, [clock = &d.env.clock] { return clock->Wall(); });
  d.sessions.Attach(last_session_, d.bulk_session->memory());
  if (disk_image_ != nullptr) OpenDisk();
  if (journal_image_ != nullptr)
    d.journal = std::make_unique<SimJournal>(world_, process, journal_image_);
  local_start_ = d.env.clock.Peek();
  setup_.node.journal_bytes = setup_.journal_bytes;
  setup_.node.boot = boots_;
  setup_.node.boot_ahead = world_->now() - local_start_;
  d.node = std::make_unique<cached::Node>(d.env.env(), d.tier.get(), setup_.node, d.disk_tier.get(),
                                          d.journal.get());
  d.bulk = std::make_unique<SimBulkServer>(fabric_, process, node(), setup_.node.bulk_endpoint,
                                           d.bulk_session, d.node.get(), disk_image_);
  world_->Note("start", {node(), process, warm});
  // On the process itself, as everything that the core does.
  world_->After({}, process, [&d] { d.node->Start(); });
}

void NodeHost::OpenDisk() {
  Daemon& d = *daemon_;
  d.disk = std::make_unique<SimDisk>(world_, d.process, disk_image_);
  d.disk_tier = std::make_unique<store::DiskTier>(
      d.env.env(), d.disk.get(),
      store::DiskTierOptions{.identity = {node(), setup_.node.cluster}, .index_objects = 2'048});
  world_->After({}, d.process, [this, &d] {
    d.disk_tier->Recover([this](const Status& status) {
      if (!status.ok()) world_->Violate("disk-recovery", status.ToString());
    });
  });
}

void NodeHost::Kill() {
  world_->Note("kill", {node(), process()});
  if (journal_image_ != nullptr)
    earlier_.insert(earlier_.begin(), {process(), world_->now(), clock().Peek()});
  world_->Kill(process());
  daemon_->bulk.reset();
  daemon_->node.reset();
  daemon_.reset();
}

std::shared_ptr<SessionFile> NodeHost::OpenSession() {
  if (!up()) return nullptr;
  std::shared_ptr<SessionFile> session = SessionFile::Make(
      region_, ++last_session_, [world = world_] { return SimClock::WallAt(world->now()); });
  clients_[session->number()] = session;
  daemon_->sessions.Attach(session->number(), session->memory());
  return session;
}

void NodeHost::LeaveSession(const std::shared_ptr<SessionFile>& session) {
  auto it = clients_.find(session->number());
  if (it == clients_.end() || it->second != session) return;
  clients_.erase(it);
  if (!up()) return;
  world_->After(Duration(random_.Below(500'000)), process(),
                [this, session] { daemon_->sessions.Detach(session->number()); });
}

}  // namespace holdfast::sim
