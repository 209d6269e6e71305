// SPDX-License-Identifier: Apache-2.0
#include "wire/storage_format.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "base/hash.h"
#include "wire/segment_move.h"

namespace holdfast::storage {
namespace {

// Offsets of the fields, as in docs/formats.md.
namespace hello {
constexpr size_t kMagic = 0, kVersion = 8, kReserved = 10, kCluster = 16, kToken = 24, kTail = 56;
}
namespace head {
constexpr size_t kMagic = 0, kKind = 4, kCode = 5, kReserved = 6, kTag = 8, kA = 16, kB = 24,
                 kCount = 32, kBytes = 36, kHash = 40, kCheck = 48;
}
constexpr size_t kLengthBytes = 4;

bool AllZero(ByteView bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

uint64_t HashOf(ByteView body) { return body.empty() ? 0 : Hash64(body); }

// The longest body of a frame of this kind.
uint64_t MostBytes(Kind kind) {
  switch (kind) {
    case Kind::kOpenJournal:
    case Kind::kOpenSegments:
    case Kind::kOpenPermitted:
      return kOpenerBytes + kMaxNameBytes;
    case Kind::kOpenMover:
      return kOpenerBytes + kMaxNameBytes + 1 + kMaxEndpointBytes;
    case Kind::kPermit:
      return sizeof(uint64_t);
    case Kind::kMove:
      return kMoveHeadBytes + kMostMoveRecords * disk::kEntryBytes;
    case Kind::kMoved:
      return kMostMoveRecords / 8;
    case Kind::kOpened:
      return 16;
    case Kind::kFailed:
      return kMaxTextBytes;
    case Kind::kAppend:
      return kMaxBodyBytes;
    case Kind::kBytes:
    case Kind::kWrite:
      return kMaxPartBytes;
    default:
      return 0;
  }
}

}  // namespace

std::array<std::byte, kHelloBytes> Encode(const Hello& h) {
  std::array<std::byte, kHelloBytes> bytes{};
  StoreAs(bytes.data() + hello::kMagic, kHelloMagic);
  StoreAs(bytes.data() + hello::kVersion, kVersion);
  StoreAs(bytes.data() + hello::kCluster, h.cluster_hash);
  std::memcpy(bytes.data() + hello::kToken, h.token.data(), h.token.size());
  return bytes;
}

Result<Hello> DecodeHello(ByteView bytes) {
  if (bytes.size() != kHelloBytes ||
      LoadAs<uint64_t>(bytes.data() + hello::kMagic) != kHelloMagic) {
    return Status::Corrupt("not a hello of the storage protocol");
  }
  if (const auto version = LoadAs<uint16_t>(bytes.data() + hello::kVersion); version != kVersion) {
    return Status::Invalid("the peer speaks storage protocol version " + std::to_string(version) +
                           ", this side speaks " + std::to_string(kVersion) +
                           "; run the same release on both");
  }
  if (!AllZero(bytes.subspan(hello::kReserved, hello::kCluster - hello::kReserved)) ||
      !AllZero(bytes.subspan(hello::kTail))) {
    return Status::Corrupt("a hello of the storage protocol with reserved bytes that are not zero");
  }
  Hello h{.cluster_hash = LoadAs<uint64_t>(bytes.data() + hello::kCluster)};
  std::memcpy(h.token.data(), bytes.data() + hello::kToken, h.token.size());
  return h;
}

void StoreHead(const FrameHead& h, std::byte* at) {
  StoreAs(at + head::kMagic, kFrameMagic);
  StoreAs(at + head::kKind, static_cast<uint8_t>(h.kind));
  StoreAs(at + head::kCode, static_cast<uint8_t>(h.code));
  StoreAs(at + head::kReserved, uint16_t{0});
  StoreAs(at + head::kTag, h.tag);
  StoreAs(at + head::kA, h.a);
  StoreAs(at + head::kB, h.b);
  StoreAs(at + head::kCount, h.count);
  StoreAs(at + head::kBytes, h.body_bytes);
  StoreAs(at + head::kHash, h.body_hash);
  StoreAs(at + head::kCheck, Hash64({at, head::kCheck}));
}

void StoreHead(FrameHead h, ByteView body, std::byte* at) {
  h.body_bytes = static_cast<uint32_t>(body.size());
  h.body_hash = HashOf(body);
  StoreHead(h, at);
}

Result<FrameHead> DecodeHead(ByteView bytes) {
  if (bytes.size() != kHeadBytes || LoadAs<uint32_t>(bytes.data() + head::kMagic) != kFrameMagic ||
      LoadAs<uint64_t>(bytes.data() + head::kCheck) != Hash64(bytes.first(head::kCheck))) {
    return Status::Corrupt("not a frame of the storage protocol, or a damaged one");
  }
  const std::byte* at = bytes.data();
  const auto kind = static_cast<uint8_t>(at[head::kKind]);
  const auto code = static_cast<uint8_t>(at[head::kCode]);
  if (kind < static_cast<uint8_t>(Kind::kOpenJournal) ||
      kind > static_cast<uint8_t>(Kind::kMoved) || code > static_cast<uint8_t>(Code::kTimeout) ||
      LoadAs<uint16_t>(at + head::kReserved) != 0) {
    return Status::Corrupt("a frame of no kind that the storage protocol knows");
  }
  const FrameHead h{.kind = static_cast<Kind>(kind),
                    .code = static_cast<Code>(code),
                    .tag = LoadAs<uint64_t>(at + head::kTag),
                    .a = LoadAs<uint64_t>(at + head::kA),
                    .b = LoadAs<uint64_t>(at + head::kB),
                    .count = LoadAs<uint32_t>(at + head::kCount),
                    .body_bytes = LoadAs<uint32_t>(at + head::kBytes),
                    .body_hash = LoadAs<uint64_t>(at + head::kHash)};
  const bool fits = h.body_bytes <= MostBytes(h.kind) && (h.body_bytes > 0 || h.body_hash == 0);
  if (!fits || (h.kind == Kind::kFailed) != (h.code != Code::kOk)) {
    return Status::Corrupt("a frame of the storage protocol with a body that it cannot have");
  }
  return h;
}

bool IsBodyOf(const FrameHead& h, ByteView body) {
  return body.size() == h.body_bytes && HashOf(body) == h.body_hash;
}

std::string Encode(const MoverName& name) {
  return name.endpoint.empty() ? name.store : name.store + "@" + name.endpoint;
}

Result<MoverName> DecodeMoverName(std::string_view text) {
  MoverName name{.store = std::string(text.substr(0, text.find('@')))};
  if (text.size() > name.store.size()) name.endpoint = text.substr(name.store.size() + 1);
  const bool empty = name.endpoint.empty() && text.ends_with('@');
  if (!IsStoreName(name.store) || empty || name.endpoint.size() > kMaxEndpointBytes)
    return Status::Invalid("no name of a store whose records could be moved");
  return name;
}

bool IsStoreName(std::string_view name) {
  auto alphanumeric = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
  };
  return !name.empty() && name.size() <= kMaxNameBytes && alphanumeric(name.front()) &&
         std::all_of(name.begin(), name.end(),
                     [&](char c) { return alphanumeric(c) || c == '.' || c == '_' || c == '-'; });
}

Status VisitRecords(ByteView body, uint32_t count, const std::function<void(ByteView)>& each) {
  for (uint32_t i = 0; i < count; ++i) {
    if (body.size() < kLengthBytes) return Status::Corrupt("an append frame lacks records");
    const auto bytes = LoadAs<uint32_t>(body.data());
    body = body.subspan(kLengthBytes);
    if (bytes > body.size()) return Status::Corrupt("a record of an append frame is cut off");
    if (each) each(body.first(bytes));
    body = body.subspan(bytes);
  }
  return body.empty() ? Status() : Status::Corrupt("an append frame has more than its records");
}

bool HasRecords(ByteView body, uint32_t count) {
  return count > 0 && VisitRecords(body, count, nullptr).ok();
}

}  // namespace holdfast::storage
