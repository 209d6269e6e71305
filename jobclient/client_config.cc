// SPDX-License-Identifier: Apache-2.0
#include "jobclient/client_config.h"

#include <set>
#include <utility>

namespace holdfast {
namespace {

void ReadNodes(config::ConfigFile* file, ClientOptions* options) {
  std::set<NodeId> seen;
  for (config::ConfigFile& element : file->Tables("node")) {
    uint64_t id = kNoNode;
    ClientOptions::Node node;
    element.Get("id", &id, 0, kNoNode - 1);
    element.Get("control", &node.control);
    node.id = static_cast<NodeId>(id);
    if (id == kNoNode)
      element.Fail("id", "is missing; every [[node]] has an id and a control address");
    if (node.control.empty()) element.Fail("control", "is missing; as in \"tcp://10.0.0.1:7070\"");
    if (!seen.insert(node.id).second) element.Fail("id", "stands twice; ids are distinct");
    file->Join(element);
    options->nodes.push_back(std::move(node));
  }
}

void ReadPrice(config::ConfigFile* file, std::string_view key, MicroUsd* price) {
  uint64_t value = static_cast<uint64_t>(*price);
  file->Get(key, &value, 0, 1'000'000'000);
  *price = static_cast<MicroUsd>(value);
}

void ReadFar(config::ConfigFile* file, FarSettings* far) {
  uint64_t connections = far->max_connections;
  file->Get("far.s3_endpoint", &far->s3_endpoint);
  file->Get("far.region", &far->region);
  file->Get("far.virtual_hosted", &far->virtual_hosted);
  file->Get("far.aws_settings", &far->aws_settings);
  file->Get("far.ca_bundle", &far->ca_bundle);
  file->Get("far.directory_roots", &far->directory_roots);
  file->Get("far.packed", &far->packed);
  file->Get("far.max_connections", &connections, 1, 4'096);
  far->max_connections = static_cast<uint32_t>(connections);
  ReadPrice(file, "far.micro_usd_per_1000_gets", &far->micro_usd_per_1000_gets);
  ReadPrice(file, "far.micro_usd_per_1000_lists", &far->micro_usd_per_1000_lists);
  ReadPrice(file, "far.micro_usd_per_gb", &far->micro_usd_per_gb);
}

}  // namespace

Result<ClientOptions> ReadClientConfig(config::ConfigFile* file) {
  ClientOptions options;
  file->Get("cluster", &options.cluster);
  file->Get("attach", &options.attach);
  file->Get("cluster_key_file", &options.cluster_key_file);
  ReadPrice(file, "micro_usd_per_hour", &options.micro_usd_per_hour);
  file->GetBytes("chunk", &options.chunk_bytes);
  if (options.chunk_bytes != 0 && options.chunk_bytes < kLeastChunk)
    file->Fail("chunk", "must be at least " + FormatBytes(kLeastChunk) + ", or 0: nothing is cut");
  ReadNodes(file, &options);
  ReadFar(file, &options.far);
  HF_RETURN_IF_ERROR(file->Finish());
  return options;
}

Result<ClientOptions> LoadClientOptions(const std::string& path) {
  Result<config::ConfigFile> file = config::ConfigFile::Load(path);
  if (!file.ok()) return file.status();
  file->UseEnvironment("HOLDFAST_CLIENT");
  return ReadClientConfig(&*file);
}

}  // namespace holdfast
