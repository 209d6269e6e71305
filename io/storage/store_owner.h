// SPDX-License-Identifier: Apache-2.0
// Whose a store is, and which of its owner's processes may use it: the file `owner` in the store's
// directory (docs/formats.md, "Storage protocol").
#pragma once

#include <cstdint>
#include <string>

#include "base/ids.h"
#include "base/status.h"

namespace holdfast::storage {

class StoreOwner {
 public:
  // What the directory says; a directory without the file is nobody's. kCorrupt for a file that is
  // something else.
  static Result<StoreOwner> Load(const std::string& directory);

  NodeId node() const { return node_; }

  // A process with this random number opens the store, or, with the epoch that it was given, comes
  // back. The epoch that it has from now on is durable. kDenied: the store is another node's, or a
  // newer process has opened it since.
  Result<uint64_t> Claim(NodeId node, const std::string& cluster, uint64_t opener, uint64_t epoch);

 private:
  explicit StoreOwner(std::string directory) : directory_(std::move(directory)) {}
  Status Save() const;

  std::string directory_;
  NodeId node_ = kNoNode;  // nobody's
  std::string cluster_;
  uint64_t epoch_ = 0;
  uint64_t opener_ = 0;  // who has this epoch; 0: whoever had it before this server was started
};

}  // namespace holdfast::storage
