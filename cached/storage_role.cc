// SPDX-License-Identifier: Apache-2.0
#include "cached/storage_role.h"

#include <csignal>
#include <utility>

#include "io/disk/short_slice.h"
#include "io/net/cluster_key.h"
#include "io/net/endpoint.h"
#include "io/net/log_sink.h"

namespace holdfast::cached {

namespace {

// What both roles have.
void ReadCluster(config::ConfigFile* file, const std::string& listen, StorageConfig* config) {
  file->Get("cluster", &config->cluster);
  if (config->cluster.empty() || config->cluster.size() > 64)
    file->Fail("cluster", "must have 1 to 64 characters");
  file->Get("cluster_key_file", &config->cluster_key_file);
  file->Get(listen, &config->endpoint);
  if (Result<net::ControlEndpoint> parsed = net::ParseControlEndpoint(config->endpoint);
      !parsed.ok()) {
    file->Fail(listen, parsed.status().message());
  }
}

Result<StorageConfig> Finish(config::ConfigFile* file, StorageConfig config) {
  std::string level = "info";
  file->GetChoice("log_level", &level, {"debug", "info", "warn", "error"});
  HF_RETURN_IF_ERROR(file->Finish());
  if (Result<LogLevel> parsed = net::ParseLogLevel(level); parsed.ok()) config.log_level = *parsed;
  return config;
}

}  // namespace

Result<StorageConfig> ReadStorageConfig(config::ConfigFile* file) {
  StorageConfig config;
  ReadCluster(file, "storage.listen", &config);
  file->Get("storage.directory", &config.directory);
  if (!config.directory.starts_with('/'))
    file->Fail("storage.directory", "must be an absolute path, as in \"/var/lib/holdfast\"");
  file->GetBytes("storage.limit", &config.limit);
  if (config.limit == 0)
    file->Fail("storage.limit", "is missing; how much of the disk may be used");
  file->Get("storage.threads", &config.threads, 1, 256);
  return Finish(file, std::move(config));
}

Result<StorageConfig> ReadWorkerConfig(config::ConfigFile* file) {
  StorageConfig config;
  config.endpoint = "tcp://127.0.0.1:7073";
  ReadCluster(file, "reclaim.listen", &config);
  return Finish(file, std::move(config));
}

Result<std::unique_ptr<StorageRole>> StorageRole::Open(const StorageConfig& config, Log* log) {
  std::unique_ptr<StorageRole> role(new StorageRole());
  role->log_ = log;
  Result<std::unique_ptr<net::EventLoop>> loop = net::EventLoop::Create();
  if (!loop.ok()) return loop.status();
  role->loop_ = *std::move(loop);
  // Before any other thread starts: they inherit the blocked signals.
  HF_RETURN_IF_ERROR(
      role->loop_->OnSignals({SIGTERM, SIGINT}, [run = role->loop_.get()](int) { run->Stop(); }));
  Result<std::optional<net::ClusterKey>> key = net::ReadClusterKey(config.cluster_key_file);
  if (!key.ok()) return key.status();
  storage::StorageServerOptions options{
      .endpoint = config.endpoint, .cluster = config.cluster, .log = log};
  if (!config.directory.empty()) {
    options.stores = storage::StoresOptions{.directory = config.directory,
                                            .limit = config.limit,
                                            .threads = static_cast<uint32_t>(config.threads),
                                            .log = log};
  }
  if (*key) options.token = net::BulkToken(**key);
  auto server = storage::StorageServer::Start(role->loop_.get(), std::move(options));
  if (!server.ok()) return server.status();
  role->server_ = *std::move(server);
  if (config.directory.empty()) {
    log->Info("reclaim of cluster \"" + config.cluster + "\"");
    log->Info("reclaim: " + role->server_->endpoint());
  } else {
    log->Info("storage of cluster \"" + config.cluster + "\" in " + config.directory +
              ", at most " + FormatBytes(config.limit));
    log->Info("storage: " + role->server_->endpoint());
  }
  return role;
}

void StorageRole::Run() {
  disk::AskForShortSlice();
  log_->Info("ready");
  loop_->Run();
  log_->Info("ending");
}

}  // namespace holdfast::cached
