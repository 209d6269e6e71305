// SPDX-License-Identifier: Apache-2.0
// What this node asks and tells other homes, many objects a message: may it go far, and the fetch is
// over (home.h has their side).
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "cached/context.h"
#include "cached/home.h"
#include "cached/membership.h"

namespace holdfast::cached {

class Asks {
 public:
  static constexpr size_t kBatch = 1'024;
  static constexpr Duration kTimeout = 1s;

  struct Question {
    ObjectKey key;
    uint64_t load = 0;
    NodeId tried = kNoNode;  // the peer that could not give it
  };
  // Called once for each question; nothing: the home did not answer, or not to this.
  using Answered = std::function<void(const Question&, std::optional<Home::Decision>)>;

  Asks(const Context* context, Membership* membership, Answered answered)
      : context_(context), membership_(membership), answered_(std::move(answered)) {}

  // Leave with the next Flush.
  void Ask(NodeId home, const Question& question) { asks_[home].push_back(question); }
  void Tell(NodeId home, const ObjectKey& key, bool loaded) {
    fetched_[{home, loaded}].push_back(key);
  }
  void Flush();
  void OnAnswer(PeerId from, const wire::Answer& answer);

 private:
  void FlushAsks();
  void FlushFetched();
  void TimedOut(uint64_t ask);

  const Context* context_;
  Membership* membership_;
  Answered answered_;
  uint64_t next_id_ = 1;
  std::map<NodeId, std::vector<Question>> asks_;                        // to be sent, by home
  std::map<uint64_t, std::pair<NodeId, std::vector<Question>>> asked_;  // under way, by ask id
  std::map<std::pair<NodeId, bool>, std::vector<ObjectKey>> fetched_;   // to be told: home, loaded
};

}  // namespace holdfast::cached
