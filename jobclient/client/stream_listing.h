// SPDX-License-Identifier: Apache-2.0
// Has the chunks of one writer listed in the catalogues of its stream, in order, many a message:
// each catalogue is told what it has not acknowledged, again and again until it answers, and now and
// then nothing, so that the writer's lease goes on. One that has forgotten the stream, or is silent
// for long while another one answers, is left behind.
//
// A chunk is listed when every catalogue that was not left behind has it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/env.h"
#include "jobclient/client/cluster_view.h"
#include "wire/stream_entry.h"

namespace holdfast::client {

class StreamListing {
 public:
  static constexpr Duration kAnswerTime = 1s;   // then it is asked again
  static constexpr Duration kLeaveBehind = 5s;  // the silence of one
  static constexpr uint32_t kEntriesAMessage = 1'024;

  struct Options {
    uint64_t stream = 0;
    uint64_t writer = 0;
    Duration lease{};
    Duration patience{};  // with the silence of all
  };
  // `listed` after every progress, `failed` once.
  StreamListing(const Env& env, ClusterView* cluster, std::function<void()> listed,
                std::function<void(const Status&)> failed);
  ~StreamListing() { *alive_ = false; }

  // The nodes that have opened it.
  void Start(const Options& options, const std::vector<NodeId>& nodes);
  void Add(const wire::StreamEntry& entry);  // the next number
  // No more will be added.
  void End();
  // The writer has failed: its lease ends now, so that readers need not wait for that.
  void Abandon();
  // Call it every few hundred milliseconds.
  void Tick();

  uint32_t listed() const { return listed_; }           // chunks
  uint64_t listed_records() const { return records_; }  // whole ones
  bool ended() const;                                   // and everybody knows

 private:
  struct Catalogue {
    NodeId node = kNoNode;
    uint32_t next = 0;  // so many chunks are listed there
    bool ended = false;
    bool asking = false;
    Time heard;
    Time asked{};
  };
  void Send(size_t number);
  void OnAnswer(size_t number, Result<wire::Message> answer);
  void Pump();
  void Settle();
  void LeaveBehind(size_t number, const Status& why);
  void Fail(const Status& status);

  Env env_;
  ClusterView* cluster_;
  std::function<void()> on_listed_;
  std::function<void(const Status&)> on_failed_;
  Options options_;
  std::vector<Catalogue> catalogues_;      // those left behind have no node
  std::deque<wire::StreamEntry> entries_;  // from listed_ on
  uint32_t listed_ = 0;
  uint64_t records_ = 0;
  bool ending_ = false;
  bool over_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace holdfast::client
