// SPDX-License-Identifier: Apache-2.0
// What every part of a node is given.
#pragma once

#include <utility>
#include <vector>

#include "base/env.h"
#include "cached/node.h"
#include "wire/codec.h"

namespace holdfast::cached {

struct Context {
  Env env;
  store::MemoryTier* tier;
  store::DiskTier* disk;  // null: none
  NodeOptions options;
  // The least that a promise takes of the memory: so many more promises than the index has places
  // for cannot be made.
  uint64_t least_record_bytes = 0;

  Time Now() const { return env.clock->Now(); }
  void Send(PeerId peer, wire::Message message) const {
    env.network->Send({peer}, wire::Encode(std::move(message)));
  }
};

// Bytes of a node's tiers: what there is room for, or what is reserved.
struct Room {
  uint64_t memory = 0;
  uint64_t disk = 0;

  Room& operator+=(const Room& other) {
    memory += other.memory;
    disk += other.disk;
    return *this;
  }
  Room& operator-=(const Room& other) {
    memory -= other.memory;
    disk -= other.disk;
    return *this;
  }
};

// An object in one version.
struct ObjectKey {
  Oid oid;
  VersionHash version = 0;
  friend auto operator<=>(const ObjectKey&, const ObjectKey&) = default;
};

}  // namespace holdfast::cached
