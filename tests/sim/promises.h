// SPDX-License-Identifier: Apache-2.0
// The oracle of promises. It reads along on the wire who confirmed what and what was acknowledged,
// and looks into the nodes' tiers at random times: what was promised and has once been there is
// still there, and held, until min(t2, the job's end, the end of its lease), unless the node has
// told the job. A daemon that has read the journal of one that was killed must know that one's jobs,
// and keep its promises. It takes the careful side wherever the protocol leaves room.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "tests/sim/fabric.h"
#include "tests/sim/node_host.h"

namespace holdfast::sim {

// A job's objects in the order of its manifest.
struct PlannedObject {
  Oid oid;
  VersionHash version = 0;
};
using PlannedList = std::vector<PlannedObject>;

struct PromiseCounts {
  uint64_t promised = 0;  // objects acknowledged
  uint64_t looks = 0;     // at promised objects, in the tiers
  uint64_t here = 0;      // of those, loaded
  uint64_t below = 0;     // of those, held on the disk alone
  uint64_t carried = 0;   // objects that were promised by one daemon and are by the next
};

class Promises {
 public:
  // `host_of` names the host whose daemon is process `p` now, or null.
  Promises(World* world, const FarWorld* far, std::function<NodeHost*(ProcessId)> host_of)
      : world_(world), far_(far), host_of_(std::move(host_of)) {}

  // What a job process reads.
  void AddJob(ProcessId process, PlannedList list) { lists_[process] = std::move(list); }
  void Observe(const Delivery& delivery);
  // Looks into the tier of the daemon that runs on `host` now.
  void Check(NodeHost& host);
  const PromiseCounts& counts() const { return counts_; }

 private:
  struct Chunk {
    Bitmap confirmed;        // in every Confirm that was handled
    Bitmap promised;         // in an Ack that the job has
    Bitmap keeps;            // confirmed as what is there already: held from the start
    std::vector<bool> held;  // once seen so; a load is held when its turn in the queue has come
    uint32_t first = 0;
    Time received;      // of the first Confirm, by the node's clock
    Time confirmed_at;  // the same by the world's
    Time until = Time::Max();
  };
  // A promise that is not kept, and that the job was not told of yet.
  struct Absence {
    Time since;  // by the node's clock
    uint32_t looks = 0;
  };
  struct Tenancy {  // of one job at one daemon
    const PlannedList* list = nullptr;
    uint64_t number = 0;  // as the node tells it
    Time lease_until{};
    Duration least_lease = Duration::max();  // of all that the job has asked for
    bool ended = false;
    bool carried = false;      // from an earlier daemon; this one has not yet said that it knows it
    bool must_know = false;    // ... and it has to
    std::set<uint32_t> calls;  // by number
    std::map<std::pair<uint32_t, uint32_t>, Chunk> chunks;  // by call and first
    std::map<uint32_t, Time> lost;                          // reported, by index
    std::map<uint32_t, Absence> missing;                    // by index
    uint64_t loads_left = 0;                                // as its node said last
  };
  using Key = std::pair<ProcessId, JobId>;

  void Carry(NodeHost& host, ProcessId process, JobId job);
  bool MustKnow(const NodeHost& host, const Tenancy& tenancy) const;
  void Known(NodeHost* host, Key key, const wire::Progress& progress, Tenancy& tenancy);
  void AtNode(NodeHost& host, const Delivery& delivery);
  void AtJob(const Delivery& delivery);
  void OnConfirm(NodeHost& host, const Delivery& delivery, const wire::Confirm& confirm);
  void OnAck(const Delivery& delivery, const wire::Ack& ack);
  void OnProgress(const Delivery& delivery, const wire::Progress& progress);
  void CheckTenancy(NodeHost& host, JobId job, Tenancy& tenancy, bool all_loaded);
  void FindBelow(const NodeHost& host, const std::vector<Oid>& oids,
                 const std::vector<VersionHash>& versions, Bitmap* here, Bitmap* held);
  void CheckObject(NodeHost& host, JobId job, Tenancy& tenancy, Chunk& chunk, uint32_t bit,
                   bool here, bool held, bool all_loaded);

  World* world_;
  const FarWorld* far_;
  std::function<NodeHost*(ProcessId)> host_of_;
  std::map<ProcessId, PlannedList> lists_;
  std::map<Key, Tenancy> tenancies_;
  // Jobs to which a daemon has promised an object, ever.
  std::map<std::tuple<ProcessId, Oid, VersionHash>, std::set<JobId>> promised_to_;
  PromiseCounts counts_;
};

}  // namespace holdfast::sim
