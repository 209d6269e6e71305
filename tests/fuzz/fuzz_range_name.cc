// SPDX-License-Identifier: Apache-2.0
// Names and ETags of ranges come from peers, lists and users: whatever they are, what is taken for one is
// written the same way again, and canonical names stay as they are.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/range_name.h"
#include "base/uri.h"
#include "tests/fuzz/fuzz.h"

std::vector<std::vector<std::byte>> holdfast::fuzz::Seeds() {
  std::vector<std::vector<std::byte>> seeds;
  for (std::string_view text :
       {"file:///a#bytes=0-99", "s3+http://ep/b/k%23#bytes=4096-8191", "http://h/p?q#bytes=07-7",
        "/plain#1#bytes=0-0", "5d41402abc4b2a76b9719d911017c592-2#1048576", "W/x#0"}) {
    const holdfast::ByteView bytes = holdfast::AsBytes(text);
    seeds.emplace_back(bytes.begin(), bytes.end());
  }
  return seeds;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using holdfast::fuzz::Require;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto name = holdfast::ParseRangeName(text)) {
    Require(!name->whole.empty() && name->range.length > 0);
    Require(name->range.end() <= holdfast::kMaxRangeEnd);
    Require(holdfast::NameOfRange(name->whole, name->range) == text);
  }
  if (const auto version = holdfast::ParseRangeEtag(text)) {
    Require(holdfast::EtagOfRange(version->etag, version->size) == text);
  }
  const auto uri = holdfast::CanonicalUri(text, "https://ep");
  if (!uri.ok()) return 0;
  const auto again = holdfast::CanonicalUri(*uri, "");
  Require(again.ok() && *again == *uri);
  const auto range = holdfast::ParseRangeName(*uri);
  Require(holdfast::ParseCanonical(range ? range->whole : *uri).ok());
  return 0;
}
