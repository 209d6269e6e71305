// SPDX-License-Identifier: Apache-2.0
// The bytes between a node and the storage server that keeps its journal or its segments:
// docs/formats.md, "Storage protocol", is the page for them. Everything is little-endian, and
// everything received is hostile until a decoder of this file has accepted it.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/status.h"
#include "base/units.h"
#include "wire/bulk_format.h"

namespace holdfast::storage {

constexpr uint16_t kVersion = 1;
constexpr uint64_t kHelloMagic = 0x314f545344464c48;  // "HLFDSTO1"
constexpr uint32_t kFrameMagic = 0x46534648;          // "HFSF"

// Limits that the decoders enforce.
constexpr uint64_t kMaxRecordBytes = kMiB;
constexpr uint64_t kMaxPartBytes = kMiB;  // of a read or a write
constexpr uint64_t kMaxBodyBytes = kMaxRecordBytes + 4;
constexpr size_t kMaxTextBytes = 512;
constexpr size_t kMaxEndpointBytes = 256;
constexpr size_t kMaxNameBytes = 64;
constexpr size_t kOpenerBytes = 8;  // before the name in the body of an opening

// --- Hello ---------------------------------------------------------------------------------------

constexpr size_t kHelloBytes = 64;
struct Hello {
  uint64_t cluster_hash = 0;  // Hash64 of the cluster's name
  bulk::Token token{};        // all zero without a cluster key
};

std::array<std::byte, kHelloBytes> Encode(const Hello& hello);
// `bytes` has exactly kHelloBytes. kCorrupt for what is no hello, kInvalid for another version.
Result<Hello> DecodeHello(ByteView bytes);

// --- Frames --------------------------------------------------------------------------------------

enum class Kind : uint8_t {
  kOpenJournal = 1,
  kOpenSegments = 2,
  kOpened = 3,
  kFailed = 4,
  kAppend = 5,
  kAppended = 6,
  kTruncate = 7,
  kReplay = 8,
  kReplayed = 9,
  kRead = 10,
  kBytes = 11,
  kWrite = 12,
  kSync = 13,
  kDone = 14,
  kPing = 15,
  kPong = 16,
  kOpenMover = 17,
  kOpenPermitted = 18,
  kPermit = 19,
  kRevoke = 20,
  kMove = 21,
  kMoved = 22,
};

constexpr size_t kHeadBytes = 56;
// What a, b and count mean for each kind is a table in docs/formats.md.
struct FrameHead {
  Kind kind = Kind::kPing;
  Code code = Code::kOk;  // not kOk of kFailed alone
  uint64_t tag = 0;
  uint64_t a = 0;
  uint64_t b = 0;
  uint32_t count = 0;
  uint32_t body_bytes = 0;
  uint64_t body_hash = 0;
  friend bool operator==(const FrameHead&, const FrameHead&) = default;
};

// Fills kHeadBytes.
void StoreHead(const FrameHead& head, std::byte* at);
// The same with length and hash of this body.
void StoreHead(FrameHead head, ByteView body, std::byte* at);
// `bytes` has exactly kHeadBytes. kCorrupt for everything that is no head, or whose body is longer
// than its kind allows; the body is still to be checked (IsBodyOf).
Result<FrameHead> DecodeHead(ByteView bytes);
bool IsBodyOf(const FrameHead& head, ByteView body);

// What the opening of a mover names: a store, here (`endpoint` is empty) or at another server.
struct MoverName {
  std::string store{};
  std::string endpoint{};
};
std::string Encode(const MoverName& name);
// kInvalid for what is no name of a store.
Result<MoverName> DecodeMoverName(std::string_view text);

// Letters, digits, '.', '_' and '-', of which the first is a letter or digit: a part of a path.
bool IsStoreName(std::string_view name);

// The records of an append frame, in order; `each` gets views into `body`. kCorrupt when there are
// not `count` of them, without a gap; what was visited before is a beginning of them.
Status VisitRecords(ByteView body, uint32_t count, const std::function<void(ByteView)>& each);
// Whether VisitRecords will be ok, without a look at the records.
bool HasRecords(ByteView body, uint32_t count);

}  // namespace holdfast::storage
