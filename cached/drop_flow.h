// SPDX-License-Identifier: Apache-2.0
// One Drop, from the message to its reply:
//
//   1. Step     some OIDs, or one segment's names, an event: heartbeats and reads go on
//   2. Reply    when all have been looked at
//
// What is loaded or held meanwhile may be missed or spared, as if the Drop had come at another
// time.
#pragma once

#include <vector>

#include "cached/context.h"

namespace holdfast::cached {

class DropFlow {
 public:
  static constexpr size_t kOidsPerStep = 4'096;

  DropFlow(const Context* context, PeerId peer, wire::Drop drop)
      : context_(context), peer_(peer), drop_(std::move(drop)), reply_{.id = drop_.id} {}

  // False when nothing is left to look at: the reply has been sent.
  bool Step();
  uint64_t memory_bytes() const { return drop_.oids.size() + drop_.prefix.size(); }

 private:
  void DropOnDisk(size_t begin, size_t end);
  void LookAt(const store::RecordView& record, bool held);

  const Context* context_;
  PeerId peer_;
  wire::Drop drop_;
  wire::DropReply reply_;
  size_t next_ = 0;  // OID or segment
  std::vector<ObjectKey> victims_;
};

}  // namespace holdfast::cached
