// SPDX-License-Identifier: Apache-2.0
// holdfast status
#include <cstdio>
#include <nlohmann/json.hpp>

#include "jobclient/cli/commands.h"

namespace holdfast::cli {
namespace {

// A number at `outer`.`inner` of a node's state; 0 where the node says nothing of it.
uint64_t Number(const Json& state, const char* outer, const char* inner) {
  return state.contains(outer) ? state[outer].value(inner, uint64_t{0}) : 0;
}

void PrintDisk(const Json& disk) {
  const std::string refused = disk.value("not_used", std::string());
  if (!refused.empty()) {
    std::printf("  disk      NOT USED: %s\n", refused.c_str());
    return;
  }
  const auto number = [&](const char* key) { return disk.value(key, uint64_t{0}); };
  std::printf(
      "  disk      %s, %s of %s segments free; %s objects, %s held; written %s%s%s\n",
      FormatBytes(number("bytes")).c_str(), FormatCount(number("free_segments")).c_str(),
      FormatCount(number("segments")).c_str(), FormatCount(number("objects")).c_str(),
      FormatCount(number("held_objects")).c_str(),
      FormatBytes(number("written_bytes") + number("tiny_written_bytes")).c_str(),
      number("corrupt") == 0 ? "" : ("; " + FormatCount(number("corrupt")) + " damaged").c_str(),
      disk.value("resting", false) ? "; NOT WRITTEN just now, after failures: see the log" : "");
}

void PrintJournal(const Json& journal) {
  const auto number = [&](const char* key) { return journal.value(key, uint64_t{0}); };
  if (journal.value("failed", false)) {
    std::printf(
        "  journal   FAILED: the node promises nothing until it is started again; see the log\n");
    return;
  }
  std::printf("  journal   %s promised objects written; %s taken up at the start, %s lost\n",
              FormatCount(number("promised_objects")).c_str(),
              FormatCount(number("restored_objects")).c_str(),
              FormatCount(number("lost_objects")).c_str());
}

void PrintNode(const Json& state) {
  uint64_t capacity = Number(state, "memory", "object_bytes"),
           live = Number(state, "memory", "live_bytes");
  std::printf("node %llu\n", static_cast<unsigned long long>(state.value("node", uint64_t{0})));
  std::printf("  memory    %s of %s, %s objects; held %s, %s objects\n", FormatBytes(live).c_str(),
              FormatBytes(capacity).c_str(),
              FormatCount(Number(state, "memory", "live_objects")).c_str(),
              FormatBytes(Number(state, "memory", "held_bytes")).c_str(),
              FormatCount(Number(state, "memory", "held_objects")).c_str());
  std::printf("  promises  %s of %s for %llu jobs; %s objects to come, %s broken\n",
              FormatBytes(Number(state, "promises", "reserved_bytes")).c_str(),
              FormatBytes(Number(state, "promises", "promisable_bytes")).c_str(),
              static_cast<unsigned long long>(state.value("jobs", uint64_t{0})),
              FormatCount(Number(state, "promises", "pending_objects")).c_str(),
              FormatCount(Number(state, "promises", "broken")).c_str());
  std::printf("  loads     %s under way; far requests %s, %s; from other nodes %s; failed %s\n",
              FormatCount(Number(state, "loads", "active")).c_str(),
              FormatCount(Number(state, "loads", "far_requests")).c_str(),
              FormatBytes(Number(state, "loads", "far_bytes")).c_str(),
              FormatCount(Number(state, "loads", "peer_objects")).c_str(),
              FormatCount(Number(state, "loads", "failed")).c_str());
  if (state.contains("disk")) PrintDisk(state["disk"]);
  if (state.contains("journal")) PrintJournal(state["journal"]);
  if (Number(state, "spill", "taken_objects") + Number(state, "spill", "guests") > 0) {
    std::printf("  spill     %s objects to other nodes; %s from them\n",
                FormatCount(Number(state, "spill", "taken_objects")).c_str(),
                FormatCount(Number(state, "spill", "guests")).c_str());
  }
}

int Show(const Globals& globals) {
  Result<ClientOptions> options = ReadOptions(globals);
  if (!options.ok()) return Fail(options.status());
  std::vector<ClientOptions::Node> nodes = options->nodes;
  if (nodes.empty()) return Fail(NoCluster());
  options->attach.clear();  // the state is asked for by messages
  Result<std::unique_ptr<Client>> client = Client::Connect(*std::move(options));
  if (!client.ok()) return Fail(client.status());
  int code = kOk;
  for (const ClientOptions::Node& node : nodes) {
    Result<std::string> text = (*client)->NodeStatus(node.id, Duration(2s));
    Json state = text.ok() ? Json::parse(*text, nullptr, false) : Json();
    if (!state.is_object()) {
      code = kNotReached;
      if (globals.json) {
        PrintJson({{"node", node.id}, {"answers", false}});
      } else {
        std::printf("node %u does not answer at %s\n", unsigned{node.id}, node.control.c_str());
      }
    } else if (globals.json) {
      PrintJson(state);
    } else {
      PrintNode(state);
    }
  }
  return code;
}

}  // namespace

void AddStatusCommand(CLI::App& app, const Globals& globals, Chosen* chosen) {
  CLI::App* command = app.add_subcommand("status", "nodes, memory, promises, loads, disks");
  command->callback([=, &globals] { *chosen = [&globals] { return Show(globals); }; });
}

}  // namespace holdfast::cli
