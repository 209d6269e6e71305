// SPDX-License-Identifier: Apache-2.0
// Packs and tables of tiny objects take any bytes, and such whose checksums are right. What is taken lies
// within the bytes, and says the same when it is written again.
// Input: a byte that says which (bit 0: a table, bit 1: give the pack its hash), then the bytes.
#include "base/hash.h"
#include "tests/fuzz/fuzz.h"
#include "wire/tiny_segment.h"

namespace holdfast::fuzz {
namespace {

using namespace holdfast::disk;

constexpr uint8_t kTable = 1, kHash = 2;
constexpr uint64_t kLimit = uint64_t{1} << 20;

void TryPack(std::vector<std::byte> bytes, bool hash) {
  if (hash && bytes.size() >= kPackHeadBytes) {
    const auto head = LoadAs<uint32_t>(bytes.data() + 8);
    if (head >= 8 && head <= bytes.size()) {
      StoreAs(bytes.data(), Hash64(ByteView(bytes).subspan(8, head - 8)));
    }
  }
  const Result<std::vector<Tiny>> objects = DecodePack(bytes);
  if (!objects.ok()) {
    Require(!objects.status().message().empty() && !DecodeTiny(bytes, 0).ok());
    return;
  }
  std::vector<std::byte> again;
  AppendPack(*objects, &again);
  const Result<std::vector<Tiny>> same = DecodePack(again);
  Require(same.ok() && same->size() == objects->size());
  for (uint32_t i = 0; i < objects->size(); ++i) {
    const Tiny &a = (*objects)[i], &b = (*same)[i];
    Require(a.oid == b.oid && a.version == b.version && a.expires_s == b.expires_s);
    Require(Hash64(a.payload) == Hash64(b.payload) && DecodeTiny(bytes, i)->oid == a.oid);
  }
}

void TryTable(ByteView bytes) {
  const Result<TinyTable> table = DecodeTinyTable(bytes, kLimit);
  if (!table.ok()) return Require(!table.status().message().empty());
  uint64_t objects = 0;
  for (const TinyTable::Pack& pack : table->packs) {
    Require(pack.offset >= kFirstRecord && pack.offset <= table->end && table->end <= kLimit);
    objects += pack.objects;
  }
  Require(objects == table->objects.size() && table->bytes() == bytes.size());
  std::vector<std::byte> again(table->bytes());
  EncodeTinyTable(*table, again.data());
  Require(DecodeTinyTable(again, kLimit).ok());
}

}  // namespace

std::vector<std::vector<std::byte>> Seeds() {
  std::vector<Tiny> objects;
  const std::vector<std::string> names = {"file:///a", "file:///b", "file:///c"};
  for (const std::string& name : names) {
    objects.push_back({.oid = Hash128(AsBytes(name)),
                       .version = HashVersion("etag", 4),
                       .payload_hash = Hash64(AsBytes("data")),
                       .loaded_s = 1,
                       .expires_s = 2,
                       .name = name,
                       .etag = "etag",
                       .payload = AsBytes("data")});
  }
  TinyTable table{.run = 1, .order = 2, .level = 1, .run_packs = 1, .end = 4096 + 256};
  table.packs.push_back({4096, 3});
  for (const Tiny& t : objects) table.objects.push_back({t.oid, t.loaded_s, t.expires_s});
  std::vector<std::vector<std::byte>> seeds;
  for (const uint8_t how : {uint8_t{0}, kHash}) {
    seeds.push_back({std::byte{how}});
    AppendPack(objects, &seeds.back());
  }
  seeds.push_back({std::byte{kTable}});
  seeds.back().resize(1 + table.bytes());
  EncodeTinyTable(table, seeds.back().data() + 1);
  return seeds;
}

}  // namespace holdfast::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace holdfast;
  using namespace holdfast::fuzz;
  if (size == 0) return 0;
  const auto* bytes = reinterpret_cast<const std::byte*>(data) + 1;
  if ((data[0] & kTable) != 0) {
    TryTable({bytes, size - 1});
  } else {
    TryPack({bytes, bytes + size - 1}, (data[0] & kHash) != 0);
  }
  return 0;
}
