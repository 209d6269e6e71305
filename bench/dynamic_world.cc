// SPDX-License-Identifier: Apache-2.0
#include "bench/dynamic_world.h"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "base/uri.h"
#include "jobclient/client/parts.h"

namespace holdfast::bench {
namespace {

constexpr uint32_t kBatch = 64;  // objects of one fetch
constexpr const char* kCluster = "holdfast";

[[noreturn]] void Die(const std::string& text) {
  std::fprintf(stderr, "bench_dynamic: %s\n", text.c_str());
  std::_Exit(3);
}

template <typename T>
T Must(Result<T> result) {
  if (!result.ok()) Die(result.status().ToString());
  return *std::move(result);
}

snapshot::Stamp WallNow() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return {std::chrono::duration_cast<Duration>(now).count()};
}

// Named by its first frame.
std::string LogFile(const std::string& directory, uint64_t sequence) {
  std::filesystem::create_directories(directory);
  char name[32];
  std::snprintf(name, sizeof(name), "/%020llu.snap", static_cast<unsigned long long>(sequence));
  return directory + name;
}

}  // namespace

World::World(const WorldOptions& options)
    : options_(options),
      directory_("/dev/shm/holdfast-bench-dynamic-" + std::to_string(::getpid())),
      log_(snapshot::ClusterHash(kCluster)) {
  std::filesystem::create_directories(directory_);
  servers_.push_back(StartOrigin(options.delay));
  const std::string origin = servers_.front().address();
  const std::vector<std::string> members = FreeAddresses(kNodes);
  ClientOptions client{.cluster = kCluster, .attach = {}};
  for (size_t id = 0; id < kNodes; ++id) {
    const std::string state = directory_ + "/" + std::to_string(id);
    servers_.push_back(StartDaemon({.state_directory = state,
                                    .id = static_cast<NodeId>(id),
                                    .members = members,
                                    .memory_bytes = options.node_bytes,
                                    .far_connections = 128,
                                    .index_objects = options.index_objects}));
    client.nodes.push_back({static_cast<NodeId>(id), members[id]});
  }
  for (size_t id = 0; id < kNodes; ++id) {
    attached_.push_back(Must(shm::AttachLocal(
        {.path = directory_ + "/" + std::to_string(id) + "/attach.sock", .timeout = 5s})));
  }
  client_ = Must(Client::Connect(client));
  other_ = Must(Client::Connect(client));
  collector_ = std::make_unique<SnapshotCollector>(other_.get(), &log_);
  for (uint32_t i = 0; i < options.objects; ++i) {
    names_.push_back(origin + "/o/" + std::to_string(options.object_bytes) + "/" +
                     std::to_string(i));
    oids_.push_back(OidOf(names_.back()));
  }
}

World::~World() {
  StopChurn();
  collector_.reset();
  client_.reset();
  other_.reset();
  attached_.clear();
  servers_.clear();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

void World::Fetch(const std::vector<std::pair<NodeId, std::string>>& wanted) {
  auto& parts = ClientInternals::Of(*other_);
  Buffer room(wanted.size() * options_.object_bytes);
  size_t left = wanted.size();
  client::Promised<bool> all;
  std::vector<std::vector<BulkItem>> items(kNodes);
  for (size_t i = 0; i < wanted.size(); ++i) {
    BulkItem item;
    item.oid = OidOf(wanted[i].second);
    item.name = wanted[i].second;
    item.into = room.span().subspan(i * options_.object_bytes, options_.object_bytes);
    items[wanted[i].first].push_back(std::move(item));
  }
  parts.thread->Post([&] {
    for (NodeId node = 0; node < kNodes; ++node) {
      if (items[node].empty()) continue;
      parts.cluster->WhomToAsk(Oid{}, [&, node](const std::vector<NodeId>&) {
        const std::string* endpoint = parts.cluster->BulkEndpoint(node);
        if (endpoint == nullptr) Die("node " + std::to_string(node) + " is away");
        parts.network->BulkRead(*endpoint, BulkMode::kFetch, std::move(items[node]),
                                parts.loop->Now() + 60s, [&](size_t, BulkOutcome outcome) {
                                  if (!outcome.status.ok()) Die(outcome.status.ToString());
                                  if (--left == 0) all.Set(true);
                                });
      });
    }
  });
  all.Wait();
}

void World::Place(uint32_t count) {
  std::vector<std::pair<NodeId, std::string>> wanted;
  while (count > 0) {
    wanted.clear();
    for (uint32_t i = 0; i < std::min(count, kBatch * 16); ++i) {
      wanted.emplace_back(static_cast<NodeId>(random_.Below(kNodes)),
                          names_[random_.Below(names_.size())]);
    }
    count -= static_cast<uint32_t>(wanted.size());
    Fetch(wanted);
  }
}

void World::PlaceEach(uint32_t first, uint32_t last) {
  std::vector<std::pair<NodeId, std::string>> wanted;
  for (uint32_t i = first; i < last; ++i) {
    wanted.emplace_back(static_cast<NodeId>(i % kNodes), names_[i]);
    if (wanted.size() < kBatch * 64 && i + 1 < last) continue;
    Fetch(wanted);
    wanted.clear();
  }
}

Collected World::Snapshot(bool full) {
  Collected collected =
      Must(collector_->Collect(WallNow(), 10s, full || since_full_.size() >= 2 * full_bytes_));
  if (collected.answered != kNodes) Die("a node did not answer the snapshot");
  if (collected.full) {
    since_full_.clear();
    full_bytes_ = collected.frame.size();
  }
  if (!options_.log_directory.empty()) {
    if (collected.full) log_file_ = LogFile(options_.log_directory, log_.sequence());
    std::ofstream(log_file_, std::ios::binary | std::ios::app)
        .write(reinterpret_cast<const char*>(collected.frame.data()),
               static_cast<std::streamsize>(collected.frame.size()));
  }
  since_full_.insert(since_full_.end(), collected.frame.begin(), collected.frame.end());
  if (collector_->Broadcast(
          collected, [&] { return since_full_; }, 10s) != kNodes) {
    Die("a node did not take the snapshot");
  }
  return collected;
}

void World::StartChurn() {
  churning_ = true;
  churn_ = std::thread([this, random = Random(next_other_ + 7)]() mutable {
    const std::string origin = servers_.front().address();
    const auto pause = std::chrono::duration<double>(kBatch / options_.churn_per_s);
    auto next = std::chrono::steady_clock::now();
    while (churning_) {
      std::vector<std::pair<NodeId, std::string>> wanted;
      for (uint32_t i = 0; i < kBatch; ++i) {
        wanted.emplace_back(static_cast<NodeId>(random.Below(kNodes)),
                            origin + "/other/o/" + std::to_string(options_.object_bytes) + "/" +
                                std::to_string(next_other_++));
      }
      Fetch(wanted);
      churned_ += kBatch;
      next += std::chrono::duration_cast<std::chrono::steady_clock::duration>(pause);
      std::this_thread::sleep_until(next);
    }
  });
}

uint64_t World::StopChurn() {
  churning_ = false;
  if (churn_.joinable()) churn_.join();
  return churned_.exchange(0);
}

// To ask for more bytes than there is room for says whether it is there, and leaves no read mark.
NodeId World::Truth(uint32_t object) {
  for (size_t id = 0; id < kNodes; ++id) {
    const LocalOutcome outcome =
        attached_[id]->reader().Copy({.oid = oids_[object], .version = 0, .into = {}});
    if (outcome.code != Code::kNotFound) return static_cast<NodeId>(id);
  }
  return kNoNode;
}

uint64_t World::FarRequests() {
  uint64_t gets = client_->Spent().gets;
  for (NodeId id = 0; id < kNodes; ++id) {
    gets += nlohmann::json::parse(Must(other_->NodeStatus(id)))["far"]["gets"].get<uint64_t>();
  }
  return gets;
}

}  // namespace holdfast::bench
