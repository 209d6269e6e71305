// SPDX-License-Identifier: Apache-2.0
// The oracle of homes: while one node has a home's leave to fetch an object, and for a while after
// it has said that it has it, the home lets no other node go that has not tried that one in vain.
// Reads along on the wire; what the home has fetched itself, having tried in vain, is seen at the
// far store.
#pragma once

#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "tests/sim/fabric.h"
#include "tests/sim/far_world.h"
#include "tests/sim/node_host.h"

namespace holdfast::sim {

class Grants {
 public:
  Grants(World* world, const FarWorld* far, std::function<NodeHost*(ProcessId)> host_of)
      : world_(world), far_(far), host_of_(std::move(host_of)) {}

  void Observe(const Delivery& delivery);
  uint64_t granted() const { return granted_; }

 private:
  using Key = FarWorld::Version;
  struct Grant {
    ProcessId asker = kWorld;
    Time given;  // by the home's clock
    Time at;     // by the world's
  };
  struct Question {
    ProcessId asker = kWorld;
    std::vector<Key> keys;
    std::vector<NodeId> tried;  // could not give the object
  };
  void Answered(ProcessId home, const wire::Answer& answer);
  static std::vector<Key> KeysOf(const Buffer& oids, const Buffer& versions);

  World* world_;
  const FarWorld* far_;
  std::function<NodeHost*(ProcessId)> host_of_;
  std::map<std::pair<ProcessId, uint64_t>, Question> asked_;  // by home and the asker's number
  std::map<std::pair<ProcessId, Key>, Grant> grants_;
  uint64_t granted_ = 0;
};

}  // namespace holdfast::sim
