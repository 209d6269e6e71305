// SPDX-License-Identifier: Apache-2.0
// What a page of a listing says, or why it is none.
#include "io/far/s3_xml.h"
#include "io/far/transfer.h"

namespace holdfast::far {
namespace {
constexpr size_t kMaxShownKey = 300;
}  // namespace

Verdict Transfer::JudgeListing(HttpCall::Answer& answer) {
  const std::string prefix_text = std::string(call_->ask.uri) + ": ";
  Result<Listing> listing = ParseListing(text_);
  if (!listing.ok()) {
    return {
        Status::Corrupt(prefix_text + "the listing cannot be read: " + listing.status().message()),
        Retry::kOnce};
  }
  FarName name = call_->name;
  const auto uri_of = [&](const std::string& key) {
    name.path = key;
    return ToCanonical(name);
  };
  const auto check = [&](const std::string& key) {
    const bool belongs = key.starts_with(call_->name.path);
    if (belongs && key.find('\0') == std::string::npos) return Status();
    return Status::Corrupt(
        prefix_text + "the listing has " + uri_of(key.substr(0, kMaxShownKey)) +
        (belongs ? ", and no name can have a NUL byte" : ", which was not asked for"));
  };
  for (ListedObject& object : listing->objects) {
    if (Status wrong = check(object.key); !wrong.ok()) return {std::move(wrong)};
    answer.page.entries.push_back({uri_of(object.key), {object.size, std::move(object.etag)}});
  }
  for (const std::string& prefix : listing->prefixes) {
    if (Status wrong = check(prefix); !wrong.ok()) return {std::move(wrong)};
    answer.page.prefixes.push_back(uri_of(prefix));
  }
  if (!listing->next_token.empty() && listing->next_token == call_->list.token) {
    return {Status::Corrupt(prefix_text + "the listing does not move on")};
  }
  answer.page.next = std::move(listing->next_token);
  return {};
}

}  // namespace holdfast::far
