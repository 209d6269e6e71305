// SPDX-License-Identifier: Apache-2.0
// Every decoder of the storage protocol: hellos, heads, records, moves. What a decoder accepts must survive
// encoding again.
#include <cstdint>
#include <cstring>

#include "base/hash.h"
#include "tests/fuzz/fuzz.h"
#include "wire/segment_move.h"
#include "wire/storage_format.h"

using namespace holdfast;
using namespace holdfast::storage;
using holdfast::fuzz::Require;

namespace {

void TryHead(ByteView input) {
  auto head = DecodeHead(input);
  if (!head.ok()) return;
  Require(head->body_bytes <= kMaxBodyBytes);
  std::array<std::byte, kHeadBytes> again;
  StoreHead(*head, again.data());
  Require(std::memcmp(again.data(), input.data(), again.size()) == 0);
}

// With a right checksum, so that what lies behind it is reached too.
void TrySealedHead(ByteView input) {
  if (input.size() < kHeadBytes) return;
  std::array<std::byte, kHeadBytes> bytes;
  std::memcpy(bytes.data(), input.data(), bytes.size());
  StoreAs(bytes.data(), kFrameMagic);
  StoreAs(bytes.data() + 48, Hash64({bytes.data(), 48}));
  TryHead(bytes);
}

void TryRecords(ByteView input) {
  if (input.size() < 2) return;
  const auto count = LoadAs<uint16_t>(input.data());
  const ByteView body = input.subspan(2);
  size_t bytes = 0, records = 0;
  const Status visited = VisitRecords(body, count, [&](ByteView record) {
    Require(record.data() >= body.data() &&
            record.data() + record.size() <= body.data() + body.size());
    bytes += 4 + record.size();
    ++records;
  });
  Require(HasRecords(body, count) == (visited.ok() && count > 0));
  Require(!visited.ok() || (bytes == body.size() && records == count));
}

void TryMove(ByteView input) {
  constexpr uint64_t kSegmentBytes = kMiB;
  if (input.size() < 8) return;
  const uint64_t offset = LoadAs<uint32_t>(input.data());
  auto move = DecodeMove(input.subspan(4), 3, offset, kSegmentBytes);
  if (!move.ok()) return;
  Require(offset % 4096 == 0 && offset + move->bytes() <= kSegmentBytes);
  for (const disk::Entry& record : move->records)
    Require(record.offset < record.end() && record.end() <= kSegmentBytes);
  const Buffer again = EncodeMove(*move);
  Require(again.size() == input.size() - 4 &&
          std::memcmp(again.data(), input.data() + 4, again.size()) == 0);
}

void TryMoverName(std::string_view text) {
  auto name = DecodeMoverName(text);
  if (name.ok()) Require(IsStoreName(name->store) && Encode(*name) == text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ByteView input(reinterpret_cast<const std::byte*>(data), size);
  if (auto hello = DecodeHello(input); hello.ok()) {
    auto again = Encode(*hello);
    Require(std::memcmp(again.data(), data, size) == 0);
  }
  TryHead(input);
  TrySealedHead(input);
  TryRecords(input);
  TryMove(input);
  IsStoreName(AsText(input));
  TryMoverName(AsText(input));
  return 0;
}

std::vector<std::vector<std::byte>> holdfast::fuzz::Seeds() {
  std::vector<std::vector<std::byte>> seeds;
  const auto hello = Encode(Hello{.cluster_hash = 5});
  seeds.emplace_back(hello.begin(), hello.end());
  for (uint8_t kind = 1; kind <= 22; ++kind) {
    std::vector<std::byte> head(kHeadBytes);
    StoreHead({.kind = static_cast<Kind>(kind),
               .code = kind == 4 ? Code::kDenied : Code::kOk,
               .tag = 3,
               .a = 4096,
               .b = 100,
               .count = 2},
              head.data());
    seeds.push_back(std::move(head));
  }
  std::vector<std::byte> records(2 + 4 + 3 + 4);
  StoreAs(records.data(), uint16_t{2});
  StoreAs(records.data() + 2, uint32_t{3});
  StoreAs(records.data() + 9, uint32_t{0});
  seeds.push_back(std::move(records));
  SegmentMove move{.from = 2, .records = std::vector<disk::Entry>(3)};
  for (uint64_t i = 0; i < 3; ++i)
    move.records[i] = {.oid = {i, i}, .version = i, .size = 1'000, .offset = 4096 * (i + 1)};
  const Buffer body = EncodeMove(move);
  std::vector<std::byte> seed(4 + body.size());
  StoreAs(seed.data(), uint32_t{8192});
  std::memcpy(seed.data() + 4, body.data(), body.size());
  seeds.push_back(std::move(seed));
  const ByteView name = AsBytes("node-1@tcp://10.0.0.1:7072");
  seeds.emplace_back(name.begin(), name.end());
  return seeds;
}
