// SPDX-License-Identifier: Apache-2.0
// A host with its region and session files, and the daemon that runs on it now, if one does. Every
// start of the daemon is a new process with a new incarnation, over the same region (warm) or a new
// one (cold).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "base/env.h"
#include "base/ranged_store.h"
#include "cached/node.h"
#include "cached/store/memory_tier.h"
#include "cached/store/sessions.h"
#include "tests/sim/fabric.h"
#include "tests/sim/far_world.h"
#include "tests/sim/sim_bulk.h"
#include "tests/sim/sim_clock.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_far_store.h"
#include "tests/sim/sim_journal.h"
#include "tests/sim/sim_memory.h"
#include "tests/sim/sim_network.h"

namespace holdfast::sim {

// What the core says goes to the trace's printout.
class SimLog : public Log {
 public:
  SimLog(World* world, std::string who) : world_(world), who_(std::move(who)) {}
  void Write(LogLevel level, std::string_view line) override;

 private:
  World* world_;
  std::string who_;
};

// One process of the simulation with everything that base/env.h gives it.
struct SimEnv {
  SimEnv(Fabric* fabric, FarWorld* far, ProcessId process, HostId host,
         SimClockOptions clock_options, std::string endpoint);
  Env env() { return {&clock, &network, &ranged, &random, &log}; }

  SimClock clock;
  SimNetwork network;
  SimFarStore far;
  RangedStore ranged;  // in front of it
  Random random;
  SimLog log;
};

// Clocks differ; a slow processor is one of the faults.
SimClockOptions RandomClock(World* world, Random* random);

std::string ControlEndpoint(NodeId node);
std::string BulkEndpoint(NodeId node);

struct NodeSetup {
  cached::NodeOptions node;  // incarnation and endpoints are filled in at each start
  store::MemoryTierOptions tier;
  uint32_t disk_segments = 0;  // 0: no disk
  uint64_t disk_segment_bytes = 0;
  uint64_t journal_bytes = 0;  // 0: no journal
  Time quiet_until{};          // before, its visitors fetch nothing, so that it has room
};

// A daemon that was killed.
struct EarlierLife {
  ProcessId process = kWorld;
  Time killed_at;        // by the world's clock
  Time local_killed_at;  // by its own
};

class NodeHost {
 public:
  NodeHost(Fabric* fabric, FarWorld* far, NodeSetup setup);
  ~NodeHost();

  void Start(bool warm);
  // As kill -9.
  void Kill();
  bool up() const { return daemon_ != nullptr; }
  Time last_start() const { return last_start_; }  // of the world's time

  NodeId node() const { return setup_.node.node; }
  ProcessId process() const { return up() ? daemon_->process : kWorld; }
  SimClock& clock() { return daemon_->env.clock; }
  store::MemoryTier& tier() { return *daemon_->tier; }
  // Null without a disk.
  const store::DiskTier* disk() const { return daemon_->disk_tier.get(); }
  cached::Node& core() { return *daemon_->node; }
  const SimBulkServer& bulk() const { return *daemon_->bulk; }
  // Whose promises this daemon has to know, the last one first: those that wrote the journal that it
  // has read.
  const std::vector<EarlierLife>& earlier() const { return earlier_; }
  Time local_start() const { return local_start_; }
  Time quiet_until() const { return setup_.quiet_until; }
  uint64_t far_in_flight() const { return daemon_->env.far.in_flight(); }

  // A client opens and leaves a session; null while no daemon runs. The daemon notices the end of a
  // client a little later.
  std::shared_ptr<SessionFile> OpenSession();
  void LeaveSession(const std::shared_ptr<SessionFile>& session);
  const std::shared_ptr<RegionFile>& region() const { return region_; }
  size_t sessions() const { return clients_.size(); }

 private:
  struct Daemon {
    ProcessId process;
    SimEnv env;
    store::Sessions sessions;
    std::unique_ptr<store::MemoryTier> tier;
    std::unique_ptr<SimDisk> disk;
    std::unique_ptr<store::DiskTier> disk_tier;
    std::unique_ptr<SimJournal> journal;
    std::unique_ptr<cached::Node> node;
    std::shared_ptr<SessionFile> bulk_session;
    std::unique_ptr<SimBulkServer> bulk;
    Daemon(Fabric* fabric, FarWorld* far, ProcessId p, HostId host, SimClockOptions clock,
           std::string endpoint, uint32_t segments)
        : process(p), env(fabric, far, p, host, clock, std::move(endpoint)), sessions(segments) {}
  };

  void Boot();
  void OpenDisk();

  Fabric* fabric_;
  World* world_;
  FarWorld* far_;
  NodeSetup setup_;
  Random random_;
  uint32_t starts_ = 0;
  Time last_start_{};
  uint32_t last_session_ = 0;
  shm::RegionPlan plan_;
  std::shared_ptr<RegionFile> region_;
  std::shared_ptr<DiskImage> disk_image_;        // outlives its daemons
  std::shared_ptr<JournalImage> journal_image_;  // likewise
  std::vector<EarlierLife> earlier_;
  Time local_start_;
  uint64_t boots_ = 0;
  std::map<uint32_t, std::shared_ptr<SessionFile>>
      clients_;  // whose locks are held, on this region
  std::unique_ptr<Daemon> daemon_;
};

}  // namespace holdfast::sim
