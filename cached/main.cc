// SPDX-License-Identifier: Apache-2.0
// cached, the daemon of a node.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>
#include <vector>

#include "cached/daemon.h"
#include "cached/heap.h"
#include "cached/storage_role.h"
#include "io/bulk/descriptors.h"
#include "io/net/log_sink.h"

namespace holdfast::cached {
namespace {

constexpr const char* kFooter =
    R"(Every key of the configuration can be given by --set KEY=VALUE, which beats the environment
(HOLDFAST_ and the key in capitals, '.' as '_': HOLDFAST_MEMORY_LIMIT), which beats the file.
The keys are listed in docs/operators.md; a wrong one is answered with the allowed ones.

Exit codes: 0 ended by SIGTERM or SIGINT; 2 wrong arguments or configuration; 3 something that it needs is
missing or taken (memory, a port, its directory); the text says what to do.)";

struct Arguments {
  std::string config;
  std::vector<std::string> settings;
  std::string role = "node";
  bool check = false;
};

template <typename Config>
Result<Config> ReadConfig(const Arguments& arguments,
                          Result<Config> (*read)(config::ConfigFile* file)) {
  Result<config::ConfigFile> file = config::ConfigFile::Load(arguments.config);
  if (!file.ok()) return file.status();
  file->UseEnvironment("HOLDFAST");
  for (const std::string& setting : arguments.settings) HF_RETURN_IF_ERROR(file->Set(setting));
  return read(&*file);
}

int Fail(const Status& status, int code) {
  std::fprintf(stderr, "cached: %s\n", status.message().c_str());
  return code;
}

int RunStorage(const Arguments& arguments) {
  const bool worker = arguments.role == "reclaim";
  Result<StorageConfig> config =
      ReadConfig(arguments, worker ? ReadWorkerConfig : ReadStorageConfig);
  if (!config.ok()) return Fail(config.status(), 2);
  if (arguments.check) {
    std::printf("cached: the configuration of this %s is right\n",
                worker ? "reclaim worker" : "storage server");
    return 0;
  }
  net::LogSink log({.program = "cached", .level = config->log_level});
  Result<std::unique_ptr<StorageRole>> role = StorageRole::Open(*config, &log);
  if (!role.ok()) return Fail(role.status(), role.status().code() == Code::kInvalid ? 2 : 3);
  (*role)->Run();
  return 0;
}

int Main(const Arguments& arguments) {
  if (arguments.role != "node") return RunStorage(arguments);
  Result<DaemonConfig> config = ReadConfig(arguments, ReadDaemonConfig);
  if (!config.ok()) return Fail(config.status(), 2);
  if (arguments.check) {
    std::printf("cached: the configuration of node %u is right\n", unsigned{config->node.node});
    return 0;
  }
  TakeHeap(config->node.max_planning_bytes);
  net::LogSink log({.program = "cached", .level = config->log_level});
  Result<std::unique_ptr<Daemon>> daemon = Daemon::Open(*std::move(config), &log);
  if (!daemon.ok()) return Fail(daemon.status(), daemon.status().code() == Code::kInvalid ? 2 : 3);
  (*daemon)->Run();
  return 0;
}

}  // namespace
}  // namespace holdfast::cached

int main(int argc, char** argv) {
  holdfast::bulk::RaiseDescriptorLimit();
  holdfast::cached::Arguments arguments;
  CLI::App app(
      "The daemon of one node of a Holdfast cluster: holds objects in memory, bids for jobs' "
      "lists, serves reads.",
      "cached");
  app.footer(holdfast::cached::kFooter);
  app.add_option("--config", arguments.config, "TOML file")->envname("HOLDFAST_CONFIG");
  app.add_option("--set", arguments.settings, "KEY=VALUE, beats file and environment")
      ->allow_extra_args(false);
  app.add_option(
         "--role", arguments.role,
         "node; storage: keeps journals and segments for nodes without a disk; reclaim: moves "
         "bytes between such segments")
      ->check(CLI::IsMember({"node", "storage", "reclaim"}));
  app.add_flag("--check-config", arguments.check,
               "say whether the configuration is right, and end");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return holdfast::cached::Main(arguments);
}
