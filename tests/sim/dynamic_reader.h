// SPDX-License-Identifier: Apache-2.0
// A job of the simulation that announces nothing: it reads objects as the client library does (own
// memory first, then where the snapshot log says or by way of the home), many at a time, and looks
// at every byte, at every end, and at what a look taught it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "jobclient/client/cluster_view.h"
#include "jobclient/client/single_read.h"
#include "jobclient/client/whereabouts.h"
#include "tests/sim/dynamic_counts.h"
#include "tests/sim/node_host.h"

namespace holdfast::sim {

struct DynamicSetup {
  std::string name;
  HostId host = 0;               // a node's host, or beyond them
  NodeHost* own_node = nullptr;  // on that host; null: none
  jobclient::JobOptions job;     // cluster and members
  client::WhereaboutsOptions prices;
  std::vector<uint32_t> objects;  // in the far world, the ones that are wanted most first
  uint64_t chunk = 0;             // of what is larger a chunk is read, too; 0: of nothing
  double die_share = 0;           // of decisions: any way, any node
  double version_share = 0;       // of reads that want one version
  Duration timeout{};             // longest
  Duration think{};               // mean time between two reads
  uint32_t most = 1;              // under way at a time
};

// Shows what looks found, after the core has seen it.
class LookWatch : public Network {
 public:
  using Looked = std::function<void(NodeId, const Oid&, const BulkOutcome&)>;
  LookWatch(Network* real, Looked looked) : real_(real), looked_(std::move(looked)) {}
  PeerId Connect(const std::string& endpoint) override { return real_->Connect(endpoint); }
  void Disconnect(PeerId peer) override { real_->Disconnect(peer); }
  void Send(const std::vector<PeerId>& peers, Frames frames) override {
    real_->Send(peers, std::move(frames));
  }
  void OnMessage(std::function<void(PeerId, Frames)> handler) override {
    real_->OnMessage(std::move(handler));
  }
  void BulkRead(const std::string& bulk_endpoint, BulkMode mode, std::vector<BulkItem> items,
                Time deadline, std::function<void(size_t, BulkOutcome)> each) override;

 private:
  Network* real_;
  Looked looked_;
};

class DynamicReader {
 public:
  DynamicReader(Fabric* fabric, FarWorld* far, ProcessId process, const DynamicSetup* setup,
                DynamicCounts* counts);
  ~DynamicReader();

  void Start();
  // Begins no more reads.
  void Stop() { stopped_ = true; }
  bool done() const { return stopped_ && reads_.empty(); }
  // As kill -9. Afterwards only the destructor may follow.
  void Kill();

  ProcessId process() const { return process_; }
  SimClock& clock() { return env_.clock; }
  // For "stuck" messages.
  std::string Where() const;

 private:
  struct Read {
    const FarObject* object = nullptr;
    std::optional<FarInfo> wanted;
    // By the world's clock: when its own jumps, what has been asked of others does not end earlier.
    Time begun;
    Time deadline;
    uint32_t overdue = 0;
  };
  Env WatchedEnv();
  void Next();
  const FarObject& Choose();
  void Watch();
  void UseSession();
  bool ReadLocally(const FarObject& object, const std::optional<FarInfo>& wanted);
  snapshot::Decision Decide(const Oid& oid);
  void Looked(NodeId node, const Oid& oid, const BulkOutcome& outcome);
  void Ended(uint64_t id, Result<client::SingleRead::Found> found);
  void Larger(const Read& read, const FarInfo& info, uint64_t chunk);
  void Failed(const Read& read, const Status& status);
  // The bytes are those of `version`, or, if it is 0, of any version that there was until now.
  void Check(const FarObject& object, VersionHash version, ByteView bytes, std::string_view what);

  World* world_;
  FarWorld* far_;
  ProcessId process_;
  const DynamicSetup* setup_;
  DynamicCounts* counts_;
  Random random_;
  SimEnv env_;
  LookWatch network_;
  std::shared_ptr<SessionFile> session_;
  std::unique_ptr<client::ClusterView> cluster_;
  std::unique_ptr<client::Whereabouts> whereabouts_;
  bool stopped_ = false;
  uint64_t last_read_ = 0;
  std::map<uint64_t, Read> reads_;  // under way
};

}  // namespace holdfast::sim
