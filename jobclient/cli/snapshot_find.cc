// SPDX-License-Identifier: Apache-2.0
// holdfast snapshot find: where the log has seen an object. Needs no cluster.
#include <array>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "base/uri.h"
#include "jobclient/cli/snapshot_commands.h"
#include "jobclient/cli/snapshot_text.h"

namespace holdfast::cli {
namespace {

using snapshot::Print;
using snapshot::Sighting;
using snapshot::SnapshotLog;
using snapshot::Stamp;

struct Wanted {
  std::string name;  // as it was given
  Oid oid{};
};

// Names need no cluster; those of s3:// need its configuration.
Result<Oid> OidOfName(const Globals& globals, const std::string& given) {
  if (const std::optional<Oid> oid = OidFromHex(given)) return *oid;
  const std::string name = NameOf(given);
  Result<std::string> canonical = CanonicalUri(name, globals.s3_endpoint);
  if (!canonical.ok() && name.starts_with("s3://")) {
    Result<ClientOptions> options = ReadOptions(globals);
    if (!options.ok()) return options.status();
    options->nodes.clear();
    options->attach.clear();
    options->cluster_key_file.clear();
    const Result<std::unique_ptr<Client>> alone = Client::Connect(*std::move(options));
    if (!alone.ok()) return alone.status();
    canonical = (*alone)->Canonical(name);
  }
  if (!canonical.ok()) return canonical.status();
  return OidOf(*canonical);
}

// What the log says of one object at one node.
struct Trace {
  Sighting sighting{};
  Stamp seen{};           // the last time
  uint64_t snapshot = 0;  // the newest that lists it
  uint64_t gone = 0;      // the first after that which does not; 0: it is there
};
using Traces = std::map<NodeId, Trace>;

void Follow(const SnapshotLog& log, Print print, Traces* traces) {
  std::array<Sighting, snapshot::Known::kMost> found;
  const size_t count = log.known().Find(print, found);
  for (auto& [node, trace] : *traces) {
    if (trace.gone == 0) trace.gone = log.sequence();
  }
  for (size_t i = 0; i < count; ++i) {
    const Stamp* seen = log.known().SeenAt(found[i].node);
    (*traces)[found[i].node] = {.sighting = found[i],
                                .seen = seen != nullptr ? *seen : log.stamp(),
                                .snapshot = log.sequence()};
  }
}

void PrintTrace(const Globals& globals, const Wanted& wanted, NodeId node, const Trace& trace) {
  const Duration age = Since(trace.sighting.written, trace.seen);
  if (globals.json) {
    PrintJson({{"name", wanted.name},
               {"oid", ToHex(wanted.oid)},
               {"node", node},
               {"listed", trace.gone == 0},
               {"seen", UtcText(trace.seen)},
               {"snapshot", trace.snapshot},
               {"age_us", age.count()},
               {"held", trace.sighting.held},
               {"ring", trace.sighting.ring == snapshot::Ring::kKept ? "kept" : "fresh"},
               {"gone", trace.gone == 0 ? Json(nullptr) : Json(trace.gone)}});
    return;
  }
  const std::string left =
      trace.gone == 0 ? "" : "; no longer in snapshot " + std::to_string(trace.gone);
  std::printf("%s: node %u, seen at %s (%s ago), %s old then%s%s\n", wanted.name.c_str(),
              unsigned{node}, UtcText(trace.seen).c_str(),
              FormatDuration(Since(trace.seen, StampNow())).c_str(), FormatDuration(age).c_str(),
              trace.sighting.held ? ", held" : "", left.c_str());
}

}  // namespace

int FindInSnapshots(const Globals& globals, const std::string& log,
                    const std::vector<std::string>& names) {
  const Result<std::string> directory = LogDirectoryOf(globals, log);
  if (!directory.ok()) return Fail(directory.status());
  std::vector<Wanted> wanted;
  for (const std::string& name : names) {
    const Result<Oid> oid = OidOfName(globals, name);
    if (!oid.ok()) return Fail(oid.status());
    wanted.push_back({name, *oid});
  }
  std::vector<Traces> traces(wanted.size());
  const LogVisitor visitor{.frame =
                               [&](const LogFrame&, const SnapshotLog& state) {
                                 for (size_t i = 0; i < wanted.size(); ++i)
                                   Follow(state, snapshot::PrintOf(wanted[i].oid), &traces[i]);
                                 return true;
                               },
                           .fault = WarnOf};
  const Result<SnapshotLog> state = ReadLogDirectory(*directory, 0, visitor);
  if (!state.ok()) return Fail(state.status());
  int code = kOk;
  for (size_t i = 0; i < wanted.size(); ++i) {
    bool listed = false;
    for (const auto& [node, trace] : traces[i]) {
      listed = listed || trace.gone == 0;
      PrintTrace(globals, wanted[i], node, trace);
    }
    if (listed) continue;
    code = kNotThere;
    Say(wanted[i].name + " is not in snapshot " + std::to_string(state->sequence()));
  }
  return code;
}

}  // namespace holdfast::cli
