// SPDX-License-Identifier: Apache-2.0
// The client library of Holdfast: a job plans its list of objects with a cluster, and reads them in
// order from its own node's memory, from other nodes, and from far away only where nobody has them.
// Nothing else has to be included.
//
//   auto client = holdfast::Client::Connect(options);          // Result<std::unique_ptr<Client>>
//   auto job = (*client)->Plan(std::move(list));                // sizes and ETags are looked up where missing
//   auto reader = (*job)->Read({.order = ShuffledOrder((*job)->list().size(), seed, epoch)});
//   while (true) {
//     auto object = (*reader)->Next();                          // Result<std::optional<Object>>
//     if (!object.ok()) { ... one object failed; the next call reads the next one ... }
//     if (!object->has_value()) break;                          // the end
//     Use((**object).name(), (**object).bytes());
//   }
//
// Errors are Status and Result<T> (base/status.h): a code to branch on, a text for a person.
// Nothing throws. Sizes are in bytes, times in microseconds unless a type says otherwise.
//
// Threads: a Client may be used from any thread. A PlannedJob too. A Reader and its Objects belong
// to one thread at a time; a job may have many readers, one for each rank or loader thread. The
// library runs threads of its own, so nothing here may be used in a forked child: fork first, then
// connect.
//
// Lifetimes: Objects before their Reader's Client, Readers before their PlannedJob, PlannedJobs
// before their Client.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/status.h"
#include "base/units.h"
#include "holdfast/explanation.h"
#include "holdfast/object_list.h"
#include "holdfast/plan_report.h"
#include "wire/local_reader.h"

namespace holdfast {

// Where objects come from when nobody in the cluster has them, and what that costs.
struct FarSettings {
  std::string
      s3_endpoint;       // "https://s3.eu-central-1.amazonaws.com": completes s3://bucket/key names
  std::string region{};  // empty: us-east-1
  bool virtual_hosted = false;  // https://bucket.host/key instead of https://host/bucket/key
  bool aws_settings =
      true;  // credentials, region and endpoint from AWS_* variables and ~/.aws where not given here
  std::string ca_bundle{};  // PEM file; empty: the system's
  std::vector<std::string>
      directory_roots;              // file: objects are read below these only; empty: anywhere
  std::vector<std::string> packed;  // prefixes of packed data sets, as `holdfast pack` made them
  uint32_t max_connections = 256;
  MicroUsd micro_usd_per_1000_gets = 400;
  MicroUsd micro_usd_per_1000_lists = 5'000;
  MicroUsd micro_usd_per_gb = 90'000;
};

constexpr uint64_t kLeastChunk = 4 * kKiB;

struct ClientOptions {
  struct Node {
    NodeId id = kNoNode;    // as in the cluster's own configuration
    std::string control{};  // "tcp://10.0.0.1:7070"
  };
  std::string cluster = "holdfast";
  std::vector<Node> nodes{};  // may be empty: then everything is read far away
  std::string
      attach;  // the socket of this host's node, "<its state directory>/attach.sock"; empty: none
  std::string cluster_key_file{};  // empty: the cluster has no key and is on this host
  FarSettings far{};
  // What is larger is read, loaded and kept in chunks of so many bytes, or as many as every node
  // promises (memory.max_object), rounded down to 4 KiB; the same for all clients of a cluster. At
  // least kLeastChunk, or 0: nothing is cut.
  uint64_t chunk_bytes = 16 * kMiB;
  MicroUsd micro_usd_per_hour =
      1'000'000;       // the price of waiting: to look in the cluster, or go far
  Log* log = nullptr;  // gets warnings from any thread; nullptr: nobody does. Outlives the client
};

// From a TOML file (docs/operators.md has the keys), overridden by the environment:
// HOLDFAST_CLIENT_ and the key in capitals with '.' as '_', as the command line does it. kInvalid
// names file, line, key and what is allowed. An empty path is no file.
Result<ClientOptions> LoadClientOptions(const std::string& path);

// What was spent far away by this process itself. What the nodes spent for a job is in JobProgress.
struct FarSpending {
  uint64_t gets = 0;
  uint64_t heads = 0;
  uint64_t lists = 0;
  uint64_t bytes = 0;
  uint64_t retries = 0;
  uint64_t errors = 0;
  MicroUsd money = 0;
};

enum class ObjectSource : uint8_t {
  kLocal = 0,        // this host's node, mapped memory
  kPeer = 1,         // a node that had promised it, or was known to have it
  kThroughHome = 2,  // a node that fetched it for us
  kFar = 3,          // the far store, by this process
  kOwnDisk = 4,      // this host's node's disk, by this process
};
constexpr size_t kObjectSources = 5;

// An object that was read: a view of mapped memory, or bytes of its own; the same type, and nobody
// needs to know. Move-only. A view keeps its part of the node's memory from being reused, so let go
// of objects soon.
class Object {
 public:
  Object() = default;
  // Canonical. Lives as long as the object and, for one from a Reader, its PlannedJob.
  std::string_view name() const { return own_name_.empty() ? name_ : std::string_view(own_name_); }
  uint64_t position() const { return position_; }  // in the job's list; 0 from Client::Get
  uint64_t size() const { return bytes().size(); }
  // Valid until the object is destroyed or assigned to.
  ByteView bytes() const { return view_ ? view_.payload() : owned_.view(); }
  std::string_view text() const { return AsText(bytes()); }
  ObjectSource source() const { return source_; }
  bool zero_copy() const { return static_cast<bool>(view_); }

 private:
  friend class Client;
  friend class Reader;
  Object(std::string_view name, uint64_t position, LocalView view)
      : name_(name), position_(position), view_(std::move(view)) {}
  Object(std::string_view name, uint64_t position, Buffer owned, ObjectSource source)
      : name_(name), position_(position), owned_(std::move(owned)), source_(source) {}
  Object&& WithOwnName() && {
    own_name_ = name_;
    return std::move(*this);
  }

  std::string_view name_;
  std::string own_name_{};
  uint64_t position_ = 0;
  LocalView view_;
  Buffer owned_;
  ObjectSource source_ = ObjectSource::kLocal;
};

struct PlanOptions {
  // How long the nodes shall keep the objects at most. The promise ends earlier with the job: when
  // its PlannedJob is destroyed, or `lease` after its process died.
  Duration hold = std::chrono::hours(24);
  Duration lease = std::chrono::seconds(15);
  uint8_t priority = 100;    // higher goes first in the nodes' load queues
  double objects_per_s = 0;  // the pace of the reader, all ranks together; 0: as fast as can be
  std::vector<uint32_t>
      order;             // positions in the order of the first reading; empty: that of the list
  bool dry_run = false;  // only say what it would take: nothing is reserved, loaded or held
  // Called on the calling thread now and then while sizes and ETags are looked up.
  std::function<void(uint64_t done, uint64_t total)> progress{};
};

// How the nodes get on with a job's loads.
struct JobProgress {
  uint64_t kept_objects = 0;  // here and held
  uint64_t loads_left = 0;
  uint64_t loads_done = 0;
  uint64_t loaded_bytes = 0;
  uint64_t far_requests = 0;  // spent by the nodes for this job
  uint64_t far_bytes = 0;
};

struct ReaderOptions {
  std::vector<uint32_t>
      order;  // positions of the job's list, each any number of times; empty: the list as it is
  uint64_t look_ahead_bytes = 64 * kMiB;
  uint32_t look_ahead_objects = 1'024;
  Duration wait =
      std::chrono::seconds(30);  // for a promised load, before the object is read another way
  Duration far_deadline = std::chrono::seconds(300);
  bool last_pass = false;  // the job does not read these objects again
};

struct ReaderReport {
  uint64_t objects[kObjectSources] = {};  // by ObjectSource
  uint64_t bytes[kObjectSources] = {};
  uint64_t failed = 0;
  uint64_t detours = 0;  // ways that were tried and did not do
  Duration waited{};     // in Next()
};

// Reads objects of a planned job in order, with a bounded look-ahead. A read fails only when the
// far store says so too: kNotFound, kDenied, kChanged (it is no longer the version that was
// planned), kCorrupt, kUnavailable, kTimeout.
class Reader {
 public:
  ~Reader();
  Reader(const Reader&) = delete;

  // The next object; nullopt at the end, again and again. An error is that of one object: the next
  // call goes on with the next one. Blocks at most for the waits in ReaderOptions.
  Result<std::optional<Object>> Next();
  // How many objects Next() has come past, and how many there are.
  uint64_t done() const;
  uint64_t total() const;
  ReaderReport Report() const;

 private:
  friend class PlannedJob;
  struct Parts;
  explicit Reader(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

// A job whose list the cluster knows. Its destruction ends the job: the objects lose their promise
// and stay until others need the room.
class PlannedJob {
 public:
  ~PlannedJob();
  PlannedJob(const PlannedJob&) = delete;

  // The job's number: Client::Release takes it.
  JobId id() const;
  // The list as planned: names canonical, every size and ETag known. In its order.
  const ObjectList& list() const;
  // As it was planned, and as it is now that nodes were lost and won.
  const PlanReport& planned() const;
  PlanReport Report() const;
  JobProgress Progress() const;

  // kInvalid for a position outside the list, and for a dry run. The reader must be destroyed
  // before the job.
  Result<std::unique_ptr<Reader>> Read(ReaderOptions options = {});

  // Waits until no load is left or `timeout` has passed; true when none is. `progress` is called on
  // this thread about ten times a second.
  bool WaitForLoads(Duration timeout, const std::function<void(const JobProgress&)>& progress = {});

  // From now on the promises last for PlanOptions::hold whatever becomes of this process: neither
  // the destruction of this object nor its end releases them. kTimeout when a node did not confirm
  // it.
  Status Hold();
  // Ends the promises now. What is being read goes on, from wherever the objects are.
  void Release();

 private:
  friend class Client;
  friend class Reader;
  struct Parts;
  explicit PlannedJob(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

struct GetOptions {
  uint32_t in_flight = 64;
  Duration timeout = std::chrono::seconds(300);  // for each, and each chunk of a large one
};

// What this process has read out of the files of its own node's disk.
struct OwnDiskReads {
  uint64_t objects = 0;
  uint64_t bytes = 0;
  uint64_t missed = 0;  // they did not lie there (any more), or not whole: the node gave them
  uint64_t failed = 0;  // the files could not be opened or read: the node gave them
};

struct DropResult {
  uint64_t dropped_objects = 0;  // chunks and ranges count by themselves
  uint64_t dropped_bytes = 0;
  uint64_t held_objects = 0;  // matched, but kept by promises
  uint32_t nodes = 0;         // that answered
};

class Client {
 public:
  // Never fails because nodes are away: they are found when they come. kInvalid for options that
  // cannot be, kNotFound and kDenied for the key file, and whatever attaching to the own node says
  // (a node that is not running: kUnavailable).
  static Result<std::unique_ptr<Client>> Connect(ClientOptions options);
  ~Client();
  Client(const Client&) = delete;

  // The one name of an object: "/data/a b", "file:///data/a%20b", "s3://bucket/key",
  // "https://host/path".
  Result<std::string> Canonical(std::string_view name) const;
  // The name of a range, "NAME#bytes=FIRST-LAST": an object like any other, in lists, calls and the
  // cluster. It is loaded without the rest. kInvalid for no bytes, bytes beyond 2^62, and a range of a
  // range.
  Result<std::string> RangeName(std::string_view name, uint64_t offset, uint64_t length) const;

  // Makes every name canonical and looks up sizes and ETags where they are missing, many at a time.
  // The error is that of the first object in the list that cannot be had, with the number of all
  // those. `progress` runs on this thread.
  Status Resolve(ObjectList* list,
                 const std::function<void(uint64_t done, uint64_t total)>& progress = {});

  // Everything below a directory, bucket or key prefix, sorted by name, with sizes and ETags: a
  // list that can be planned. Sub-prefixes are listed in parallel. `progress` gets the number of
  // objects so far, on this thread.
  Result<ObjectList> List(std::string_view prefix,
                          const std::function<void(uint64_t objects)>& progress = {});

  // Resolves what is missing in the list and plans it. kInvalid for an empty list, two versions of one
  // object, a range whose size or ETag does not fit its name, and more chunks than a list can have; and
  // what Resolve says. That no node answers is no error: then the report says
  // that everything is far.
  Result<std::unique_ptr<PlannedJob>> Plan(ObjectList list, PlanOptions options = {});

  // One object that was not planned: from this host's node; else from the node that the snapshot
  // log names, if the object is there likely enough for a look to pay; else by way of its home in
  // the cluster, which fetches and keeps it; else from far away. `timeout` is for each chunk of a large
  // one, of whose version and size the far store is asked in any case.
  Result<Object> Get(std::string_view name, Duration timeout = std::chrono::seconds(300));
  // The same; where the item has size and ETag, that version or kChanged.
  Result<Object> Get(const ObjectList::Item& item, Duration timeout = std::chrono::seconds(300));
  // Bytes [offset, offset + length) of one, as the object that has RangeName's name. kInvalid where the
  // object does not have all of them. From this host's node also out of the whole, or of its chunk;
  // of the last chunk only where the version is known.
  Result<Object> GetRange(std::string_view name, uint64_t offset, uint64_t length,
                          Duration timeout = std::chrono::seconds(300));
  // Many of them, `in_flight` at a time. `each` runs on this thread, once for every item, in the
  // order in which they come.
  void GetMany(std::span<const ObjectList::Item> items,
               const std::function<void(size_t index, Result<Object>)>& each,
               const GetOptions& options = {});

  // What Get would do, and why. Looks nowhere but into the own node's memory.
  Result<Explanation> Explain(std::string_view name);

  // State of a node as JSON (docs/operators.md). kNotFound for an unknown node, kTimeout when it
  // does not answer.
  Result<std::string> NodeStatus(NodeId node, Duration timeout = std::chrono::seconds(5));
  // Drops objects that nobody holds, by name or by prefix, in all nodes that answer. A name does not
  // mean its chunks and ranges, a prefix does.
  Result<DropResult> DropObjects(const std::vector<std::string>& names,
                                 Duration timeout = std::chrono::seconds(5));
  Result<DropResult> DropPrefix(std::string_view prefix,
                                Duration timeout = std::chrono::seconds(5));
  // Ends the promises of a job of any process. kTimeout when a node did not confirm it.
  Status Release(JobId job, Duration timeout = std::chrono::seconds(5));

  FarSpending Spent() const;
  OwnDiskReads ReadsOfOwnDisk() const;
  // The node of this host, whose memory is read without messages; nullopt: none is attached.
  std::optional<NodeId> own_node() const;

 private:
  friend class PlannedJob;
  friend class Reader;
  friend class SnapshotCollector;
  friend class Stream;
  friend class StreamReader;
  friend struct ClientInternals;  // for benchmarks of this project
  struct Parts;
  class Gets;
  explicit Client(std::unique_ptr<Parts> parts);
  Status MakeCanonical(ObjectList* list) const;
  std::unique_ptr<Parts> parts_;
};

// Positions 0..count-1 in an order that (seed, epoch) alone decides, on every machine.
std::vector<uint32_t> ShuffledOrder(size_t count, uint64_t seed, uint64_t epoch);

}  // namespace holdfast
