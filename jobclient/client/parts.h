// SPDX-License-Identifier: Apache-2.0
// What is behind the public classes: one loop thread that decides, with its network, far store and
// own node, shared by all jobs of a client; each job in an environment of its own.
#pragma once

#include <atomic>
#include <condition_variable>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/ranged_store.h"
#include "holdfast/client.h"
#include "io/bulk/bulk_client.h"
#include "io/far/far_store.h"
#include "io/net/cluster_key.h"
#include "io/net/event_loop.h"
#include "io/net/zmq_network.h"
#include "io/shm/attach.h"
#include "jobclient/chunks.h"
#include "jobclient/client/cluster_view.h"
#include "jobclient/client/job_env.h"
#include "jobclient/client/loop_thread.h"
#include "jobclient/client/once_log.h"
#include "jobclient/client/own_disk.h"
#include "jobclient/client/single_read.h"
#include "jobclient/client/whereabouts.h"
#include "jobclient/job.h"
#include "jobclient/ordered_reader.h"
#include "packs/packed_store.h"

namespace holdfast {

namespace client {

// A job on the loop's thread. It stays there after its PlannedJob has gone until its last read has
// landed.
struct LoopJob {
  LoopJob(const Env& real, NetworkSwitch* lines) : env(real, lines) {}
  ObjectList list;
  std::optional<jobclient::ChunkedList> chunks;  // of it: what the job plans and reads
  JobEnv env;
  std::unique_ptr<jobclient::Job> job;
};

// Of the parts of an object the farthest source counts.
inline ObjectSource FartherOf(ObjectSource a, ObjectSource b) {
  auto distance = [](ObjectSource source) {  // the own disk came last into the enumeration
    return source == ObjectSource::kOwnDisk ? 1 : 2 * static_cast<int>(source);
  };
  return distance(a) < distance(b) ? b : a;
}

class NoLog : public Log {
 public:
  void Write(LogLevel, std::string_view) override {}
};

}  // namespace client

// In the order of their making.
struct Client::Parts {
  ClientOptions options;
  client::NoLog no_log;
  std::unique_ptr<client::OnceLog> once_log;
  Log* log = nullptr;
  std::optional<net::ClusterKey> key;
  std::unique_ptr<shm::LocalAttachment> own;
  std::unique_ptr<net::EventLoop> loop;
  std::unique_ptr<bulk::BulkClient> bulk;
  std::unique_ptr<client::OwnDisk> own_disk;  // in front of it; null: there is none to be read
  std::unique_ptr<far::FarClient> far;
  std::unique_ptr<packs::PackedStore> packed;  // in front of it
  std::unique_ptr<RangedStore> ranged;         // in front of that
  std::unique_ptr<net::ZmqNetwork> network;
  std::unique_ptr<Random> random;
  std::unique_ptr<client::NetworkSwitch> lines;
  std::unique_ptr<client::JobEnv> cluster_env;
  std::unique_ptr<client::ClusterView> cluster;
  std::unique_ptr<client::Whereabouts> whereabouts;
  std::list<std::unique_ptr<client::LoopJob>> buried;  // jobs that are over but for reads under way
  std::unique_ptr<client::LoopThread> thread;
  std::atomic<uint64_t> chunk{0};  // as far as nodes have greeted

  ~Parts();
  Status Open();
  Status OpenNetwork();
  Status OpenPacked();
  bool IsOwnNode(const std::string& endpoint) const;
  Env env() const;
  client::SingleRead::World world() const {
    return {env(), cluster.get(), whereabouts.get(), options.chunk_bytes};
  }
  // When the nodes have greeted; 0: nothing is cut. Not on the loop's thread.
  uint64_t ChunkBytes();
  void NoteChunk();  // on the loop's thread
  jobclient::JobOptions JobOptionsFor(const PlanOptions& plan) const;
  NodeId own_node() const { return own == nullptr ? kNoNode : own->node(); }

  // On the loop's thread.
  void Bury(std::unique_ptr<client::LoopJob> job);
  void Sweep();

  Result<DropResult> DropEverywhere(const std::string& prefix, ByteView oids, Duration timeout);
  // An object in the own node's memory: a view, or a copy when this process pins as much as it may.
  // Any thread.
  //
  // ReadLocally also finds a range in the whole and in the chunk around it, if they are there.
  std::optional<Object> ReadLocally(const std::string& uri, const std::optional<FarInfo>& version);
  std::optional<Object> ReadLocal(std::string_view name, uint64_t position, const Oid& oid,
                                  VersionHash version);
};

struct ClientInternals {
  static Client::Parts& Of(Client& client) { return *client.parts_; }
};

struct PlannedJob::Parts {
  Client::Parts* client = nullptr;
  std::unique_ptr<client::LoopJob> loop_job;
  PlanReport planned;
  PlanOptions options;
  bool held = false;
  std::atomic<bool> released{false};

  Status Cut(ObjectList list, jobclient::JobOptions* job);
  PlanReport Whole(PlanReport report) const;
};

struct Reader::Parts {
  Client::Parts* client = nullptr;
  PlannedJob::Parts* job = nullptr;
  ReaderOptions options;  // with the order
  // The user's thread.
  uint64_t given = 0;  // of the user's order
  uint64_t next = 0;   // of the pieces of that order: one of each object that is not cut
  uint64_t told = 0;   // the loop knows that what is below was consumed
  uint64_t untold_bytes = 0;
  bool loads_come = true;  // the last one that the loop waited for came into the own node's memory
  ReaderReport report;     // all but the detours
  // The loop's thread.
  std::unique_ptr<jobclient::OrderedReader> ordered;
  // Both.
  std::mutex mutex;
  std::condition_variable arrived;
  std::map<uint64_t, jobclient::ReadResult> ready;
  uint64_t waiting_for = UINT64_MAX;

  void Open();
  Result<std::optional<Object>> Next();
  Result<Object> NextPiece(uint32_t piece);
  Result<Object> PutTogether(uint32_t first, uint32_t last, uint64_t size);
  std::optional<Object> TryLocal(uint32_t index);
  std::optional<Object> Watch(uint32_t index);
  bool IsReady(uint64_t ordinal);
  jobclient::ReadResult Await();
  void Tell(bool missed);
  void OnReady(uint64_t ordinal, jobclient::ReadResult result);
  void Passed(uint64_t pieces, uint64_t bytes);
};

}  // namespace holdfast
