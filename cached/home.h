// SPDX-License-Identifier: Apache-2.0
// The home of an object orders who goes far for it, so that it is fetched once however many jobs
// and nodes want it.
#pragma once

#include <map>

#include "cached/context.h"

namespace holdfast::cached {

// A grant is remembered from the verdict kGo until Fetched, until it expires, or until its holder
// restarts. Nothing else about who holds what is kept: a home that forgets costs at most a second
// fetch.
class Home {
 public:
  static constexpr size_t kMaxGrants = 1'000'000;

  struct Decision {
    wire::Verdict verdict = wire::Verdict::kGo;
    NodeId loader = kNoNode;  // where the verdict is kLoading
  };

  explicit Home(const Context* context) : context_(context) {}

  // `asker` is about to go far for `key`. The own node asks here, too, when it is the home.
  Decision Consider(const ObjectKey& key, NodeId asker);
  void Fetched(const ObjectKey& key, NodeId asker);
  void Forget(NodeId node);  // it restarted
  void Expire();             // what has expired by now

  // The whole of an Ask, and its answer.
  wire::Answer OnAsk(const wire::Ask& ask);
  void OnFetched(const wire::Fetched& fetched);

  size_t grants() const { return grants_.size(); }

 private:
  struct Grant {
    NodeId node;
    Time expires;
  };
  const Context* context_;
  std::map<ObjectKey, Grant> grants_;
};

}  // namespace holdfast::cached
