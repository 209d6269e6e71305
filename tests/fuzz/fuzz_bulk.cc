// SPDX-License-Identifier: Apache-2.0
// Every decoder of a bulk connection: hellos, batches, answers. What a decoder accepts must survive
// encoding again.
#include <cstdint>
#include <cstdlib>

#include "wire/bulk_format.h"

using namespace holdfast;
using namespace holdfast::bulk;

namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

void TryBatch(ByteView input) {
  auto length = BatchLength(input);
  if (length.ok() && length->has_value()) Require(**length <= kMaxBatchBytes);
  std::vector<Want> wants;
  auto header = DecodeBatch(input, &wants);
  if (!header.ok()) return;
  std::vector<std::byte> again(kBatchHeaderBytes);
  for (const Want& want : wants) AppendWant(want, &again);
  StoreBatchHeader(*header, again.data());
  Require(again.size() == input.size() &&
          std::memcmp(again.data(), input.data(), input.size()) == 0);
}

void TryAnswer(ByteView input) {
  auto answer = DecodeAnswer(input);
  if (!answer.ok()) return;
  std::array<std::byte, kAnswerBytes> again;
  StoreAnswer(*answer, again.data());
  Require(std::memcmp(again.data(), input.data(), again.size()) == 0);
}

// With a right checksum, so that what lies behind it is reached too.
void TrySealedAnswer(ByteView input) {
  if (input.size() < kAnswerBytes) return;
  Answer answer{.request = LoadAs<uint64_t>(input.data()),
                .item = LoadAs<uint16_t>(input.data() + 8),
                .code = static_cast<Code>(input[10]),
                .version = LoadAs<uint64_t>(input.data() + 16),
                .size = LoadAs<uint64_t>(input.data() + 24),
                .payload_hash = LoadAs<uint64_t>(input.data() + 32),
                .text_bytes = LoadAs<uint32_t>(input.data() + 40),
                .more = (input[11] & std::byte{1}) != std::byte{0},
                .place = (input[11] & std::byte{2}) != std::byte{0}};
  std::array<std::byte, kAnswerBytes> bytes;
  StoreAnswer(answer, bytes.data());
  TryAnswer(bytes);
}

void TryPlace(ByteView input) {
  if (input.size() < kPlaceBytes) return;
  auto place = DecodePlace(input.first(kPlaceBytes));
  if (!place.ok()) return;
  auto again = Encode(*place);
  Require(std::memcmp(again.data(), input.data(), again.size()) == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ByteView input(reinterpret_cast<const std::byte*>(data), size);
  if (auto hello = DecodeClientHello(input); hello.ok()) {
    auto again = Encode(*hello);
    Require(std::memcmp(again.data(), data, size) == 0);
  }
  if (auto hello = DecodeServerHello(input); hello.ok()) {
    auto again = Encode(*hello);
    Require(std::memcmp(again.data(), data, size) == 0);
  }
  TryBatch(input);
  TryAnswer(input);
  TrySealedAnswer(input);
  TryPlace(input);
  return 0;
}
