// SPDX-License-Identifier: Apache-2.0
#include "cached/daemon_config.h"

#include <algorithm>
#include <set>
#include <utility>

#include "cached/promise_log.h"
#include "io/far/aws_settings.h"
#include "io/far/far_store.h"
#include "io/net/endpoint.h"
#include "io/net/log_sink.h"
#include "io/shm/memory_limit.h"
#include "packs/packed_set.h"

namespace holdfast::cached {
namespace {

// Less is no cache, but a slip of the unit.
constexpr uint64_t kLeastSegment = 64 * kKiB;
constexpr uint64_t kLeastObjects = 1'024;
constexpr uint64_t kLeastPlanning = 256 * kKiB;
constexpr uint64_t kLeastMaxObject = 4 * kKiB;

void ReadMembers(config::ConfigFile* file, DaemonConfig* config) {
  std::set<NodeId> seen;
  for (config::ConfigFile& element : file->Tables("node")) {
    Member member;
    uint64_t id = kNoNode;
    element.Get("id", &id, 0, kNoNode - 1);
    element.Get("control", &member.control_endpoint);
    member.node = static_cast<NodeId>(id);
    if (id == kNoNode)
      element.Fail("id", "is missing; every [[node]] has an id and a control address");
    if (member.control_endpoint.empty())
      element.Fail("control", "is missing; as in \"tcp://10.0.0.1:7070\"");
    if (!seen.insert(member.node).second) element.Fail("id", "stands twice; ids are distinct");
    file->Join(element);
    config->node.members.push_back(std::move(member));
  }
}

// The memory tier names its own options; the person who wrote the configuration knows them by their
// keys.
void FailRegion(config::ConfigFile* file, const std::string& problem) {
  constexpr std::pair<std::string_view, std::string_view> kKeys[] = {
      {"segment_bytes ", "memory.segment"},
      {"index_objects ", "memory.index_objects"},
      {"memory_bytes ", "memory.limit"}};
  for (const auto& [option, key] : kKeys) {
    if (problem.starts_with(option)) return file->Fail(key, problem.substr(option.size()));
  }
  file->Fail("memory.limit", problem);
}

void ReadMemory(config::ConfigFile* file, DaemonConfig* config) {
  if (Status fits = shm::CheckMemoryLimit(config->memory_limit, "it"); !fits.ok()) {
    // Before all that follows from it: a slip of the unit is not a question of segments.
    return file->Fail("memory.limit", fits.message());
  }
  config->node.max_planning_bytes = std::min<uint64_t>(512 * kMiB, config->memory_limit / 8);
  const uint64_t usual_planning = config->node.max_planning_bytes;
  file->GetBytes("memory.planning", &config->node.max_planning_bytes);
  const uint64_t planning = config->node.max_planning_bytes;
  if (planning != usual_planning && planning != 0 && planning < kLeastPlanning) {
    file->Fail("memory.planning", "must be at least " + FormatBytes(kLeastPlanning) +
                                      ", or 0: the node promises nothing");
  }
  file->GetBytes("memory.segment", &config->memory.segment_bytes);
  file->GetBytes("memory.max_object", &config->memory.max_object_bytes);
  const uint64_t most = config->memory.max_object_bytes;
  if (most != 0 && most < kLeastMaxObject)
    file->Fail("memory.max_object", "must be at least " + FormatBytes(kLeastMaxObject));
  file->Get("memory.index_objects", &config->memory.index_objects, 0, uint64_t{1} << 34);
  file->Get("memory.keep", &config->keep_memory);
  std::string huge = "auto";
  file->GetChoice("memory.huge_pages", &huge, {"auto", "on", "off"});
  config->huge_pages = huge == "auto" ? shm::HugePages::kAuto
                       : huge == "on" ? shm::HugePages::kOn
                                      : shm::HugePages::kOff;
  if (config->memory_limit < 2 * config->node.max_planning_bytes) {
    file->Fail("memory.planning",
               "must be at most half of memory.limit = " + FormatBytes(config->memory_limit));
    return;
  }
  config->memory.memory_bytes = config->memory_limit - config->node.max_planning_bytes;
  if (config->disk_segments > 0) {
    // A node so small that packing would take an eighth of it does without unless it is told to.
    store::TinyOptions& tiny = config->disk.tiny;
    const uint64_t gathered = store::TinyTier::MemoryBytes(config->disk_segment, tiny);
    if (tiny.most_objects == 0 && gathered > config->memory.memory_bytes / 8) tiny.most_bytes = 0;
    uint64_t disk =
        store::DiskTier::MemoryBytes(config->disk_segments, config->disk_segment, config->disk);
    // A segment on its way to the far store.
    if (!config->disk_far_copy.empty()) disk += config->disk_segment;
    if (disk > config->memory.memory_bytes / 2) {
      file->Fail("disk.index_objects",
                 "takes " + FormatBytes(disk) +
                     " of memory.limit = " + FormatBytes(config->memory_limit) +
                     ", too much; raise that, or lower disk.index_objects, disk.tiny_objects "
                     "or disk.limit");
      return;
    }
    config->memory.memory_bytes -= disk;
  }
  // The state directory is in memory, too.
  if (config->journal_at.empty() && config->journal_directory == config->state_directory) {
    if (config->journal_limit > config->memory.memory_bytes / 2) {
      file->Fail("journal.limit",
                 "takes " + FormatBytes(config->journal_limit) +
                     " of memory.limit = " + FormatBytes(config->memory_limit) +
                     ", too much; lower it, or give it a journal.directory on a disk");
      return;
    }
    config->memory.memory_bytes -= config->journal_limit;
  }
  Result<shm::RegionPlan> plan = store::PlanRegion(config->memory);
  if (!plan.ok()) return FailRegion(file, plan.status().message());
  if (plan->segment_bytes < kLeastSegment)
    file->Fail("memory.segment", "must be at least " + FormatBytes(kLeastSegment));
  const uint64_t objects = config->memory.index_objects;
  if (objects != 0 && objects < kLeastObjects) {
    file->Fail("memory.index_objects", "must be at least " + FormatCount(kLeastObjects) +
                                           "; without it there is one for 4 KiB");
  }
  if (config->memory.max_object_bytes > plan->segment_bytes) {
    file->Fail("memory.max_object",
               "must be at most memory.segment = " + FormatBytes(plan->segment_bytes));
  }
}

// Where a storage server listens; nothing where there is none.
void CheckStorage(config::ConfigFile* file, std::string_view key, const std::string& endpoint) {
  if (endpoint.empty()) return;
  Result<net::ControlEndpoint> parsed = net::ParseControlEndpoint(endpoint);
  if (!parsed.ok()) file->Fail(key, parsed.status().message());
}

// Before the memory: it may lie there.
void ReadJournal(config::ConfigFile* file, DaemonConfig* config) {
  constexpr uint64_t kLeast = PromiseLog::kMinJournalBytes, kMost = 256 * kMiB;
  config->journal_directory = config->state_directory;
  // A node so small that a journal would take an eighth of it has none unless it is told to.
  if (config->memory_limit >= 8 * kLeast) {
    config->journal_limit =
        std::clamp(config->memory_limit / 64 / kMiB * kMiB, kLeast, uint64_t{kMost});
  }
  file->Get("journal.directory", &config->journal_directory);
  file->Get("journal.at", &config->journal_at);
  file->GetDuration("journal.patience", &config->journal_patience, 1s);
  CheckStorage(file, "journal.at", config->journal_at);
  if (!config->journal_at.empty() && config->journal_directory != config->state_directory)
    file->Fail("journal.at", "and journal.directory are both given; where is it to be?");
  file->GetBytes("journal.limit", &config->journal_limit);
  if (!config->journal_directory.starts_with('/'))
    file->Fail("journal.directory", "must be an absolute path, as in \"/var/lib/holdfast\"");
  if (config->journal_limit != 0 && config->journal_limit < kLeast) {
    file->Fail("journal.limit", "must be at least " + FormatBytes(kLeast) +
                                    ", or 0: no journal, and promises end with the daemon");
  }
  config->node.journal_bytes = config->journal_limit;
}

// The tier's options by their keys, as above.
void FailDisk(config::ConfigFile* file, const std::string& problem) {
  constexpr std::pair<std::string_view, std::string_view> kKeys[] = {
      {"segment_bytes ", "disk.segment"},
      {"index_objects ", "disk.index_objects"},
      {"segments: ", "disk.limit"}};
  for (const auto& [option, key] : kKeys) {
    if (problem.starts_with(option)) return file->Fail(key, problem.substr(option.size()));
  }
  file->Fail("disk.limit", problem);
}

// Before the memory: its index is taken from that.
void ReadDisk(config::ConfigFile* file, DaemonConfig* config) {
  uint64_t limit = 0;
  file->Get("disk.directory", &config->disk_directory);
  file->GetBytes("disk.limit", &limit);
  file->GetBytes("disk.segment", &config->disk_segment);
  file->Get("disk.index_objects", &config->disk.index_objects, 0, uint64_t{1} << 31);
  file->Get("disk.tiny_objects", &config->disk.tiny.most_objects, 0, uint64_t{1} << 36);
  file->Get("disk.depth", &config->disk_depth, 1, 256);
  file->GetBytes("disk.least_local", &config->node.least_placed_bytes);
  file->Get("disk.at", &config->disk_at);
  file->GetDuration("disk.patience", &config->disk_patience, 1s);
  file->Get("disk.far_copy", &config->disk_far_copy);
  std::string reclaim_reads = "disk";
  file->GetChoice("disk.reclaim_reads", &reclaim_reads, {"disk", "far"});
  config->reclaim_reads_far = reclaim_reads == "far";
  if (config->reclaim_reads_far && config->disk_far_copy.empty())
    file->Fail("disk.reclaim_reads", "far needs disk.far_copy");
  CheckStorage(file, "disk.at", config->disk_at);
  file->Get("reclaim.at", &config->reclaim_at);
  file->GetDuration("reclaim.patience", &config->reclaim_patience, 1s);
  CheckStorage(file, "reclaim.at", config->reclaim_at);
  if (!config->reclaim_at.empty() && config->disk_at.empty()) {
    file->Fail("reclaim.at", "needs disk.at: segments on this node are moved by this node");
  } else if (!config->reclaim_at.empty() && config->reclaim_reads_far) {
    file->Fail("reclaim.at",
               "and disk.reclaim_reads = \"far\" are both given; copies are read by "
               "the node, so who is to do it?");
  }
  const bool elsewhere = !config->disk_at.empty();
  if (config->disk_directory.empty() && !elsewhere) {
    if (limit != 0)
      file->Fail("disk.directory", "is missing, and disk.at; disk.limit needs a place");
    return;
  }
  if (elsewhere && !config->disk_directory.empty())
    return file->Fail("disk.at", "and disk.directory are both given; where is it to be?");
  if (!elsewhere && !config->disk_directory.starts_with('/'))
    return file->Fail("disk.directory", "must be an absolute path, as in \"/var/lib/holdfast\"");
  if (limit == 0) return file->Fail("disk.limit", "is missing; how much of the disk may be used");
  if (config->disk_segment == 0) {
    config->disk_segment =
        std::clamp(limit / 256 / kMiB * kMiB, uint64_t{1} * kMiB, disk::kMaxSegmentBytes);
  }
  config->disk_segments = limit / config->disk_segment;
  const Status works =
      store::DiskTier::Check(config->disk_segments, config->disk_segment, config->disk);
  if (!works.ok()) FailDisk(file, works.message());
}

void ReadLimits(config::ConfigFile* file, DaemonConfig* config) {
  NodeOptions& node = config->node;
  uint64_t loads = node.max_loads, jobs = node.max_jobs, share = node.job_share_percent,
           stream_disk = node.stream_disk_percent;
  file->Get("loads.max_active", &loads, 1, 65'536);
  file->GetBytes("loads.max_bytes", &node.max_load_bytes);
  file->GetBytes("loads.bytes_per_s", &node.far_bytes_per_s, 1);
  file->Get("loads.objects_per_s", &node.far_objects_per_s, 1, 1'000'000'000);
  file->Get("limits.jobs", &jobs, 1, 1'000'000);
  file->Get("limits.job_share_percent", &share, 1, 100);
  file->Get("limits.stream_disk_percent", &stream_disk, 0, 100);
  node.spill_peers = true;
  file->Get("spill.peers", &node.spill_peers);
  file->GetBytes("spill.bytes_per_s", &node.spill_bytes_per_s, 1);
  file->GetDuration("limits.offer_ttl", &node.offer_ttl, 1ms);
  file->GetDuration("limits.max_hold", &node.max_hold, 1s);
  node.max_loads = static_cast<uint32_t>(loads);
  node.max_jobs = static_cast<uint32_t>(jobs);
  node.job_share_percent = static_cast<uint32_t>(share);
  node.stream_disk_percent = static_cast<uint32_t>(stream_disk);
}

void ReadPacked(config::ConfigFile* file, DaemonConfig* config) {
  uint64_t hour = static_cast<uint64_t>(config->micro_usd_per_hour);
  file->Get("micro_usd_per_hour", &hour, 0, 1'000'000'000);
  config->micro_usd_per_hour = static_cast<MicroUsd>(hour);
  file->Get("far.packed", &config->packed);
  uint64_t& planning = config->node.max_planning_bytes;
  config->packed_memory = config->packed.empty() ? 0 : planning / 4;
  file->GetBytes("far.packed_memory", &config->packed_memory);
  if (config->packed_memory > planning / 2) {
    file->Fail("far.packed_memory",
               "is more than half of memory.planning, which it is a part of; "
               "raise that");
    return;
  }
  planning -= config->packed_memory;
}

// Once the endpoint is known, which the AWS settings may say.
Status CompletePrefixes(DaemonConfig* config) {
  if (!config->disk_far_copy.empty()) {
    Result<std::string> canonical =
        packs::WritablePrefix(config->disk_far_copy, config->far.s3.endpoint);
    if (!canonical.ok()) return canonical.status().Annotate("disk.far_copy");
    config->disk_far_copy = *std::move(canonical);
  }
  for (std::string& prefix : config->packed) {
    Result<std::string> canonical = packs::SetPrefix(prefix, config->far.s3.endpoint);
    if (!canonical.ok()) return canonical.status().Annotate("far.packed");
    prefix = *std::move(canonical);
  }
  return {};
}

void ReadFar(config::ConfigFile* file, DaemonConfig* config) {
  far::FarOptions& far = config->far;
  uint64_t connections = far.limits.max_connections;
  file->Get("far.s3_endpoint", &far.s3.endpoint);
  if (Status right = far::CheckS3Endpoint(far.s3.endpoint); !right.ok())
    file->Fail("far.s3_endpoint", right.message());
  file->Get("far.region", &far.s3.region);
  file->Get("far.virtual_hosted", &far.s3.virtual_hosted);
  file->Get("far.ca_bundle", &far.ca_bundle);
  if (Status right = far::CheckCaBundle(far.ca_bundle); !right.ok())
    file->Fail("far.ca_bundle", right.message());
  file->Get("far.directory_roots", &far.directory_roots);
  file->Get("far.max_connections", &connections, 1, 4'096);
  far.limits.max_connections = static_cast<uint32_t>(connections);
  far.limits.min_connections = std::min(far.limits.min_connections, far.limits.max_connections);
  uint64_t threads = std::min<uint64_t>(2, connections);
  file->Get("far.threads", &threads, 1, std::min<uint64_t>(64, connections));
  far.limits.http_threads = static_cast<uint32_t>(threads);
  uint64_t gets = static_cast<uint64_t>(far.prices.per_1000_gets);
  uint64_t lists = static_cast<uint64_t>(far.prices.per_1000_lists);
  uint64_t gigabyte = static_cast<uint64_t>(far.prices.per_gb);
  file->Get("far.micro_usd_per_1000_gets", &gets, 0, 1'000'000'000);
  file->Get("far.micro_usd_per_1000_lists", &lists, 0, 1'000'000'000);
  file->Get("far.micro_usd_per_gb", &gigabyte, 0, 1'000'000'000);
  far.prices = {static_cast<MicroUsd>(gets), static_cast<MicroUsd>(lists),
                static_cast<MicroUsd>(gigabyte)};
  ReadPacked(file, config);
}

// The cluster's name is part of a path.
void CheckNames(config::ConfigFile* file, const DaemonConfig& config) {
  const std::string& cluster = config.node.cluster;
  if (cluster.empty() || cluster.size() > 64 || cluster.find('/') != std::string::npos)
    file->Fail("cluster", "must have 1 to 64 characters and no '/'");
  if (!config.state_directory.starts_with('/'))
    file->Fail("state_directory", "must be an absolute path, as in \"/dev/shm/holdfast\"");
}

// A typing error is told from an address that cannot be had.
void CheckAddress(config::ConfigFile* file, std::string_view key, const std::string& address) {
  if (address.starts_with("unix:")) return;
  Result<net::ControlEndpoint> parsed = net::ParseControlEndpoint(address);
  if (!parsed.ok()) file->Fail(key, parsed.status().message());
}

}  // namespace

Result<DaemonConfig> ReadDaemonConfig(config::ConfigFile* file) {
  DaemonConfig config;
  uint64_t id = kNoNode;
  file->Get("id", &id, 0, kNoNode - 1);
  if (id == kNoNode)
    file->Fail("id", "is missing; give this node's number among the [[node]] tables");
  config.node.node = static_cast<NodeId>(id);
  file->Get("cluster", &config.node.cluster);
  file->Get("control", &config.control_endpoint);
  file->Get("bulk", &config.bulk_endpoint);
  file->Get("advertise_bulk", &config.advertise_bulk);
  CheckAddress(file, "control", config.control_endpoint);
  CheckAddress(file, "bulk", config.bulk_endpoint);
  if (!config.advertise_bulk.empty()) CheckAddress(file, "advertise_bulk", config.advertise_bulk);
  file->Get("bulk_threads", &config.bulk_threads, 1, 64);
  file->Get("cluster_key_file", &config.cluster_key_file);
  file->Get("group", &config.group);
  config.state_directory = "/dev/shm/holdfast-" + config.node.cluster + "-" + std::to_string(id);
  file->Get("state_directory", &config.state_directory);
  CheckNames(file, config);
  std::string level = "info";
  file->GetChoice("log_level", &level, {"debug", "info", "warn", "error"});
  ReadMembers(file, &config);
  file->GetBytes("memory.limit", &config.memory_limit);
  ReadDisk(file, &config);
  ReadJournal(file, &config);
  ReadMemory(file, &config);
  ReadLimits(file, &config);
  ReadFar(file, &config);
  HF_RETURN_IF_ERROR(file->Finish());
  if (Result<LogLevel> parsed = net::ParseLogLevel(level); parsed.ok()) config.log_level = *parsed;
  auto own = std::find_if(config.node.members.begin(), config.node.members.end(),
                          [&](const Member& member) { return member.node == config.node.node; });
  if (own == config.node.members.end()) {
    config.node.members.push_back({config.node.node, config.control_endpoint});
  }
  HF_RETURN_IF_ERROR(far::AddAwsSettings(far::ProcessEnvironment(), &config.far));
  HF_RETURN_IF_ERROR(CompletePrefixes(&config));
  // AWS_ENDPOINT_URL and the like can be as wrong as a key.
  HF_RETURN_IF_ERROR(far::CheckOptions(config.far));
  config.node.far_identity = config.far.s3.endpoint;
  return config;
}

}  // namespace holdfast::cached
