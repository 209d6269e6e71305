// SPDX-License-Identifier: Apache-2.0
// A writer and a reader of a stream as processes of the simulation: the flows that ship, over
// simulated networks and memory.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "jobclient/client/cluster_view.h"
#include "jobclient/client/stream_reading.h"
#include "jobclient/client/stream_writing.h"
#include "tests/sim/node_host.h"
#include "tests/sim/stream_oracle.h"
#include "wire/shelf.h"
#include "wire/stream_chunk.h"

namespace holdfast::sim {

struct StreamSetup {
  std::string name;
  HostId host = 0;
  NodeHost* own_node = nullptr;
  jobclient::JobOptions job;  // cluster and members
  wire::StreamTerms terms;    // of the one who creates it
  bool create = true;
  uint64_t chunk_bytes = 0;
  uint64_t records = 0;  // to be written
  Duration think{};      // mean time between two chunks
};

class StreamWriterProcess {
 public:
  StreamWriterProcess(Fabric* fabric, FarWorld* far, ProcessId process, const StreamSetup* setup,
                      StreamOracle* oracle);
  ~StreamWriterProcess();

  void Start();
  // As kill -9. Afterwards only the destructor may follow.
  void Kill() { world_->Kill(process_); }
  bool done() const { return done_; }
  ProcessId process() const { return process_; }
  SimClock& clock() { return env_.clock; }

 private:
  static constexpr uint32_t kPlaces = 8;
  client::StreamWriting::Events Events();
  void Write();
  void SendChunk(uint32_t place);
  void LookAtHidden();

  World* world_;
  ProcessId process_;
  const StreamSetup* setup_;
  StreamOracle* oracle_;
  Random random_;
  SimEnv env_;
  std::shared_ptr<RegionFile> region_;
  std::unique_ptr<stream::Shelf> shelf_;
  std::shared_ptr<SessionFile> session_;
  std::unique_ptr<SimBulkServer> server_;
  std::unique_ptr<client::ClusterView> cluster_;
  std::unique_ptr<client::StreamWriting> writing_;
  uint64_t writer_ = 0;
  wire::StreamTerms terms_;
  std::vector<uint32_t> free_, hidden_;
  uint64_t written_ = 0;  // records
  uint32_t chunks_ = 0;
  bool opened_ = false;
  bool done_ = false;
};

class StreamReaderProcess {
 public:
  StreamReaderProcess(Fabric* fabric, FarWorld* far, ProcessId process, const StreamSetup* setup,
                      StreamOracle* oracle);
  ~StreamReaderProcess();

  void Start();
  void Kill();
  // It came to the end of the stream, or cannot.
  bool done() const { return done_; }
  ProcessId process() const { return process_; }
  SimClock& clock() { return env_.clock; }

 private:
  void Open();
  void Take(client::StreamDelivery delivery);
  void TakeChunk(const client::StreamDelivery& delivery);

  World* world_;
  ProcessId process_;
  const StreamSetup* setup_;
  StreamOracle* oracle_;
  Random random_;
  SimEnv env_;
  std::shared_ptr<SessionFile> session_;
  std::unique_ptr<client::ClusterView> cluster_;
  std::unique_ptr<client::StreamReading> reading_;
  uint64_t stream_ = 0;
  StreamOracle::Progress next_;
  std::set<uint64_t> gone_;  // writers that it was told are gone
  uint32_t tries_ = 0;
  bool done_ = false;
};

}  // namespace holdfast::sim
