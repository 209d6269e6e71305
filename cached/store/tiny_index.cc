// SPDX-License-Identifier: Apache-2.0
#include "cached/store/tiny_index.h"

namespace holdfast::store {
namespace {

constexpr size_t kBeyond = 4;  // bytes behind the last cell, which is loaded as a word

}  // namespace

TinyIndex::TinyIndex(const disk::TinyTable& table) : TinyIndex(table.run_packs, table.first_pack) {
  uint32_t next = 0;
  for (const disk::TinyTable::Pack& pack : table.packs) {
    AddPack(pack.offset);
    for (uint32_t i = 0; i < pack.objects; ++i) Add(table.objects[next++].oid, false);
  }
  End(table.end);
}

void TinyIndex::AddPack(uint64_t offset) {
  if (packs_.size() % kGroup == 0) groups_.push_back(objects_);
  packs_.push_back(static_cast<uint32_t>(offset / disk::kAlign));
}

void TinyIndex::Add(const Oid& oid, bool read) {
  packs_.back() += 1u << kOffsetBits;
  const uint32_t object = objects_++;
  ++live_;
  const uint64_t bytes = (uint64_t{objects_} * kCellBits + 7) / 8 + kBeyond;
  if (cells_.size() < bytes) cells_.resize(bytes);
  SetCell(object, PrintOf(oid) << 1 | (read ? 1u : 0u));
}

void TinyIndex::End(uint64_t end) {
  end_ = end;
  packs_.shrink_to_fit();
  groups_.shrink_to_fit();
  cells_.shrink_to_fit();
}

uint64_t TinyIndex::memory_bytes() const {
  return sizeof(*this) + (packs_.capacity() + groups_.capacity()) * sizeof(uint32_t) +
         cells_.capacity();
}

uint32_t TinyIndex::FirstOf(uint32_t pack) const {
  uint32_t first = groups_[pack / kGroup];
  for (uint32_t p = pack / kGroup * kGroup; p < pack; ++p) first += ObjectsOf(p);
  return first;
}

void TinyIndex::PrefetchPack(const Oid& oid) const {
  const uint32_t pack = disk::PackOf(oid, run_packs_) - first_pack_;
  if (pack >= packs_.size()) return;
  __builtin_prefetch(&groups_[pack / kGroup]);
  __builtin_prefetch(&packs_[pack / kGroup * kGroup]);
}

void TinyIndex::PrefetchObjects(const Oid& oid) const {
  const uint32_t pack = disk::PackOf(oid, run_packs_) - first_pack_;
  if (pack < packs_.size())
    __builtin_prefetch(cells_.data() + uint64_t{FirstOf(pack)} * kCellBits / 8);
}

void TinyIndex::SetRead(uint32_t object, bool read) {
  const uint32_t cell = Cell(object);
  SetCell(object, read ? cell | 1 : cell & ~1u);
}

void TinyIndex::Forget(uint32_t object) {
  if (alive(object)) --live_;
  SetCell(object, 0);
}

void TinyIndex::SetCell(uint32_t object, uint32_t value) {
  const uint64_t bit = uint64_t{object} * kCellBits;
  std::byte* at = cells_.data() + bit / 8;
  StoreAs(at, (LoadAs<uint32_t>(at) & ~(kCellMask << bit % 8)) | value << bit % 8);
}

}  // namespace holdfast::store
