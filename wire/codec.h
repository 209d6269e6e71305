// SPDX-License-Identifier: Apache-2.0
// Messages to Frames and back. MessagePack is known in codec.cc alone.
#pragma once

#include "base/env.h"
#include "wire/messages.h"

namespace holdfast::wire {

// Never fails: what a Message can hold can be sent. Columns are moved, not copied.
Frames Encode(Message message);

// Accepts any bytes. kInvalid for another protocol version (the text names both), kCorrupt for everything else that is
// not a message: unknown type, missing or extra fields or columns, a limit of messages.h exceeded, a column whose
// length does not fit its count, offsets that do not ascend or leave their blob, enums out of range.
// What it returns can be used without another check of its shape: bitmaps have the length of their chunk, `first` is a
// multiple of 64, name_ends and etag_ends fit the number of set bits in `load`.
Result<Message> Decode(Frames frames);

// "Call", "Bids", ...
std::string_view NameOf(const Message& message);

}  // namespace holdfast::wire
