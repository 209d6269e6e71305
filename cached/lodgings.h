// SPDX-License-Identifier: Apache-2.0
// Where records lie that full nodes gave to peers, as the objects' home was told.
#pragma once

#include "cached/membership.h"
#include "cached/remembered.h"

namespace holdfast::cached {

// Like grants (home.h): for a while, never more than there is room for, void once the peer has
// restarted. A guest leaves without a word, so that this may be wrong: whoever was there in vain has
// it forgotten. What is not known here costs at most a fetch.
class Lodgings {
 public:
  static constexpr size_t kMost = 1 << 18;
  static constexpr uint64_t kBytes = 152;           // of one, about
  static constexpr uint64_t kShareOfPlanning = 16;  // all together take at most 1 / this
  static constexpr Duration kRemembered = std::chrono::hours(1);

  Lodgings(const Context* context, const Membership* membership);

  void Add(const ObjectKey& key, NodeId at);
  // Version 0: any. kNoNode when none is known.
  NodeId Find(const ObjectKey& key) const;
  // None of this object's versions lies at `node`, or it looks for one itself.
  void Forget(const ObjectKey& key, NodeId node);
  void Expire();

  size_t size() const { return lodgings_.map().size(); }
  uint64_t memory_bytes() const { return lodgings_.places() * kBytes; }

 private:
  struct Lodging {
    NodeId node = kNoNode;
    Incarnation incarnation = 0;
  };

  const Context* context_;
  const Membership* membership_;
  Remembered<Lodging> lodgings_;
};

}  // namespace holdfast::cached
