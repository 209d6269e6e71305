// SPDX-License-Identifier: Apache-2.0
// The home of an object orders who goes far for it, so that it is fetched once however many jobs
// and nodes want it.
#pragma once

#include "cached/context.h"
#include "cached/lodgings.h"
#include "cached/membership.h"
#include "cached/remembered.h"

namespace holdfast::cached {

// Whom the home has sent is remembered while the fetch is under way, and grant_ttl longer: two jobs
// that plan at the same time may choose different nodes for an object, and the second one's turn
// may come when the first has it already. A grant is void once its holder has restarted, and passes
// to whoever has tried the holder in vain. What full nodes gave to peers is remembered, too
// (lodgings.h). Nothing else about who holds what is kept, and what the home forgets costs at most a
// second fetch.
class Home {
 public:
  static constexpr size_t kMaxGrants = 1 << 18;
  static constexpr uint64_t kGrantBytes = 160;      // of one, about
  static constexpr uint64_t kShareOfPlanning = 16;  // the grants take at most 1 / this

  struct Decision {
    wire::Verdict verdict = wire::Verdict::kGo;
    NodeId loader = kNoNode;  // where the verdict is kLoading
  };

  Home(const Context* context, const Membership* membership);

  // `asker` is about to go far for `key`, and could not have it from `tried`. Version 0 is whichever
  // there is. The own node asks here, too, when it is the home. An asker whom nobody knows (kNoNode)
  // goes unremembered.
  Decision Consider(const ObjectKey& key, NodeId asker, NodeId tried);
  // The fetch of `asker` is over.
  void Fetched(const ObjectKey& key, NodeId asker, bool loaded);
  void Expire();  // what has expired by now

  // The whole of an Ask, and its answer.
  wire::Answer OnAsk(NodeId asker, const wire::Ask& ask);
  void OnFetched(NodeId asker, const wire::Fetched& fetched);
  void OnLodged(NodeId at, const wire::Lodged& lodged);

  size_t under_way() const { return under_way_; }
  uint64_t memory_bytes() const {
    return grants_.places() * kGrantBytes + lodgings_.memory_bytes();
  }
  const Lodgings& lodgings() const { return lodgings_; }
  uint64_t sent_to_lodgings() const { return sent_to_lodgings_; }

 private:
  struct Grant {
    NodeId node = kNoNode;
    Incarnation incarnation = 0;
    bool fetched = false;
    Time expires;
  };
  bool Holds(const Grant& grant) const;
  void Remember(const ObjectKey& key, NodeId node, bool fetched);

  const Context* context_;
  const Membership* membership_;
  Remembered<Grant> grants_;
  size_t under_way_ = 0;
  Lodgings lodgings_;
  uint64_t sent_to_lodgings_ = 0;
};

}  // namespace holdfast::cached
