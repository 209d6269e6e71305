// SPDX-License-Identifier: Apache-2.0
// The two XML documents that come from a far store: whatever the bytes are, an answer within the limits.
// LINK: hf_io_far
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "io/far/s3_xml.h"
#include "tests/fuzz/fuzz.h"

std::vector<std::vector<std::byte>> holdfast::fuzz::Seeds() {
  std::vector<std::vector<std::byte>> seeds;
  for (std::string_view text :
       {"<?xml "
        "version=\"1.0\"?><ListBucketResult><EncodingType>url</EncodingType><Contents><Key>a%20b</"
        "Key><Size>1"
        "</Size><ETag>&quot;e&quot;</ETag></Contents><CommonPrefixes><Prefix>p/</Prefix></"
        "CommonPrefixes>"
        "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken></"
        "ListBucketResult>",
        "<Error><Code>NoSuchKey</Code><Message>no such key</Message></Error>",
        "<!DOCTYPE l [<!ENTITY a \"aa\">]><ListBucketResult><Name>&a;</Name></ListBucketResult>"}) {
    const holdfast::ByteView bytes = holdfast::AsBytes(text);
    seeds.emplace_back(bytes.begin(), bytes.end());
  }
  return seeds;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view xml(reinterpret_cast<const char*>(data), size);
  const auto listing = holdfast::far::ParseListing(xml);
  if (listing.ok()) {
    holdfast::fuzz::Require(listing->objects.size() + listing->prefixes.size() <=
                            holdfast::far::kMaxListed);
    for (const auto& object : listing->objects) holdfast::fuzz::Require(!object.etag.empty());
  }
  const auto error = holdfast::far::ParseError(xml);
  if (error) holdfast::fuzz::Require(!error->code.empty() && error->message.size() <= 300);
  return 0;
}
