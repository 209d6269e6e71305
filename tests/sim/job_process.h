// SPDX-License-Identifier: Apache-2.0
// A training job of the simulation: plans its list, reads it in order for some epochs as the real
// client library does (own memory first, then what the ordered reader brings), holds views for a
// while, and looks at every byte.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "holdfast/object_list.h"
#include "jobclient/chunks.h"
#include "jobclient/job.h"
#include "jobclient/ordered_reader.h"
#include "tests/sim/node_host.h"

namespace holdfast::sim {

struct JobSetup {
  std::string name;
  HostId host = 0;               // a node's host, or beyond them
  NodeHost* own_node = nullptr;  // on that host; null: none
  jobclient::JobOptions job;
  jobclient::OrderedReaderOptions reader;
  std::vector<uint32_t> objects;  // indices in the far world, in list order
  uint64_t chunk = 0;             // what is larger is read in chunks; 0: nothing is
  uint32_t epochs = 1;
  Duration think{};       // mean time between two reads
  double view_share = 0;  // of local reads that are views
  Duration hold_views{};  // longest
};

// An object as a job listed it before it started: an object that changes is in the cluster in two
// versions.
struct ListedObject {
  const FarObject* object;
  uint64_t size;
  VersionHash version;
};

struct ReadCounts {
  uint64_t reads = 0;
  uint64_t local = 0;
  uint64_t views = 0;
  uint64_t peer = 0;
  uint64_t through_home = 0;
  uint64_t far = 0;
  uint64_t own_disk = 0;
  uint64_t failed = 0;  // because the far store refuses
  uint64_t chunks = 0;  // reads of a part of something larger
};

class JobProcess {
 public:
  // `listed_at`: when its list was made.
  JobProcess(Fabric* fabric, FarWorld* far, ProcessId process, const JobSetup* setup,
             ReadCounts* counts, Time listed_at);
  ~JobProcess();

  void Start();
  // All epochs are read and the job has said that it ends.
  bool done() const { return done_; }
  // As kill -9: pins and session stay as they are until the daemon notices. Afterwards only the
  // destructor may follow.
  void Kill();

  ProcessId process() const { return process_; }
  SimClock& clock() { return env_.clock; }
  const std::optional<jobclient::PlanReport>& report() const { return report_; }
  // Objects, and the chunks of those that are cut.
  const std::vector<ListedObject>& listed() const { return listed_; }
  // For "stuck" messages.
  std::string Where() const;

 private:
  struct HeldView {
    LocalView view;
    ListedObject object;
  };
  void Planned(Result<jobclient::PlanReport> report);
  void StartEpoch();
  void ReadNext();
  void WaitFor(uint64_t ordinal);
  void Ready(uint64_t ordinal, jobclient::ReadResult result);
  bool ExpectLocal(uint32_t index);
  bool ReadLocally(const ListedObject& object, uint32_t index);
  bool ViewLocally(const ListedObject& object, uint32_t index);
  void Take(jobclient::ReadResult result);
  bool Changed(const ListedObject& object) const;
  void Failed(const ListedObject& object, const Status& status);
  void CheckNotEnded(const ListedObject& object);
  void Check(const ListedObject& object, ByteView bytes, std::string_view what);
  void Advance(uint64_t how, uint64_t hash);
  void ReleaseView(uint64_t id);
  void UseSession();
  const ListedObject& ObjectAt(uint64_t ordinal) const { return listed_[order_[ordinal]]; }

  World* world_;
  FarWorld* far_;
  ProcessId process_;
  const JobSetup* setup_;
  ReadCounts* counts_;
  Random random_;
  SimEnv env_;
  std::vector<ListedObject> listed_;
  ObjectList list_;
  std::optional<jobclient::ChunkedList> chunks_;
  std::shared_ptr<SessionFile> session_;
  std::unique_ptr<jobclient::Job> job_;
  std::unique_ptr<jobclient::OrderedReader> reader_;
  std::optional<jobclient::PlanReport> report_;

  uint32_t epoch_ = 0;
  std::vector<uint32_t> order_;
  uint64_t next_ = 0;
  bool waiting_ = false;
  bool asked_ = false;  // Missed was called for next_
  uint32_t tries_ = 0;  // for next_
  std::map<uint32_t, bool> expected_local_;
  std::map<uint64_t, jobclient::ReadResult> ready_;
  uint64_t last_view_ = 0;
  std::map<uint64_t, HeldView> views_;
  bool done_ = false;
};

}  // namespace holdfast::sim
