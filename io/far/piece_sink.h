// SPDX-License-Identifier: Apache-2.0
// The bytes of a range on their way into its pieces: each is hashed where it comes from and put
// where it belongs, what lies between them is dropped.
#pragma once

#include <algorithm>
#include <vector>

#include "base/env.h"
#include "base/hash.h"
#include "io/far/stream_copy.h"

namespace holdfast::far {

class PieceSink {
 public:
  PieceSink() = default;
  // `pieces` as in FarGet; from now on none is filled, so that a range may be read again.
  PieceSink(uint64_t offset, std::vector<FarPiece>* pieces) : at_(offset), pieces_(pieces) {
    for (FarPiece& piece : *pieces_) piece.filled = false;
    FinishFull();
  }

  // The bytes that follow those before.
  void Take(ByteView bytes) {
    while (!bytes.empty() && next_ < pieces_->size()) {
      FarPiece& piece = (*pieces_)[next_];
      if (at_ < piece.offset) {
        const size_t gap = std::min<uint64_t>(piece.offset - at_, bytes.size());
        bytes = bytes.subspan(gap);
        at_ += gap;
        continue;
      }
      const uint64_t done = at_ - piece.offset;
      const size_t n = std::min<uint64_t>(piece.into.size() - done, bytes.size());
      hasher_.Update(bytes.first(n));
      StreamCopy(piece.into.data() + done, bytes.data(), n);
      bytes = bytes.subspan(n);
      at_ += n;
      FinishFull();
    }
    at_ += bytes.size();
  }

 private:
  void FinishFull() {
    for (; next_ < pieces_->size(); ++next_) {
      FarPiece& piece = (*pieces_)[next_];
      if (at_ < piece.offset + piece.into.size()) return;
      piece.hash = hasher_.Digest();
      piece.filled = true;
      hasher_ = Hasher64();
    }
  }

  uint64_t at_ = 0;
  std::vector<FarPiece>* pieces_ = nullptr;
  size_t next_ = 0;
  Hasher64 hasher_;  // of the next piece's bytes so far
};

}  // namespace holdfast::far
