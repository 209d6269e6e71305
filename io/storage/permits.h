// SPDX-License-Identifier: Apache-2.0
// Who may write to a store's segments beside the node that uses it: whoever says the key of a permit, at
// its place only, until it is revoked. So a reclaim worker that was forgotten writes nowhere.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "base/status.h"

namespace holdfast::storage {

struct Permit {
  uint32_t segment = 0;
  uint64_t offset = 0;
  uint64_t end = 0;
  size_t writes = 0;                // under way
  std::function<void()> revoked{};  // when they have ended
};

inline Status NotPermitted() {
  return Status::Denied("nothing permits a write there, or not any more");
}

class Permits {
 public:
  static constexpr size_t kMost = 64;

  // kInvalid for a key that cannot be, kNoSpace beyond kMost.
  Status Add(uint64_t key, Permit permit);
  // `done` runs when nothing is under way with that key: at once, or from inside of End.
  void Revoke(uint64_t key, std::function<void()> done);
  void Clear() { permits_.clear(); }

  // A write of so many bytes begins; null when nothing permits it.
  std::shared_ptr<Permit> Begin(uint64_t key, uint32_t segment, uint64_t offset, uint64_t bytes);
  static void End(Permit* permit);

 private:
  std::map<uint64_t, std::shared_ptr<Permit>> permits_;  // by key
};

}  // namespace holdfast::storage
