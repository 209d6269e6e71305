// SPDX-License-Identifier: Apache-2.0
// The two XML documents that come from a far store: whatever the bytes are, an answer within the limits.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "io/far/s3_xml.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view xml(reinterpret_cast<const char*>(data), size);
  const auto listing = holdfast::far::ParseListing(xml);
  if (listing.ok()) {
    HF_CHECK(listing->objects.size() + listing->prefixes.size() <= holdfast::far::kMaxListed);
    for (const auto& object : listing->objects) HF_CHECK(!object.etag.empty());
  }
  const auto error = holdfast::far::ParseError(xml);
  if (error) HF_CHECK(!error->code.empty() && error->message.size() <= 300);
  return 0;
}
