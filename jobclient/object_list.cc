// SPDX-License-Identifier: Apache-2.0
#include "holdfast/object_list.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace holdfast {
namespace {

constexpr size_t kMaxItems = 4'000'000;
constexpr size_t kMaxName = 4096;
constexpr size_t kMaxEtag = 256;

// What a list file and a log line can hold.
Status CheckText(std::string_view text, std::string_view what) {
  for (char c : text) {
    if (c == '\0' || c == '\n' || c == '\t') {
      std::string_view name = c == '\0' ? "a NUL byte" : c == '\n' ? "a newline" : "a tab";
      return Status::Invalid(std::string(what) + " contains " + std::string(name) +
                             "; write it percent-encoded, as in file:///a%09b");
    }
  }
  return {};
}

Status CheckUri(std::string_view uri) {
  if (uri.empty()) return Status::Invalid("the name of an object is empty");
  if (uri.size() > kMaxName) {
    return Status::Invalid("the name that begins with '" + std::string(uri.substr(0, 60)) +
                           "' has " + std::to_string(uri.size()) +
                           " bytes; a name has at most 4096");
  }
  return CheckText(uri, "the name of an object");
}

Status CheckEtag(std::string_view etag) {
  if (etag.size() > kMaxEtag) {
    return Status::Invalid("an ETag has " + std::to_string(etag.size()) +
                           " bytes; at most 256 are allowed");
  }
  return CheckText(etag, "an ETag");
}

// The next piece of `rest` up to `end`, which is dropped.
std::string_view NextPiece(std::string_view* rest, char end) {
  size_t length = std::min(rest->find(end), rest->size());
  std::string_view piece = rest->substr(0, length);
  rest->remove_prefix(std::min(length + 1, rest->size()));
  return piece;
}

std::optional<uint64_t> ParseSize(std::string_view text) {
  uint64_t size = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), size);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return size;
}

Status AddLine(std::string_view line, ObjectList* list) {
  std::string_view uri = NextPiece(&line, '\t');
  if (line.empty()) return list->Add(uri);
  std::string_view size_text = NextPiece(&line, '\t');
  std::string_view etag = NextPiece(&line, '\t');
  std::optional<uint64_t> size = ParseSize(size_text);
  if (!size || etag.empty() || !line.empty()) {
    return Status::Invalid("write 'URI' or 'URI<TAB>SIZE<TAB>ETAG' with the size in bytes");
  }
  return list->Add(uri, *size, etag);
}

}  // namespace

Status ObjectList::Append(std::string_view uri) {
  HF_RETURN_IF_ERROR(CheckUri(uri));
  if (rows_.size() >= kMaxItems) {
    return Status::Invalid("the list has more than 4,000,000 objects; split it into several jobs");
  }
  text_ += uri;
  rows_.push_back(
      {.uri_end = text_.size(), .etag_begin = 0, .size = 0, .etag_bytes = 0, .has_size = false});
  return {};
}

Status ObjectList::Add(std::string_view uri) { return Append(uri); }

Status ObjectList::Add(std::string_view uri, uint64_t size, std::string_view etag) {
  HF_RETURN_IF_ERROR(CheckEtag(etag));
  HF_RETURN_IF_ERROR(Append(uri));
  SetVersion(rows_.size() - 1, size, etag);
  return {};
}

Status ObjectList::AddItem(const Item& item) {
  return item.has_size ? Add(item.uri, item.size, item.etag) : Add(item.uri);
}

ObjectList::Place ObjectList::place(size_t position) const {
  const Row& row = rows_[position];
  const uint64_t begin = position == 0 ? 0 : rows_[position - 1].uri_end;
  return {.uri_begin = begin,
          .etag_begin = row.etag_begin,
          .uri_bytes = static_cast<uint16_t>(row.uri_end - begin),
          .etag_bytes = row.etag_bytes};
}

ObjectList::Item ObjectList::item(size_t position) const {
  const Place at = place(position);
  return {.uri = uri(at),
          .etag = etag(at),
          .size = rows_[position].size,
          .has_size = rows_[position].has_size};
}

void ObjectList::SetVersion(size_t position, uint64_t size, std::string_view etag) {
  HF_CHECK(position < rows_.size() && etag.size() <= kMaxEtag);
  Row& row = rows_[position];
  row.etag_begin = etags_.size();
  row.etag_bytes = static_cast<uint16_t>(etag.size());
  row.size = size;
  row.has_size = true;
  etags_ += etag;
}

Result<ObjectList> ObjectList::Parse(std::string_view text) {
  ObjectList list;
  for (size_t number = 1; !text.empty(); ++number) {
    std::string_view line = NextPiece(&text, '\n');
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.starts_with('#')) continue;
    Status added = AddLine(line, &list);
    if (!added.ok()) return added.Annotate("line " + std::to_string(number));
  }
  return list;
}

std::string ObjectList::Format() const {
  std::string out;
  out.reserve(text_.size() + etags_.size() + rows_.size() * 16);
  for (size_t i = 0; i < size(); ++i) {
    Item object = item(i);
    out += object.uri;
    // A size without an ETag is not a version: it is asked for again.
    if (object.has_size && !object.etag.empty()) {
      out.append("\t").append(std::to_string(object.size)).append("\t").append(object.etag);
    }
    out += '\n';
  }
  return out;
}

}  // namespace holdfast
