// SPDX-License-Identifier: Apache-2.0
// Opens a stream for a writer at the nodes that keep its catalogue, one after the other, so that of
// two who create a name at the same time one is told that it is taken.
//
// On the deciding thread; owns itself through the callbacks that it waits for.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/env.h"
#include "jobclient/client/cluster_view.h"

namespace holdfast::client {

class StreamOpening : public std::enable_shared_from_this<StreamOpening> {
 public:
  struct Opened {
    wire::StreamTerms terms;
    std::vector<NodeId> catalogues;  // that have it, at least one
  };
  using Done = std::function<void(Result<Opened>)>;

  // `open` is sent to all; its id does not count. kInvalid: the name is taken. kNotFound: nothing to
  // join. kUnavailable: nobody answers.
  static void Start(const Env& env, ClusterView* cluster, wire::StreamOpen open, Done done);

 private:
  static constexpr Duration kAnswerTime = 1s;
  static constexpr uint32_t kTries = 3;

  StreamOpening(const Env& env, ClusterView* cluster, wire::StreamOpen open, Done done)
      : env_(env), cluster_(cluster), open_(std::move(open)), done_(std::move(done)) {}

  void Ask();
  void OnAnswer(Result<wire::Message> answer);
  void Taken(const Status& why);
  void Next();
  void Finish();

  Env env_;
  ClusterView* cluster_;
  wire::StreamOpen open_;
  Done done_;
  std::vector<NodeId> nodes_;
  size_t at_ = 0;
  uint32_t tries_ = 0;
  Opened opened_;
  Status refused_;
  uint32_t silent_ = 0;
};

}  // namespace holdfast::client
