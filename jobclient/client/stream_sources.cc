// SPDX-License-Identifier: Apache-2.0
#include "jobclient/client/stream_sources.h"

#include <algorithm>
#include <utility>

namespace holdfast::client {
namespace {

using wire::StreamWriterPhase;

constexpr Duration kAnswerTime = 1s;
// Between two questions while nothing new comes: from the first to the second.
constexpr Duration kShortestPause = 5ms;
constexpr Duration kLongestPause = 200ms;
constexpr Duration kSecondSource = 1s;

}  // namespace

StreamSources::StreamSources(const Env& env, ClusterView* cluster, std::string name,
                             std::function<void()> changed)
    : env_(env), cluster_(cluster), name_(std::move(name)), changed_(std::move(changed)) {
  const std::vector<NodeId> members = cluster->Members();
  for (NodeId node : wire::CataloguesOf(name_, members)) {
    sources_.push_back({.node = node, .pause = kShortestPause});
  }
}

// --- Questions -----------------------------------------------------------------------------------

void StreamSources::Tick() {
  const Time now = env_.clock->Now();
  for (size_t i = 0; i < sources_.size(); ++i) {
    const Source& source = sources_[i];
    if (!source.asking && !source.unknown && source.ask_at <= now) Ask(i);
  }
}

void StreamSources::Ask(size_t number) {
  Source& source = sources_[number];
  source.asking = true;
  if (!source.unanswered) source.unanswered = env_.clock->Now();
  cluster_->Ask(
      source.node,
      [&](uint64_t id) -> wire::Message {
        return wire::StreamQuery{
            .id = id, .name = name_, .stream = stream_, .after = source.cursor};
      },
      env_.clock->Now() + kAnswerTime,
      [this, number, alive = alive_](Result<wire::Message> answer) {
        if (*alive) OnAnswer(number, std::move(answer));
      });
}

void StreamSources::OnAnswer(size_t number, Result<wire::Message> answer) {
  Source& source = sources_[number];
  source.asking = false;
  const Time now = env_.clock->Now();
  const auto* reply = answer.ok() ? std::get_if<wire::StreamReply>(&*answer) : nullptr;
  source.ask_at = now;
  if (reply != nullptr) {
    source.unanswered.reset();
    source.answered = true;
    if (reply->status.ok()) {
      Take(&source, *reply);
    } else {
      source.unknown = true;
    }
  }
  Merge();
  changed_();
}

void StreamSources::Take(Source* source, const wire::StreamReply& reply) {
  if (stream_ == 0) {
    stream_ = reply.terms.stream;
    terms_ = reply.terms;
  }
  if (reply.terms.stream != stream_) {  // an older or a younger one of the same name
    source->unknown = true;
    return;
  }
  const std::vector<wire::StreamEntry> entries = wire::RowsIn<wire::StreamEntry>(reply.entries);
  if (reply.first == source->cursor) {
    source->log.insert(source->log.end(), entries.begin(), entries.end());
    source->cursor += entries.size();
  }
  source->caught_up = source->cursor >= reply.total;
  for (const auto& writer : wire::RowsIn<wire::StreamWriterState>(reply.writers)) {
    source->writers[writer.writer] = writer;
  }
  const Time now = env_.clock->Now();
  const bool first = source == sources_.data();
  source->pause = entries.empty() ? std::min(source->pause * 2, kLongestPause) : kShortestPause;
  source->ask_at = now;
  if (source->caught_up) source->ask_at = now + (first ? source->pause : kSecondSource);
}

// --- The order -----------------------------------------------------------------------------------

// Who was not asked, because this process stood still, is not silent.
Duration StreamSources::SilentFor(const Source& source) const {
  return source.unanswered ? env_.clock->Now() - *source.unanswered : Duration(0);
}

bool StreamSources::Live(const Source& source) const {
  return !source.unknown && SilentFor(source) < kSilent;
}

bool StreamSources::Quiet(const Source& source) const {
  return source.answered && source.caught_up &&
         std::none_of(source.writers.begin(), source.writers.end(),
                      [](const auto& w) { return w.second.phase == StreamWriterPhase::kWriting; });
}

void StreamSources::Merge() {
  if (stream_ == 0) return;
  MergeAll(&sources_[0]);
  if (sources_.size() < 2) return;
  const Source& first = sources_[0];
  if (!Live(first) || Quiet(first)) MergeAll(&sources_[1]);
}

void StreamSources::MergeAll(Source* source) {
  for (const wire::StreamEntry& entry : source->log) {
    uint32_t& next = next_[entry.writer];
    if (entry.number != next) continue;  // known from the other one
    ++next;
    order_.push_back(entry);
  }
  source->log.clear();
}

void StreamSources::Forget(uint64_t before) {
  for (; base_ < before && !order_.empty(); ++base_) order_.pop_front();
}

// --- The end -------------------------------------------------------------------------------------

Status StreamSources::status() const {
  bool all_unknown = true, any_hope = false;
  for (const Source& source : sources_) {
    const Duration patience = known() ? kPatience : kSilent + 1s;
    all_unknown &= source.unknown;
    any_hope |= !source.unknown && SilentFor(source) < patience;
  }
  if (any_hope) return {};
  if (all_unknown && !sources_.empty()) {
    return Status::NotFound("there is no stream " + name_ +
                            ": it was never opened, was removed or has expired");
  }
  std::string nodes;
  for (const Source& source : sources_) {
    if (!source.unknown) {
      nodes += (nodes.empty() ? "node " : " and node ") + std::to_string(source.node);
    }
  }
  return Status::Unavailable("who would know the stream " + name_ +
                             " does not answer: " + (nodes.empty() ? "there are no nodes" : nodes));
}

bool StreamSources::complete() const {
  std::map<uint64_t, bool> writers;
  for (const Source& source : sources_) {
    if (!Live(source)) continue;
    if (!Quiet(source) || !source.log.empty()) return false;
    for (const auto& [id, writer] : source.writers) writers[id] = true;
  }
  return known() && writers.size() >= terms_.writers;
}

std::vector<wire::StreamWriterState> StreamSources::Gone() const {
  std::map<uint64_t, wire::StreamWriterState> gone;
  for (const Source& source : sources_) {
    for (const auto& [id, writer] : source.writers) {
      auto it = gone.try_emplace(id, writer).first;
      if (writer.chunks > it->second.chunks || writer.phase == StreamWriterPhase::kEnded) {
        it->second = writer;
      }
    }
  }
  std::vector<wire::StreamWriterState> all;
  // Of one that still writes only a silent source has told.
  for (const auto& [id, writer] : gone) {
    if (writer.phase != StreamWriterPhase::kEnded) all.push_back(writer);
  }
  return all;
}

}  // namespace holdfast::client
