// SPDX-License-Identifier: Apache-2.0
#include "cached/daemon.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <random>
#include <utility>

#include "base/hash.h"
#include "base/ranged_store.h"
#include "cached/components.h"
#include "cached/node.h"
#include "io/bulk/bulk_client.h"
#include "io/bulk/bulk_server.h"
#include "io/far/far_store.h"
#include "io/net/cluster_key.h"
#include "io/net/event_loop.h"
#include "io/net/zmq_network.h"
#include "io/shm/attach_server.h"
#include "io/shm/region_file.h"
#include "io/shm/session_files.h"
#include "packs/packed_store.h"
#include "wire/local_reader.h"

namespace holdfast::cached {
namespace {

uint64_t RandomNumber() {
  std::random_device entropy;
  uint64_t number = (uint64_t{entropy()} << 32) | entropy();
  return number == 0 ? 1 : number;
}

}  // namespace

// In the order of their making; destroyed from the last to the first, so threads that write into
// the region end before it.
struct Daemon::Parts {
  Log* log = nullptr;
  DaemonConfig config;
  bool ran = false;            // the start did not fail
  bool journal_found = false;  // in the state directory, of an earlier daemon
  std::unique_ptr<net::EventLoop> loop;
  std::optional<net::ClusterKey> key;
  shm::RegionPlan plan;
  std::unique_ptr<shm::RegionFile> region;
  std::unique_ptr<store::Sessions> sessions;
  std::unique_ptr<shm::SessionFiles> session_files;
  std::unique_ptr<store::MemoryTier> tier;
  std::unique_ptr<shm::AttachServer> attach;
  Buffer bulk_session;  // the bulk server reads like a client, in a session of its own
  std::unique_ptr<LocalReader> bulk_reader;
  std::unique_ptr<far::FarClient> far;
  std::unique_ptr<packs::PackedStore> packed;  // in front of `far`
  std::unique_ptr<RangedStore> ranged;         // in front of that
  std::unique_ptr<bulk::BulkClient> bulk_client;
  std::unique_ptr<net::ZmqNetwork> network;
  std::unique_ptr<Components> components;
  std::unique_ptr<Disk> disk_files;
  std::unique_ptr<SegmentMover> mover;  // of `disk_files`
  std::unique_ptr<store::DiskTier> disk;
  std::unique_ptr<Random> random;
  std::unique_ptr<Journal> journal;
  std::unique_ptr<Node> node;
  std::unique_ptr<bulk::BulkServer> bulk_server;

  Env MakeEnv() const;
  Status OpenMemory();
  Status OpenBulkReader();
  Status OpenNetwork();
  Status OpenDisk();
  Status OpenJournal();
  Status OpenNode();
  Status OpenBulkServer();
  void EverySecond();
  void OnMiss(bulk::ReadMiss miss, std::function<void(Status)> done);
};

Daemon::Daemon(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Daemon::~Daemon() {
  if (parts_->region == nullptr) return;
  if (parts_->session_files != nullptr) parts_->session_files->Sweep(parts_->loop->Now());
  const bool views_live = parts_->session_files != nullptr && parts_->session_files->attached() > 0;
  // A start that failed removes what it has made. What it found of an earlier daemon, and its readers', is
  // the next one's.
  const bool found = !parts_->ran && parts_->region->reused();
  const bool keep = views_live || parts_->config.keep_memory || found;
  const bool keep_journal = keep || (!parts_->ran && parts_->journal_found);
  std::unique_ptr<shm::RegionFile> region = std::move(parts_->region);
  // First whoever has threads that read and write what the node owns.
  parts_->bulk_server.reset();
  parts_->bulk_client.reset();
  parts_->far.reset();
  if (parts_->components != nullptr) parts_->components->Stop();
  parts_->mover.reset();
  parts_->disk_files.reset();
  parts_->node.reset();
  parts_->journal.reset();
  parts_->network.reset();
  // Promises about memory that is given back end with it.
  if (!keep_journal && parts_->config.journal_directory == parts_->config.state_directory)
    ::unlink(Components::JournalPath(parts_->config).c_str());
  parts_.reset();
  if (!keep) region->Remove();
}

Result<std::unique_ptr<Daemon>> Daemon::Open(DaemonConfig config, Log* log) {
  std::unique_ptr<Daemon> daemon(new Daemon(std::make_unique<Parts>()));
  Parts* parts = daemon->parts_.get();
  parts->log = log;
  parts->config = std::move(config);
  parts->config.node.incarnation = RandomNumber();
  parts->config.memory.node = parts->config.node.node;
  parts->config.memory.incarnation = parts->config.node.incarnation;
  Result<std::unique_ptr<net::EventLoop>> loop = net::EventLoop::Create();
  if (!loop.ok()) return loop.status();
  parts->loop = *std::move(loop);
  parts->config.memory.wall = [clock = parts->loop.get()] { return clock->Wall(); };
  // Before any other thread starts: they inherit the blocked signals.
  HF_RETURN_IF_ERROR(
      parts->loop->OnSignals({SIGTERM, SIGINT}, [parts](int) { parts->loop->Stop(); }));
  Result<std::optional<net::ClusterKey>> key = net::ReadClusterKey(parts->config.cluster_key_file);
  if (!key.ok()) return key.status();
  parts->key = *key;
  log->Info("node " + std::to_string(parts->config.node.node) + " of cluster \"" +
            parts->config.node.cluster + "\", " +
            std::to_string(parts->config.node.members.size()) +
            (parts->config.node.members.size() == 1 ? " member" : " members") +
            (parts->key ? ", with a cluster key" : ", without a cluster key: loopback only"));
  HF_RETURN_IF_ERROR(parts->OpenMemory());
  HF_RETURN_IF_ERROR(parts->OpenBulkReader());
  HF_RETURN_IF_ERROR(parts->OpenNetwork());
  HF_RETURN_IF_ERROR(parts->OpenBulkServer());
  HF_RETURN_IF_ERROR(parts->OpenNode());
  return daemon;
}

void Daemon::Run() {
  parts_->ran = true;
  parts_->log->Info("ready");
  parts_->loop->Run();
  parts_->log->Info("ending");
}

Status Daemon::Parts::OpenMemory() {
  journal_found = ::access(Components::JournalPath(config).c_str(), F_OK) == 0;
  Result<shm::RegionPlan> planned = store::PlanRegion(config.memory);
  if (!planned.ok()) return planned.status();
  plan = *planned;
  Result<std::unique_ptr<shm::RegionFile>> file =
      shm::RegionFile::Open({.directory = config.state_directory,
                             .group = config.group,
                             .plan = plan,
                             .huge = config.huge_pages,
                             .progress = {},
                             .log = log});
  if (!file.ok()) return file.status();
  region = *std::move(file);
  log->Info("memory: " + std::to_string(plan.segments) + " segments of " +
            FormatBytes(plan.segment_bytes));
  sessions = std::make_unique<store::Sessions>(plan.segments);
  Result<std::unique_ptr<shm::SessionFiles>> files = shm::SessionFiles::Open(
      {.directory = region->session_directory(),
       .segments = plan.segments,
       .incarnation = config.node.incarnation,
       .attach = [this](uint32_t id, ByteSpan memory) { sessions->Attach(id, memory); },
       .detach = [this](uint32_t id) { sessions->Detach(id); },
       .log = log});
  if (!files.ok()) return files.status();
  session_files = *std::move(files);
  tier = std::make_unique<store::MemoryTier>(region->memory(), plan, config.memory, sessions.get());
  if (const store::TierStats found = tier->Stats(); region->reused()) {
    log->Info("memory: " + FormatCount(found.found_objects) + " objects, " +
              FormatBytes(found.live_bytes) + ", are still there from an earlier start");
  }
  Result<std::unique_ptr<shm::AttachServer>> server = shm::AttachServer::Open(
      {.path = region->attach_path(),
       .group = region->group(),
       .node = config.node.node,
       .incarnation = config.node.incarnation,
       .region_fd = region->read_only_fd(),
       .region_bytes = plan.region_bytes,
       .disk_directory = config.disk_at.empty() ? config.disk_directory : std::string(),
       .sessions = session_files.get(),
       .log = log});
  if (!server.ok()) return server.status();
  attach = *std::move(server);
  HF_RETURN_IF_ERROR(
      loop->Watch(attach->fd(), EPOLLIN, [this](uint32_t) { attach->OnReadable(loop->Now()); }));
  EverySecond();
  return {};
}

void Daemon::Parts::EverySecond() {
  attach->OnTick(loop->Now());
  session_files->Sweep(loop->Now());
  loop->At(loop->Now() + 1s, [this] { EverySecond(); });
}

Status Daemon::Parts::OpenBulkReader() {
  constexpr uint32_t kNumber = shm::kMaxSessions + 1;  // beyond those of clients
  bulk_session = Buffer(shm::SessionBytes(plan.segments));
  FormatSession(bulk_session.span(), kNumber, plan.segments, config.node.incarnation, 0);
  sessions->Attach(kNumber, bulk_session.span());
  Result<std::unique_ptr<LocalReader>> reader =
      LocalReader::Open(region->memory(), bulk_session.span(), nullptr, config.memory.wall);
  if (!reader.ok()) return reader.status();
  bulk_reader = *std::move(reader);
  return {};
}

Status Daemon::Parts::OpenNetwork() {
  far::FarOptions far_options = config.far;
  far_options.log = log;
  Result<std::unique_ptr<far::FarClient>> client = far::FarClient::Open(
      std::move(far_options), [this](std::function<void()> run) { loop->Post(std::move(run)); });
  if (!client.ok()) return client.status();
  far = *std::move(client);
  const far::Prices& prices = far->options().prices;
  packed = std::make_unique<packs::PackedStore>(
      loop.get(), far.get(), log,
      packs::PackedStore::Options{
          .sets = config.packed,
          .prices = {.per_1000_gets = prices.per_1000_gets,
                     .per_gb = prices.per_gb,
                     .per_hour = config.micro_usd_per_hour,
                     .gets_per_s = config.node.far_objects_per_s,
                     .bytes_per_s = config.node.far_bytes_per_s},
          // A new one is loaded beside the old one.
          .max_index_bytes = config.packed_memory / 2 / std::max<size_t>(config.packed.size(), 1)});
  packed->Start();
  ranged = std::make_unique<RangedStore>(loop.get(), packed.get());
  bulk::BulkClientOptions bulk_options;
  bulk_options.cluster = config.node.cluster;
  if (key) bulk_options.token = net::BulkToken(*key);
  bulk_client = std::make_unique<bulk::BulkClient>(bulk_options);
  net::ZmqOptions zmq_options;
  zmq_options.key = key;
  Result<std::unique_ptr<net::ZmqNetwork>> opened = net::ZmqNetwork::Open(
      loop.get(), zmq_options,
      [this](std::string endpoint, BulkMode mode, std::vector<BulkItem> items, Time deadline,
             std::function<void(size_t, BulkOutcome)> each) {
        bulk_client->Read(endpoint, mode, std::move(items), deadline, std::move(each));
      },
      log);
  if (!opened.ok()) return opened.status();
  network = *std::move(opened);
  Result<std::string> control = network->Listen(config.control_endpoint);
  if (!control.ok()) return control.status().Annotate("control");
  log->Info("control: " + *control);
  return {};
}

Status Daemon::Parts::OpenBulkServer() {
  bulk::BulkServerOptions options;
  options.endpoints = {config.bulk_endpoint, "unix:" + config.state_directory + "/bulk.sock"};
  options.cluster = config.node.cluster;
  options.threads = static_cast<uint32_t>(config.bulk_threads);
  options.max_pinned_segments = std::max<uint32_t>(2, plan.segments / 16);
  if (key) options.token = net::BulkToken(*key);
  Result<std::unique_ptr<bulk::BulkServer>> server = bulk::BulkServer::Start(
      options, bulk_reader.get(), region->read_only_fd(),
      [this](bulk::ReadMiss miss, std::function<void(Status)> done) {
        OnMiss(std::move(miss), std::move(done));
      },
      log);
  if (!server.ok()) return server.status().Annotate("bulk");
  bulk_server = *std::move(server);
  log->Info("bulk: " + bulk_server->endpoints().front());
  config.node.bulk_endpoint =
      config.advertise_bulk.empty() ? bulk_server->endpoints().front() : config.advertise_bulk;
  return {};
}

// On the bulk server's threads; the node decides on its own.
void Daemon::Parts::OnMiss(bulk::ReadMiss miss, std::function<void(Status)> done) {
  loop->Post([this, miss = std::move(miss), done = std::move(done)]() mutable {
    node->OnMiss(std::move(miss), std::move(done));
  });
}

Status Daemon::Parts::OpenDisk() {
  components = std::make_unique<Components>(
      &config, key ? net::BulkToken(*key) : bulk::Token{}, log,
      [this](std::function<void()> run) { loop->Post(std::move(run)); },
      disk::Watcher{[this](int fd, std::function<void()> ready) {
                      return loop->Watch(fd, EPOLLIN,
                                         [ready = std::move(ready)](uint32_t) { ready(); });
                    },
                    [this](int fd) { loop->Unwatch(fd); }});
  Result<std::unique_ptr<Disk>> files =
      components->OpenDisk(loop.get(), far.get(), &config.disk.copies);
  if (!files.ok()) return files.status();
  disk_files = *std::move(files);
  if (disk_files == nullptr) return {};
  mover = components->OpenMover(loop.get());
  config.disk.mover = mover.get();
  config.disk.reclaim_reads_copies = config.reclaim_reads_far;
  config.disk.identity = {config.node.node, config.node.cluster};
  disk = std::make_unique<store::DiskTier>(MakeEnv(), disk_files.get(), config.disk);
  disk->Recover([this](const Status& recovered) {
    const store::DiskStats stats = disk->Stats();
    if (recovered.ok()) {
      log->Info("disk: " + FormatBytes(stats.bytes) + " in " + std::to_string(stats.segments) +
                " segments at " +
                (config.disk_at.empty() ? config.disk_directory : config.disk_at) + ", with " +
                FormatCount(stats.recovered_objects) + " objects from earlier starts");
    } else {
      log->Error("disk: not used: " + recovered.message());
    }
  });
  return {};
}

Status Daemon::Parts::OpenJournal() {
  Result<std::unique_ptr<Journal>> opened = components->OpenJournal(&config.node.journal_bytes);
  if (!opened.ok()) return opened.status();
  journal = *std::move(opened);
  if (journal == nullptr) return {};
  std::ifstream boot("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(boot, id);
  config.node.boot = Hash64(AsBytes(id));
  return {};
}

Env Daemon::Parts::MakeEnv() const {
  return {.clock = loop.get(),
          .network = network.get(),
          .far = ranged.get(),
          .random = random.get(),
          .log = log};
}

Status Daemon::Parts::OpenNode() {
  random = std::make_unique<Random>(RandomNumber());
  HF_RETURN_IF_ERROR(OpenDisk());
  HF_RETURN_IF_ERROR(OpenJournal());
  node = std::make_unique<Node>(MakeEnv(), tier.get(), config.node, disk.get(), journal.get());
  node->Start();
  return {};
}

}  // namespace holdfast::cached
