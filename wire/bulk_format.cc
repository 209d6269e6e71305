// SPDX-License-Identifier: Apache-2.0
#include "wire/bulk_format.h"

#include <algorithm>
#include <cstring>

#include "base/hash.h"

namespace holdfast::bulk {
namespace {

// Offsets of the fields, as in docs/formats.md.
namespace client_hello {
constexpr size_t kMagic = 0, kVersion = 8, kReserved = 10, kCluster = 16, kToken = 24, kTail = 56;
}
namespace server_hello {
constexpr size_t kMagic = 0, kVersion = 8, kCode = 10, kReserved = 11, kText = 12;
}
namespace batch {
constexpr size_t kLength = 0, kMagic = 4, kRequest = 8, kReceived = 16, kPatience = 24, kCount = 32,
                 kMode = 34, kPlaces = 35, kReserved = 36;
}
namespace want {
constexpr size_t kOid = 0, kVersion = 16, kSize = 24, kRoom = 32, kName = 40, kEtag = 42,
                 kReserved = 44;
}
namespace answer {
constexpr size_t kMagic = 0, kItem = 4, kCode = 6, kFlags = 7, kRequest = 8, kVersion = 16,
                 kSize = 24, kHash = 32, kText = 40, kCheck = 44;
constexpr uint8_t kMore = 1, kPlace = 2;  // bits of kFlags
}  // namespace answer

bool AllZero(const std::byte* p, size_t n) {
  return std::all_of(p, p + n, [](std::byte b) { return b == std::byte{0}; });
}

bool IsCode(uint8_t code) { return code <= static_cast<uint8_t>(Code::kTimeout); }

uint32_t AnswerCheck(const std::byte* at) {
  return static_cast<uint32_t>(Hash64({at, answer::kCheck}));
}

Status OtherVersion(uint16_t theirs) {
  return Status::Invalid("the peer speaks bulk protocol version " + std::to_string(theirs) +
                         ", this side speaks " + std::to_string(kBulkVersion) +
                         "; run the same release on both");
}

// Reads the item at the front of `rest` and takes it off.
Status TakeWant(BulkMode mode, ByteView* rest, Want* out) {
  if (rest->size() < kWantBytes) return Status::Corrupt("bulk batch: an item is cut off");
  const std::byte* p = rest->data();
  size_t name_bytes = LoadAs<uint16_t>(p + want::kName);
  size_t etag_bytes = LoadAs<uint16_t>(p + want::kEtag);
  if (name_bytes > kMaxBulkNameBytes) return Status::Corrupt("bulk batch: a name is too long");
  if (etag_bytes > kMaxBulkEtagBytes) return Status::Corrupt("bulk batch: an ETag is too long");
  if (rest->size() - kWantBytes < name_bytes + etag_bytes) {
    return Status::Corrupt("bulk batch: a name or ETag is cut off");
  }
  if (!AllZero(p + want::kReserved, kWantBytes - want::kReserved)) {
    return Status::Corrupt("bulk batch: reserved bytes of an item are not zero");
  }
  if (mode != BulkMode::kFetch && name_bytes + etag_bytes > 0) {
    return Status::Corrupt("bulk batch: a name where nothing is to be fetched");
  }
  out->oid = {LoadAs<uint64_t>(p + want::kOid), LoadAs<uint64_t>(p + want::kOid + 8)};
  out->version = LoadAs<uint64_t>(p + want::kVersion);
  out->size = LoadAs<uint64_t>(p + want::kSize);
  out->room = LoadAs<uint64_t>(p + want::kRoom);
  out->name = AsText(rest->subspan(kWantBytes, name_bytes));
  out->etag = AsText(rest->subspan(kWantBytes + name_bytes, etag_bytes));
  *rest = rest->subspan(kWantBytes + name_bytes + etag_bytes);
  return {};
}

}  // namespace

std::array<std::byte, kClientHelloBytes> Encode(const ClientHello& hello) {
  std::array<std::byte, kClientHelloBytes> bytes{};
  StoreAs(bytes.data() + client_hello::kMagic, kHelloMagic);
  StoreAs(bytes.data() + client_hello::kVersion, hello.version);
  StoreAs(bytes.data() + client_hello::kCluster, hello.cluster_hash);
  std::memcpy(bytes.data() + client_hello::kToken, hello.token.data(), hello.token.size());
  return bytes;
}

std::array<std::byte, kServerHelloBytes> Encode(const ServerHello& hello) {
  std::array<std::byte, kServerHelloBytes> bytes{};
  StoreAs(bytes.data() + server_hello::kMagic, kHelloMagic);
  StoreAs(bytes.data() + server_hello::kVersion, hello.version);
  StoreAs(bytes.data() + server_hello::kCode, static_cast<uint8_t>(hello.code));
  StoreAs(bytes.data() + server_hello::kText, hello.text_bytes);
  return bytes;
}

bool MayBeHello(ByteView bytes) {
  size_t n = std::min(bytes.size(), sizeof(kHelloMagic));
  return n == 0 || std::memcmp(bytes.data(), &kHelloMagic, n) == 0;
}

Result<ClientHello> DecodeClientHello(ByteView bytes) {
  if (bytes.size() != kClientHelloBytes ||
      LoadAs<uint64_t>(bytes.data() + client_hello::kMagic) != kHelloMagic) {
    return Status::Corrupt("not a bulk hello");
  }
  ClientHello hello;
  hello.version = LoadAs<uint16_t>(bytes.data() + client_hello::kVersion);
  if (hello.version != kBulkVersion) return OtherVersion(hello.version);
  if (!AllZero(bytes.data() + client_hello::kReserved,
               client_hello::kCluster - client_hello::kReserved) ||
      !AllZero(bytes.data() + client_hello::kTail, kClientHelloBytes - client_hello::kTail)) {
    return Status::Corrupt("bulk hello: reserved bytes are not zero");
  }
  hello.cluster_hash = LoadAs<uint64_t>(bytes.data() + client_hello::kCluster);
  std::memcpy(hello.token.data(), bytes.data() + client_hello::kToken, hello.token.size());
  return hello;
}

Result<ServerHello> DecodeServerHello(ByteView bytes) {
  if (bytes.size() != kServerHelloBytes ||
      LoadAs<uint64_t>(bytes.data() + server_hello::kMagic) != kHelloMagic) {
    return Status::Corrupt("the peer is no bulk server");
  }
  ServerHello hello;
  hello.version = LoadAs<uint16_t>(bytes.data() + server_hello::kVersion);
  if (hello.version != kBulkVersion) return OtherVersion(hello.version);
  auto code = LoadAs<uint8_t>(bytes.data() + server_hello::kCode);
  hello.text_bytes = LoadAs<uint32_t>(bytes.data() + server_hello::kText);
  if (!IsCode(code) || LoadAs<uint8_t>(bytes.data() + server_hello::kReserved) != 0 ||
      hello.text_bytes > kMaxTextBytes) {
    return Status::Corrupt("bulk server hello: a field is out of range");
  }
  hello.code = static_cast<Code>(code);
  return hello;
}

bool TokensEqual(const Token& a, const Token& b) {
  unsigned difference = 0;
  for (size_t i = 0; i < a.size(); ++i) difference |= std::to_integer<unsigned>(a[i] ^ b[i]);
  return difference == 0;
}

void AppendWant(const Want& item, std::vector<std::byte>* out) {
  HF_CHECK(item.name.size() <= kMaxBulkNameBytes && item.etag.size() <= kMaxBulkEtagBytes);
  size_t at = out->size();
  out->resize(at + kWantBytes + item.name.size() + item.etag.size());
  std::byte* p = out->data() + at;
  StoreAs(p + want::kOid, item.oid.hi);
  StoreAs(p + want::kOid + 8, item.oid.lo);
  StoreAs(p + want::kVersion, item.version);
  StoreAs(p + want::kSize, item.size);
  StoreAs(p + want::kRoom, item.room);
  StoreAs(p + want::kName, static_cast<uint16_t>(item.name.size()));
  StoreAs(p + want::kEtag, static_cast<uint16_t>(item.etag.size()));
  std::copy_n(AsBytes(item.name).begin(), item.name.size(), p + kWantBytes);
  std::copy_n(AsBytes(item.etag).begin(), item.etag.size(), p + kWantBytes + item.name.size());
}

void StoreBatchHeader(const BatchHeader& header, std::byte* at) {
  std::memset(at, 0, kBatchHeaderBytes);
  StoreAs(at + batch::kLength, header.length);
  StoreAs(at + batch::kMagic, kBatchMagic);
  StoreAs(at + batch::kRequest, header.request);
  StoreAs(at + batch::kReceived, header.received);
  StoreAs(at + batch::kPatience, static_cast<uint64_t>(header.patience.count()));
  StoreAs(at + batch::kCount, header.count);
  StoreAs(at + batch::kMode, static_cast<uint8_t>(header.mode));
  StoreAs(at + batch::kPlaces, static_cast<uint8_t>(header.places ? 1 : 0));
}

Result<std::optional<size_t>> BatchLength(ByteView bytes) {
  if (bytes.size() < batch::kRequest) return std::optional<size_t>();
  if (LoadAs<uint32_t>(bytes.data() + batch::kMagic) != kBatchMagic) {
    return Status::Corrupt("not a bulk batch");
  }
  size_t length = LoadAs<uint32_t>(bytes.data() + batch::kLength);
  if (length < kBatchHeaderBytes || length > kMaxBatchBytes) {
    return Status::Corrupt("a bulk batch of " + std::to_string(length) +
                           " bytes; allowed are at most " + std::to_string(kMaxBatchBytes));
  }
  return std::optional<size_t>(length);
}

Result<BatchHeader> DecodeBatch(ByteView bytes, std::vector<Want>* wants) {
  wants->clear();
  if (bytes.size() < kBatchHeaderBytes || bytes.size() > kMaxBatchBytes ||
      LoadAs<uint32_t>(bytes.data() + batch::kMagic) != kBatchMagic ||
      LoadAs<uint32_t>(bytes.data() + batch::kLength) != bytes.size()) {
    return Status::Corrupt("not a bulk batch");
  }
  BatchHeader header;
  header.length = static_cast<uint32_t>(bytes.size());
  header.request = LoadAs<uint64_t>(bytes.data() + batch::kRequest);
  header.received = LoadAs<uint64_t>(bytes.data() + batch::kReceived);
  auto patience_us = LoadAs<uint64_t>(bytes.data() + batch::kPatience);
  header.count = LoadAs<uint16_t>(bytes.data() + batch::kCount);
  auto mode = LoadAs<uint8_t>(bytes.data() + batch::kMode);
  auto places = LoadAs<uint8_t>(bytes.data() + batch::kPlaces);
  if (patience_us > static_cast<uint64_t>(kMaxPatience.count())) {
    return Status::Corrupt("bulk batch: patience is over an hour");
  }
  if (header.count > kMaxBatchItems) return Status::Corrupt("bulk batch: more than 1,024 items");
  if (mode > static_cast<uint8_t>(BulkMode::kFetch)) {
    return Status::Corrupt("bulk batch: unknown mode");
  }
  if (places > 1 ||
      !AllZero(bytes.data() + batch::kReserved, kBatchHeaderBytes - batch::kReserved)) {
    return Status::Corrupt("bulk batch: reserved bytes are not zero");
  }
  header.patience = Duration(patience_us);
  header.mode = static_cast<BulkMode>(mode);
  header.places = places == 1;
  ByteView rest = bytes.subspan(kBatchHeaderBytes);
  if (rest.size() < header.count * kWantBytes) {
    return Status::Corrupt("bulk batch: more items than bytes");
  }
  wants->reserve(header.count);
  for (size_t i = 0; i < header.count; ++i) {
    HF_RETURN_IF_ERROR(TakeWant(header.mode, &rest, &wants->emplace_back()));
  }
  if (!rest.empty()) return Status::Corrupt("bulk batch: bytes after the last item");
  return header;
}

void StoreAnswer(const Answer& item, std::byte* at) {
  StoreAs(at + answer::kMagic, kAnswerMagic);
  StoreAs(at + answer::kItem, item.item);
  StoreAs(at + answer::kCode, static_cast<uint8_t>(item.code));
  StoreAs(at + answer::kFlags, static_cast<uint8_t>((item.more ? answer::kMore : 0) |
                                                    (item.place ? answer::kPlace : 0)));
  StoreAs(at + answer::kRequest, item.request);
  StoreAs(at + answer::kVersion, item.version);
  StoreAs(at + answer::kSize, item.size);
  StoreAs(at + answer::kHash, item.payload_hash);
  StoreAs(at + answer::kText, item.code == Code::kOk ? item.expires_s : item.text_bytes);
  StoreAs(at + answer::kCheck, AnswerCheck(at));
}

Result<Answer> DecodeAnswer(ByteView bytes) {
  if (bytes.size() != kAnswerBytes ||
      LoadAs<uint32_t>(bytes.data() + answer::kMagic) != kAnswerMagic) {
    return Status::Corrupt("not a bulk answer");
  }
  const std::byte* p = bytes.data();
  if (LoadAs<uint32_t>(p + answer::kCheck) != AnswerCheck(p)) {
    return Status::Corrupt("bulk answer: its header fails its checksum");
  }
  auto code = LoadAs<uint8_t>(p + answer::kCode);
  auto flags = LoadAs<uint8_t>(p + answer::kFlags);
  Answer item{.request = LoadAs<uint64_t>(p + answer::kRequest),
              .item = LoadAs<uint16_t>(p + answer::kItem),
              .code = static_cast<Code>(code),
              .version = LoadAs<uint64_t>(p + answer::kVersion),
              .size = LoadAs<uint64_t>(p + answer::kSize),
              .payload_hash = LoadAs<uint64_t>(p + answer::kHash),
              .more = (flags & answer::kMore) != 0,
              .place = (flags & answer::kPlace) != 0};
  bool ok = item.code == Code::kOk;
  (ok ? item.expires_s : item.text_bytes) = LoadAs<uint32_t>(p + answer::kText);
  bool bare = item.version == 0 && item.size == 0 && item.payload_hash == 0 && item.expires_s == 0;
  if (!IsCode(code) || flags > (answer::kMore | answer::kPlace) || (item.place && !(ok && bare)) ||
      item.item >= kMaxBatchItems || item.size > kMaxObjectBytes ||
      item.text_bytes > kMaxTextBytes || (!ok && item.payload_hash != 0)) {
    return Status::Corrupt("bulk answer: a field is out of range");
  }
  return item;
}

std::array<std::byte, kPlaceBytes> Encode(const disk::Place& place) {
  std::array<std::byte, kPlaceBytes> bytes{};
  StoreAs(bytes.data(), place.offset);
  StoreAs(bytes.data() + 8, place.segment);
  return bytes;
}

Result<disk::Place> DecodePlace(ByteView bytes) {
  const disk::Place place{.segment = LoadAs<uint32_t>(bytes.data() + 8),
                          .offset = LoadAs<uint64_t>(bytes.data())};
  const bool right = place.offset >= disk::kFirstRecord && place.offset % disk::kAlign == 0 &&
                     place.offset < disk::kMaxSegmentBytes && AllZero(bytes.data() + 12, 4);
  if (!right) return Status::Corrupt("bulk answer: no record can lie at its place");
  return place;
}

}  // namespace holdfast::bulk
