// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/chaos.h"

#include <cstring>
#include <optional>

#include "tests/sim/cluster.h"

namespace holdfast::sim {

Chaos::Chaos(Cluster* cluster)
    : cluster_(cluster), world_(&cluster->world()), random_(world_->Stream("chaos")) {}

void Chaos::Start() {
  world_->After(Between(100ms, 1s), kWorld, [this] { Tick(); });
}

Duration Chaos::Between(Duration low, Duration high) {
  return low + Duration(random_.Below(static_cast<uint64_t>((high - low).count())));
}

void Chaos::Tick() {
  if (world_->faults().stopped()) return;
  Nodes();
  Jobs();
  Clocks();
  Cables();
  Sessions();
  cluster_->dynamic().Disturb(&random_);
  cluster_->streams().Disturb(&random_);
  Start();
}

void Chaos::Nodes() {
  Faults& faults = world_->faults();
  auto& hosts = cluster_->hosts();
  auto any = [&]() -> NodeHost& { return *hosts[random_.Below(hosts.size())]; };
  auto kill = [&](Fault fault, std::optional<bool> warm) {
    NodeHost& host = any();
    if (!host.up() || !faults.Fires(fault)) return;
    host.Kill();
    if (!warm.has_value()) return;  // comes back when the faults are over
    world_->After(Between(1ms, 8s), kWorld, [&host, warm] {
      if (!host.up()) host.Start(*warm);
    });
  };
  kill(Fault::kNodeKillWarm, true);
  kill(Fault::kNodeKillCold, false);
  kill(Fault::kNodeLeave, std::nullopt);
  NodeHost& host = any();
  if (host.up() && faults.Fires(Fault::kNodePause))
    world_->Pause(host.process(), Between(10ms, 20s));
}

void Chaos::Jobs() {
  Faults& faults = world_->faults();
  size_t job = random_.Below(cluster_->jobs());
  if (!cluster_->JobRuns(job)) return;
  if (faults.Fires(Fault::kJobPause))
    world_->Pause(cluster_->job(job).process(), Between(10ms, 20s));
  if (faults.Fires(Fault::kJobKill)) {
    cluster_->KillJob(job, true, Between(10ms, 5s));
  } else if (faults.Fires(Fault::kJobAbandon)) {
    cluster_->KillJob(job, false, {});
  }
}

void Chaos::Clocks() {
  Faults& faults = world_->faults();
  auto& hosts = cluster_->hosts();
  NodeHost& host = *hosts[random_.Below(hosts.size())];
  size_t job = random_.Below(cluster_->jobs());
  if (faults.Fires(Fault::kClockJump)) {
    if (host.up()) host.clock().JumpForward(Between(10ms, 30s));
    if (cluster_->JobRuns(job) && random_.Chance(0.3))
      cluster_->job(job).clock().JumpForward(Between(10ms, 30s));
  }
  if (host.up() && faults.Fires(Fault::kClockWallStep)) {
    host.clock().StepWall(static_cast<int64_t>(random_.Below(20'000)) - 10'000);
  }
}

void Chaos::Cables() {
  Faults& faults = world_->faults();
  auto hosts = static_cast<HostId>(cluster_->machines());
  bool both = faults.Fires(Fault::kNetPartition);
  if (both || faults.Fires(Fault::kNetPartitionOneWay)) {
    std::vector<bool> side(hosts);
    double share = random_.Unit();
    for (size_t h = 0; h < hosts; ++h) side[h] = random_.Chance(share);
    for (HostId a = 0; a < hosts; ++a) {
      for (HostId b = 0; b < hosts; ++b) {
        if (side[a] != side[b] && (both || side[a])) cluster_->fabric().Cut(a, b);
      }
    }
    world_->After(Between(100ms, 10s), kWorld, [this] { cluster_->fabric().Mend(); });
  }
  if (faults.Fires(Fault::kFarOutage))
    cluster_->far().outage_until = world_->now() + Between(500ms, 10s);
}

void Chaos::Sessions() {
  auto& hosts = cluster_->hosts();
  NodeHost& host = *hosts[random_.Below(hosts.size())];
  if (!host.up() || !world_->faults().Fires(Fault::kSessionGarbage)) return;
  std::shared_ptr<SessionFile> session = host.OpenSession();
  ByteSpan memory = session->memory();
  uint32_t segments = session->region()->plan.segments;
  for (size_t at = 0; at + 8 <= memory.size(); at += 8) {
    bool pins = at >= shm::PinsOffset() && at < shm::MarksOffset(segments);
    // Every pin at once would only say that a client can pin everything; a few are the interesting
    // case.
    uint64_t word = pins && !random_.Chance(0.03) ? 0 : random_.Next();
    std::memcpy(memory.data() + at, &word, 8);
  }
  world_->After(Between(100ms, 5s), kWorld, [&host, session] { host.LeaveSession(session); });
}

}  // namespace holdfast::sim
