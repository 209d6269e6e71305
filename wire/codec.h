// SPDX-License-Identifier: Apache-2.0
// Messages to Frames and back. MessagePack is known in codec.cc alone.
#pragma once

#include "base/env.h"
#include "wire/messages.h"

namespace holdfast::wire {

// Limits of what a Message can hold without one in its type: Encode cuts what is longer, Decode
// refuses it.
constexpr size_t kMaxStatusTextBytes = 8192;
constexpr size_t kMaxLossTextBytes = 512;
constexpr size_t kMaxLosses = 1000;
constexpr Duration kMaxDuration = std::chrono::hours(24 * 36'500);  // below zero is 0
constexpr size_t kMaxLongTextBytes = 16 * kMiB;                     // StatusReply::json; not cut

// Never fails: what a Message can hold can be sent. Columns are moved, not copied.
Frames Encode(Message message);

// Accepts any bytes. kInvalid for another protocol version (the text names both), kCorrupt for
// everything else that is not a message: unknown type, missing or extra fields or columns, a limit
// of messages.h exceeded, a column whose length does not fit its count, offsets that do not ascend
// or leave their blob, enums out of range. What it returns can be used without another check of its
// shape: bitmaps have the length of their chunk, `first` is a multiple of 64, name_ends and
// etag_ends fit the number of set bits in `load`. Also: no bit beyond a bitmap's end is set, `home`
// is a part of `offer`, bids of an object are not two, what is confirmed is either kept or loaded,
// need_by is empty or complete, durations lie in [0, kMaxDuration]. What only a core can know stays
// unchecked: digests, the order of OIDs, whether a name belongs to its OID, whether a chunk lies
// inside its manifest.
Result<Message> Decode(Frames frames);

// "Call", "Bids", ...
std::string_view NameOf(const Message& message);

}  // namespace holdfast::wire
