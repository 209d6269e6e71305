// SPDX-License-Identifier: Apache-2.0
// holdfast cluster up | down | status
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "jobclient/cli/commands.h"
#include "jobclient/cli/local_cluster.h"

namespace holdfast::cli {
namespace {

int Up(const Globals& globals, const LocalClusterOptions& options) {
  Status status = StartCluster(options, [&](const std::string& line) {
    if (!globals.quiet && !globals.json) std::printf("%s\n", line.c_str());
  });
  if (!status.ok()) return Fail(status);
  if (globals.json) {
    PrintJson({{"directory", options.directory},
               {"nodes", options.nodes},
               {"config", options.directory + "/client.toml"}});
  } else if (!globals.quiet) {
    std::printf("%u nodes with %s each; clients use --config %s/client.toml\n",
                unsigned{options.nodes}, options.memory.c_str(), options.directory.c_str());
  }
  return kOk;
}

int Down(const Globals& globals, const std::string& directory) {
  Status status = StopCluster(directory);
  if (!status.ok()) return Fail(status);
  if (globals.json) {
    PrintJson({{"directory", directory}, {"stopped", true}});
  } else if (!globals.quiet) {
    std::printf("stopped; the logs stay in %s\n", directory.c_str());
  }
  return kOk;
}

int Show(const Globals& globals, const std::string& directory) {
  Result<std::vector<LocalNode>> nodes = ListCluster(directory);
  if (!nodes.ok()) return Fail(nodes.status());
  bool all = true;
  for (const LocalNode& node : *nodes) {
    all = all && node.pid != 0;
    if (globals.json) {
      PrintJson({{"node", node.id}, {"pid", node.pid}, {"log", node.log}});
    } else {
      std::printf("node %u  %s  %s\n", unsigned{node.id},
                  node.pid == 0 ? "not running" : ("process " + std::to_string(node.pid)).c_str(),
                  node.log.c_str());
    }
  }
  return all ? kOk : kNotReached;
}

std::string BesideThisProgram() {
  std::error_code error;
  std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  for (const char* place : {"cached", "../cached/cached", "../../cached/cached"}) {
    std::filesystem::path candidate = self.parent_path() / place;
    if (std::filesystem::is_regular_file(candidate, error))
      return candidate.lexically_normal().string();
  }
  return "cached";
}

// A state directory is named after the directory, so that all ways to write it must be one.
std::string Absolute(const std::string& directory) {
  std::error_code error;
  std::filesystem::path path = std::filesystem::absolute(directory, error).lexically_normal();
  if (error || directory.empty()) return directory;
  return (path.has_filename() ? path : path.parent_path()).string();
}

}  // namespace

void AddClusterCommand(CLI::App& app, const Globals& globals, Chosen* chosen) {
  CLI::App* cluster = app.add_subcommand("cluster", "a local cluster, for trying things");
  cluster->require_subcommand(1);
  auto options = std::make_shared<LocalClusterOptions>();
  options->directory = DefaultClusterDirectory();
  options->cached = BesideThisProgram();
  auto add_dir = [&](CLI::App* command) {
    command->add_option("--dir", options->directory, "where its files are")
        ->transform(Absolute)
        ->capture_default_str();
  };
  CLI::App* up = cluster->add_subcommand("up", "start daemons on this machine");
  add_dir(up);
  up->add_option("--nodes", options->nodes, "how many")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  up->add_option("--memory", options->memory, "of each node")->capture_default_str();
  up->add_option("--node-set", options->settings, "KEY=VALUE for every daemon")
      ->allow_extra_args(false);
  up->add_option("--cached", options->cached, "the daemon's program")->capture_default_str();
  up->callback([=, &globals] {
    *chosen = [=, &globals] {
      LocalClusterOptions given = *options;
      given.s3_endpoint = globals.s3_endpoint;
      return Up(globals, given);
    };
  });
  CLI::App* down = cluster->add_subcommand("down", "stop them");
  add_dir(down);
  down->callback(
      [=, &globals] { *chosen = [=, &globals] { return Down(globals, options->directory); }; });
  CLI::App* status = cluster->add_subcommand("status", "which of them run");
  add_dir(status);
  status->callback(
      [=, &globals] { *chosen = [=, &globals] { return Show(globals, options->directory); }; });
}

}  // namespace holdfast::cli
