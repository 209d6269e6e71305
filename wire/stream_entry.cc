// SPDX-License-Identifier: Apache-2.0
#include "wire/stream_entry.h"

#include <algorithm>
#include <cstddef>
#include <cstdio>

#include "base/hash.h"

namespace holdfast::wire {
namespace {

constexpr size_t kMaxNameBytes = 200;
constexpr std::string_view kChunkScheme = "stream:";

uint32_t CheckOf(const StreamEntry& entry) {
  const std::span<const StreamEntry> one(&entry, 1);
  return static_cast<uint32_t>(Hash64(std::as_bytes(one).first(offsetof(StreamEntry, check))));
}

bool MayBeInName(char c) {
  const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  return plain || std::string_view("._-/:@+=").find(c) != std::string_view::npos;
}

}  // namespace

StreamEntry Sealed(StreamEntry entry) {
  entry.check = CheckOf(entry);
  return entry;
}

Status CheckEntry(const StreamEntry& entry) {
  const char* wrong = nullptr;
  if (entry.writer == 0) wrong = "no writer";
  if (entry.hash == 0) wrong = "no hash";
  if (entry.records == 0) wrong = "no records";
  if (entry.pieces == 0 || entry.piece >= entry.pieces)
    wrong = "a piece beyond its record's pieces";
  if (entry.pieces > 1 && entry.records != 1) wrong = "a piece with several records";
  if (entry.nodes[0] == kNoNode || entry.nodes[0] == entry.nodes[1]) wrong = "no node";
  if (entry.check != CheckOf(entry)) wrong = "another checksum than its own";
  if (wrong == nullptr) return {};
  return Status::Corrupt("an entry of a stream has " + std::string(wrong));
}

Status CheckStreamName(std::string_view name) {
  if (name.empty() || name.size() > kMaxNameBytes) {
    return Status::Invalid("a stream's name has 1 to " + std::to_string(kMaxNameBytes) +
                           " characters, not " + std::to_string(name.size()));
  }
  if (std::all_of(name.begin(), name.end(), MayBeInName)) return {};
  return Status::Invalid("\"" + std::string(name) +
                         "\" is no name of a stream: letters, digits and . _ - / : @ + = only");
}

std::string ChunkName(uint64_t stream, uint64_t writer, uint32_t number) {
  char text[64];
  const int length = std::snprintf(text, sizeof(text), "%s%016llx/%016llx/%u", kChunkScheme.data(),
                                   static_cast<unsigned long long>(stream),
                                   static_cast<unsigned long long>(writer), number);
  return {text, static_cast<size_t>(length)};
}

bool IsChunkName(std::string_view name) { return name.starts_with(kChunkScheme); }

std::vector<NodeId> CataloguesOf(std::string_view name, std::span<const NodeId> nodes) {
  const uint64_t hash = Hash64(AsBytes(name));
  auto score = [hash](NodeId node) { return Mix64(hash ^ Mix64(node + uint64_t{1})); };
  std::vector<NodeId> picks(nodes.begin(), nodes.end());
  std::sort(picks.begin(), picks.end(),
            [&](NodeId a, NodeId b) { return score(a) != score(b) ? score(a) > score(b) : a < b; });
  if (picks.size() > 2) picks.resize(2);
  return picks;
}

}  // namespace holdfast::wire
