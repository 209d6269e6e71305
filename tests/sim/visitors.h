// SPDX-License-Identifier: Apache-2.0
// Local clients, one on each host, that look up random objects in their node's memory, copy some,
// keep views of others for a while, check every byte, and are killed and started again: the rule of
// local reading under load.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "tests/sim/far_world.h"
#include "tests/sim/node_host.h"

namespace holdfast::sim {

struct VisitCounts {
  uint64_t looks = 0;
  uint64_t found = 0;
  uint64_t views = 0;
  uint64_t fetched = 0;  // because a visitor asked
};

class Visitor {
 public:
  // Some of the last `background` objects of the far world are asked for through the node, too, and
  // as many of all of them by their names alone, so that it fetches them.
  Visitor(World* world, FarWorld* far, NodeHost* host, uint32_t background, VisitCounts* counts);

  void Start();
  // Lets go of everything, for good.
  void End();

 private:
  struct Held {
    LocalView view;
    const FarObject* object = nullptr;
  };
  void Visit();
  void Look(const FarObject& object, VersionHash version);
  void Keep(const FarObject& object, LocalView view);
  void Fetch();
  void Die();
  void CheckNotEnded(const FarObject& object);
  void Check(const FarObject& object, VersionHash version, ByteView bytes);

  World* world_;
  FarWorld* far_;
  NodeHost* host_;
  uint32_t background_;
  VisitCounts* counts_;
  Random random_;
  Duration longest_;
  uint32_t starts_ = 0;
  ProcessId process_ = kWorld;
  std::shared_ptr<SessionFile> session_;
  uint64_t last_view_ = 0;
  std::map<uint64_t, Held> views_;
};

}  // namespace holdfast::sim
