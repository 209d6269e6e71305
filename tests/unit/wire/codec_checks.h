// SPDX-License-Identifier: Apache-2.0
// Through the codec and back.
#pragma once

#include <gtest/gtest.h>

#include <string_view>
#include <utility>
#include <variant>

#include "wire/codec.h"
#include "wire/envelope.h"

namespace holdfast::wire {

template <typename M>
M RoundTrip(M message) {
  Result<Message> decoded = Decode(Encode(std::move(message)));
  EXPECT_TRUE(decoded.ok()) << decoded.status().ToString();
  return decoded.ok() ? std::get<M>(std::move(*decoded)) : M{};
}

template <typename M>
Status Refused(M message) {
  Result<Message> decoded = Decode(Encode(std::move(message)));
  return decoded.status();
}

inline Frames HeadOnly(const EnvelopeWriter& writer) {
  EnvelopeWriter copy = writer;
  return {copy.Finish(), {}};
}

// The refusal is kCorrupt, names the message and says what is wrong.
inline void ExpectCorrupt(const Status& status, std::string_view part) {
  EXPECT_EQ(status.code(), Code::kCorrupt) << status.ToString();
  EXPECT_NE(status.message().find(part), std::string::npos) << status.ToString();
}

}  // namespace holdfast::wire
