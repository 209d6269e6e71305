// SPDX-License-Identifier: Apache-2.0
#include "io/disk/log_format.h"

#include <algorithm>

#include "base/hash.h"

namespace holdfast::disk {
namespace {

constexpr uint64_t kHeadMagic = 0x314c4e4a44464c48;  // "HLFDJNL1"
constexpr uint32_t kGroupMagic = 0x474a4648;         // "HFJG"
constexpr uint16_t kVersion = 1;
constexpr size_t kHeadHashed = 64;
constexpr size_t kGroupHashed = 56;

bool Sound(const LogHead& h) {
  return h.ring_bytes >= kMinRingBytes && h.ring_bytes % kBlockBytes == 0 &&
         h.start % kBlockBytes == 0 && h.start <= h.first && h.first <= INT64_MAX;
}

Status NotAJournal(const std::string& path) {
  return Status::Invalid(path +
                         " is not a journal; move it away, or choose another path for the journal");
}

}  // namespace

void EncodeHead(const LogHead& head, ByteSpan block) {
  std::fill(block.begin(), block.end(), std::byte{0});
  std::byte* p = block.data();
  StoreAs(p, kHeadMagic);
  StoreAs(p + 8, kVersion);
  StoreAs(p + 16, head.log_id);
  StoreAs(p + 24, head.ring_bytes);
  StoreAs(p + 32, head.number);
  StoreAs(p + 40, head.start);
  StoreAs(p + 48, head.first);
  StoreAs(p + kHeadHashed, Hash64(block.first(kHeadHashed)));
}

Result<std::optional<LogHead>> DecodeHead(ByteView block) {
  const std::byte* p = block.data();
  if (LoadAs<uint64_t>(p) != kHeadMagic) return std::optional<LogHead>();
  if (LoadAs<uint64_t>(p + kHeadHashed) != Hash64(block.first(kHeadHashed))) {
    return std::optional<LogHead>();
  }
  if (uint16_t version = LoadAs<uint16_t>(p + 8); version != kVersion) {
    return Status::Invalid("has version " + std::to_string(version) +
                           " of the journal and this is " + std::to_string(kVersion) +
                           "; use the program that wrote it, or move it away");
  }
  LogHead head{.log_id = LoadAs<uint64_t>(p + 16),
               .ring_bytes = LoadAs<uint64_t>(p + 24),
               .number = LoadAs<uint64_t>(p + 32),
               .start = LoadAs<uint64_t>(p + 40),
               .first = LoadAs<uint64_t>(p + 48)};
  return Sound(head) ? std::optional<LogHead>(head) : std::nullopt;
}

Result<LogHeads> ReadHeads(BlockFile* file) {
  if (file->bytes() < kHeadsBytes) return NotAJournal(file->path());
  Buffer blocks = BlockBuffer(kHeadsBytes);
  HF_RETURN_IF_ERROR(file->Read(0, blocks.span()));
  std::optional<LogHead> newest;
  bool ours = false;
  int whole = 0;
  for (uint64_t at : {uint64_t{0}, kBlockBytes}) {
    ByteView block = blocks.view().subspan(at, kBlockBytes);
    ours = ours || LoadAs<uint64_t>(block.data()) == kHeadMagic;
    Result<std::optional<LogHead>> head = DecodeHead(block);
    if (!head.ok())
      return Status(head.status().code(), file->path() + " " + head.status().message());
    if (!*head) continue;
    ++whole;
    if (!newest || newest->number < (*head)->number) newest = *head;
  }
  if (!newest && !ours) return NotAJournal(file->path());
  if (!newest) {
    return Status::Corrupt("both heads of " + file->path() +
                           " are damaged, so that nothing in it can be found; move it away");
  }
  if (file->bytes() != kHeadsBytes + newest->ring_bytes) {
    return Status::Corrupt(file->path() + " has " + std::to_string(file->bytes()) +
                           " bytes and not " + std::to_string(kHeadsBytes + newest->ring_bytes) +
                           ": it was cut off or added to; restore it, or move it away");
  }
  return LogHeads{*newest, whole == 2};
}

Buffer FirstBlocks(uint64_t log_id, uint64_t ring_bytes) {
  Buffer blocks = BlockBuffer(kHeadsBytes);
  for (uint64_t number = 1; number <= 2; ++number) {
    LogHead head{.log_id = log_id, .ring_bytes = ring_bytes, .number = number};
    EncodeHead(head, blocks.span().subspan((number - 1) * kBlockBytes, kBlockBytes));
  }
  return blocks;
}

void EncodeGroup(const GroupHeader& header, ByteSpan into) {
  std::fill_n(into.begin(), kGroupHeaderBytes, std::byte{0});
  std::byte* p = into.data();
  StoreAs(p, kGroupMagic);
  StoreAs(p + 4, kVersion);
  StoreAs(p + 8, header.log_id);
  StoreAs(p + 16, header.position);
  StoreAs(p + 24, header.bytes);
  StoreAs(p + 32, header.body_hash);
  StoreAs(p + kGroupHashed, Hash64(into.first(kGroupHashed)));
}

std::optional<GroupHeader> DecodeGroup(ByteView block, uint64_t log_id) {
  const std::byte* p = block.data();
  if (LoadAs<uint32_t>(p) != kGroupMagic || LoadAs<uint16_t>(p + 4) != kVersion ||
      LoadAs<uint64_t>(p + 8) != log_id ||
      LoadAs<uint64_t>(p + kGroupHashed) != Hash64(block.first(kGroupHashed))) {
    return std::nullopt;
  }
  uint32_t bytes = LoadAs<uint32_t>(p + 24);
  if (bytes < kGroupHeaderBytes || bytes > kMaxGroupBytes) return std::nullopt;
  return GroupHeader{.log_id = log_id,
                     .position = LoadAs<uint64_t>(p + 16),
                     .bytes = bytes,
                     .body_hash = LoadAs<uint64_t>(p + 32)};
}

}  // namespace holdfast::disk
