// SPDX-License-Identifier: Apache-2.0
// The shape of each message's columns: the promises that codec.h makes about a decoded message,
// checked. Only bitmaps, offsets and verdicts are read; the objects' columns are judged by their
// length alone.
#pragma once

#include "base/status.h"
#include "wire/messages.h"

namespace holdfast::wire {

// kCorrupt with the column's name and what is wrong with it.
Status CheckShape(const Manifest& m);
Status CheckShape(const Call& m);
Status CheckShape(const Bids& m);
Status CheckShape(const Confirm& m);
Status CheckShape(const Ack& m);
Status CheckShape(const Ask& m);
Status CheckShape(const Answer& m);
Status CheckShape(const Fetched& m);
Status CheckShape(const Drop& m);
Status CheckShape(const SnapshotReply& m);
Status CheckShape(const StreamReply& m);
Status CheckShape(const StreamAppend& m);
Status CheckShape(const SpillGive& m);
Status CheckShape(const Lodged& m);
// The others have no columns whose lengths depend on anything.
template <typename M>
Status CheckShape(const M&) {
  return {};
}

}  // namespace holdfast::wire
