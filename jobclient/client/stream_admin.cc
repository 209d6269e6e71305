// SPDX-License-Identifier: Apache-2.0
// What concerns every node: removing a stream, and what there is.
#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "holdfast/stream.h"
#include "jobclient/client/parts.h"
#include "wire/stream_entry.h"

namespace holdfast {
namespace {

// Asks every node of the configuration; `take` runs on the loop's thread with each answer. Those that
// did not answer.
template <typename Parts, typename Question, typename Take>
std::set<NodeId> AskAll(Parts& c, const Question& question, Duration timeout, const Take& take) {
  client::Promised<std::set<NodeId>> done;
  size_t left = c.options.nodes.size();
  std::set<NodeId> silent;
  if (left == 0) return silent;
  c.thread->Post([&] {
    for (const ClientOptions::Node& node : c.options.nodes) {
      c.cluster->Ask(node.id, question, c.loop->Now() + timeout,
                     [&, id = node.id](const Result<wire::Message>& answer) {
                       if (!answer.ok() || !take(*answer)) silent.insert(id);
                       if (--left == 0) done.Set(silent);
                     });
    }
  });
  return done.Wait();
}

}  // namespace

Status Stream::Remove(Client& client, std::string_view name, Duration timeout) {
  HF_RETURN_IF_ERROR(wire::CheckStreamName(name));
  Client::Parts& c = *client.parts_;
  // The catalogues know the number by which the others know it.
  std::vector<uint64_t> streams;
  auto drop = [&](const std::string& by_name, uint64_t stream) {
    return AskAll(
        c,
        [&](uint64_t id) -> wire::Message {
          return wire::StreamDrop{.id = id, .name = by_name, .stream = stream};
        },
        timeout,
        [&](const wire::Message& answer) {
          const auto* dropped = std::get_if<wire::StreamDropped>(&answer);
          if (dropped != nullptr && dropped->stream != 0) streams.push_back(dropped->stream);
          return dropped != nullptr;
        });
  };
  const std::set<NodeId> silent = drop(std::string(name), 0);
  // Its catalogues know it by its name; no other node does.
  std::vector<NodeId> members;
  for (const ClientOptions::Node& node : c.options.nodes) members.push_back(node.id);
  const std::vector<NodeId> catalogues = wire::CataloguesOf(name, members);
  const bool all_said = std::none_of(catalogues.begin(), catalogues.end(),
                                     [&](NodeId node) { return silent.contains(node); });
  if (streams.empty() && all_said) {
    return Status::NotFound("there is no stream " + std::string(name));
  }
  size_t unconfirmed = silent.size();
  const std::vector<uint64_t> found = std::exchange(streams, {});
  for (uint64_t stream : found) unconfirmed = std::max(unconfirmed, drop({}, stream).size());
  if (unconfirmed == 0) return {};
  return Status::Timeout(std::to_string(unconfirmed) + " of " +
                         std::to_string(c.options.nodes.size()) +
                         " nodes did not confirm it; what they have of the stream is freed when it "
                         "expires");
}

Result<std::vector<std::string>> Stream::List(Client& client, Duration timeout) {
  std::vector<std::string> all;
  AskAll(
      *client.parts_, [](uint64_t id) -> wire::Message { return wire::StreamList{.id = id}; },
      timeout,
      [&](const wire::Message& answer) {
        const auto* listed = std::get_if<wire::StreamListed>(&answer);
        if (listed != nullptr) all.push_back(listed->json);
        return listed != nullptr;
      });
  if (all.empty()) return Status::Timeout("no node answers; is the cluster running?");
  return all;
}

}  // namespace holdfast
