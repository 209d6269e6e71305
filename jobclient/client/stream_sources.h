// SPDX-License-Identifier: Apache-2.0
// What the two catalogues of a stream say, merged into one order for one reader. The first one's order
// counts as long as it answers; the second one's is used when the first is silent, does not know the
// stream, or has no writer at work any more: then it may know of chunks that the first was never told.
// Chunks of one writer come in its order and once, whatever happens.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/env.h"
#include "jobclient/client/cluster_view.h"
#include "wire/stream_entry.h"

namespace holdfast::client {

class StreamSources {
 public:
  static constexpr Duration kSilent = 3s;
  static constexpr Duration kPatience = 30s;  // with the silence of both

  // `changed` after every answer, and after every answer that did not come.
  StreamSources(const Env& env, ClusterView* cluster, std::string name,
                std::function<void()> changed);
  ~StreamSources() { *alive_ = false; }

  // Asks whom it is time to ask. Call it every few milliseconds.
  void Tick();

  // kNotFound: who answers knows no such stream (any more). kUnavailable: nobody answers. Ok while
  // there is hope.
  Status status() const;
  bool known() const { return stream_ != 0; }
  const wire::StreamTerms& terms() const { return terms_; }

  // The merged order so far; entries only come at the end.
  uint64_t total() const { return base_ + order_.size(); }
  const wire::StreamEntry& at(uint64_t number) const { return order_[number - base_]; }
  void Forget(uint64_t before);  // entries that nobody asks for any more

  // All that will ever come is in the order.
  bool complete() const;
  // Writers whose lease ended before they said that they had ended.
  std::vector<wire::StreamWriterState> Gone() const;

 private:
  struct Source {
    NodeId node = kNoNode;
    bool unknown = false;  // it does not have the stream
    bool answered = false;
    bool asking = false;
    bool caught_up = false;
    std::optional<Time> unanswered{};  // since when questions are
    Time ask_at{};
    Duration pause{};
    uint64_t cursor = 0;
    std::deque<wire::StreamEntry> log{};  // not merged yet
    std::map<uint64_t, wire::StreamWriterState> writers{};
  };
  void Ask(size_t number);
  void OnAnswer(size_t number, Result<wire::Message> answer);
  void Take(Source* source, const wire::StreamReply& reply);
  void Merge();
  void MergeAll(Source* source);
  Duration SilentFor(const Source& source) const;
  bool Live(const Source& source) const;
  // Nobody is at work there, and it has said all.
  bool Quiet(const Source& source) const;

  Env env_;
  ClusterView* cluster_;
  std::string name_;
  std::function<void()> changed_;
  std::vector<Source> sources_;
  uint64_t stream_ = 0;
  wire::StreamTerms terms_;
  std::deque<wire::StreamEntry> order_;
  uint64_t base_ = 0;
  std::map<uint64_t, uint32_t> next_;  // of each writer
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace holdfast::client
