// SPDX-License-Identifier: Apache-2.0
// Records that verify themselves: every byte follows from (key, version, offset), so a reader needs
// nobody to tell it whether what it read is right.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/ids.h"

namespace holdfast::torture {

constexpr uint32_t kKeys =
    6000;  // about three times what fits, so that a third of the lookups find something
constexpr uint64_t kMaxPayload = 2048;

Oid OidOfKey(uint32_t key);
// 1 ... kMaxPayload bytes, mostly a few hundred, of any length.
uint64_t SizeOf(uint32_t key, VersionHash version);
void Fill(uint32_t key, VersionHash version, ByteSpan payload);
// Is this the payload of that record, whole and unmixed?
bool Right(uint32_t key, VersionHash version, ByteView payload);

}  // namespace holdfast::torture
