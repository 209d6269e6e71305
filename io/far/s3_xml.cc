// SPDX-License-Identifier: Apache-2.0
#include "io/far/s3_xml.h"

#include <expat.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <memory>

#include "base/uri.h"
#include "io/far/http_message.h"

namespace holdfast::far {
namespace {

constexpr size_t kMaxDepth = 8;
constexpr size_t kMaxText = 16 * 1024;
constexpr size_t kMaxShown = 300;

// Walks a document and tells `open` and `close` the path of each element ("Error/Code"), `close`
// with its own text. Handlers answer with an empty string, or with what is wrong.
class XmlWalk {
 public:
  using Open = std::function<std::string(std::string_view path)>;
  using Close = std::function<std::string(std::string_view path, std::string_view text)>;

  XmlWalk(Open open, Close close)
      : open_(std::move(open)), close_(std::move(close)), parser_(XML_ParserCreate(nullptr)) {
    HF_CHECK(parser_ != nullptr);
    XML_SetUserData(parser_.get(), this);
    XML_SetElementHandler(parser_.get(), OnStart, OnEnd);
    XML_SetCharacterDataHandler(parser_.get(), OnText);
    XML_SetStartDoctypeDeclHandler(parser_.get(), OnDoctype);
  }

  // Empty, or what is wrong with the document.
  std::string Run(std::string_view xml) {
    if (xml.size() > INT32_MAX) return "it is too long";
    const XML_Status status =
        XML_Parse(parser_.get(), xml.data(), static_cast<int>(xml.size()), XML_TRUE);
    if (!error_.empty()) return error_;
    if (status == XML_STATUS_OK) return "";
    return "line " + std::to_string(XML_GetCurrentLineNumber(parser_.get())) + ": " +
           XML_ErrorString(XML_GetErrorCode(parser_.get()));
  }

 private:
  struct FreeParser {
    void operator()(XML_Parser parser) const { XML_ParserFree(parser); }
  };

  static void OnStart(void* self, const XML_Char* name, const XML_Char**) {
    static_cast<XmlWalk*>(self)->Start(name);
  }
  static void OnEnd(void* self, const XML_Char*) { static_cast<XmlWalk*>(self)->End(); }
  static void OnText(void* self, const XML_Char* text, int size) {
    auto* walk = static_cast<XmlWalk*>(self);
    walk->text_.append(text, static_cast<size_t>(size));
    if (walk->text_.size() > kMaxText) walk->Stop("an element has too much text");
  }
  static void OnDoctype(void* self, const XML_Char*, const XML_Char*, const XML_Char*, int) {
    static_cast<XmlWalk*>(self)->Stop("it declares a document type");
  }

  void Start(std::string_view name) {
    if (!error_.empty()) return;
    if (lengths_.size() == kMaxDepth) return Stop("its elements are nested too deep");
    lengths_.push_back(path_.size());
    if (!path_.empty()) path_ += '/';
    path_ += name;
    text_.clear();
    if (std::string wrong = open_(path_); !wrong.empty()) Stop(std::move(wrong));
  }
  void End() {
    if (!error_.empty()) return;
    if (std::string wrong = close_(path_, text_); !wrong.empty()) return Stop(std::move(wrong));
    path_.resize(lengths_.back());
    lengths_.pop_back();
    text_.clear();
  }
  void Stop(std::string why) {
    if (error_.empty()) error_ = std::move(why);
    XML_StopParser(parser_.get(), XML_FALSE);
  }

  Open open_;
  Close close_;
  std::unique_ptr<XML_ParserStruct, FreeParser> parser_;
  std::string path_;
  std::vector<size_t> lengths_;  // of path_ before each open element
  std::string text_;
  std::string error_;
};

// Keys under encoding-type=url: form encoding, in which '+' is a space.
Result<std::string> DecodeKey(std::string_view text) {
  std::string spaced(text);
  std::replace(spaced.begin(), spaced.end(), '+', ' ');
  return PercentDecode(spaced);
}

class ListingBuilder {
 public:
  std::string Open(std::string_view path) {
    if (path == "ListBucketResult") is_listing_ = true;
    if (path == "ListBucketResult/Contents") listing_.objects.emplace_back();
    if (path == "ListBucketResult/CommonPrefixes") listing_.prefixes.emplace_back();
    if (listing_.objects.size() + listing_.prefixes.size() > kMaxListed) {
      return "it has more entries than were asked for";
    }
    return "";
  }

  std::string Close(std::string_view path, std::string_view text) {
    if (path == "ListBucketResult/Contents/Key") listing_.objects.back().key = text;
    if (path == "ListBucketResult/Contents/ETag") listing_.objects.back().etag = UnquotedETag(text);
    if (path == "ListBucketResult/CommonPrefixes/Prefix") listing_.prefixes.back() = text;
    if (path == "ListBucketResult/IsTruncated") truncated_ = text == "true";
    if (path == "ListBucketResult/NextContinuationToken") listing_.next_token = text;
    if (path == "ListBucketResult/EncodingType") url_encoded_ = text == "url";
    if (path == "ListBucketResult/Contents/Size") {
      auto [end, error] =
          std::from_chars(text.data(), text.data() + text.size(), listing_.objects.back().size);
      if (error != std::errc() || end != text.data() + text.size()) return "a size is no number";
      has_size_ = true;
    }
    if (path == "ListBucketResult/Contents") {
      if (!std::exchange(has_size_, false)) return "an entry has no size";
      if (listing_.objects.back().key.empty()) return "an entry has no key";
      if (listing_.objects.back().etag.empty()) return "an entry has no ETag";
    }
    return "";
  }

  Result<Listing> Finish() {
    if (!is_listing_) return Status::Corrupt("it is no listing");
    if (truncated_ && listing_.next_token.empty()) {
      return Status::Corrupt("it goes on but has no continuation token");
    }
    if (!truncated_) listing_.next_token.clear();
    if (!url_encoded_) return std::move(listing_);
    for (ListedObject& object : listing_.objects) HF_RETURN_IF_ERROR(Decode(object.key));
    for (std::string& prefix : listing_.prefixes) HF_RETURN_IF_ERROR(Decode(prefix));
    return std::move(listing_);
  }

 private:
  static Status Decode(std::string& key) {
    Result<std::string> decoded = DecodeKey(key);
    if (!decoded.ok()) return Status::Corrupt("a key is not percent-encoded");
    key = std::move(*decoded);
    return Status();
  }

  Listing listing_;
  bool is_listing_ = false;
  bool truncated_ = false;
  bool url_encoded_ = false;
  bool has_size_ = false;
};

std::string Printable(std::string_view text) {
  std::string shown(text.substr(0, kMaxShown));
  std::replace_if(
      shown.begin(), shown.end(), [](char c) { return c < ' ' || c == 127; }, ' ');
  return shown;
}

}  // namespace

Result<Listing> ParseListing(std::string_view xml) {
  ListingBuilder builder;
  XmlWalk walk(
      [&](std::string_view path) { return builder.Open(path); },
      [&](std::string_view path, std::string_view text) { return builder.Close(path, text); });
  const std::string wrong = walk.Run(xml);
  if (!wrong.empty()) return Status::Corrupt(wrong);
  return builder.Finish();
}

std::optional<S3Error> ParseError(std::string_view xml) {
  S3Error error;
  XmlWalk walk([](std::string_view) { return std::string(); },
               [&](std::string_view path, std::string_view text) {
                 if (path == "Error/Code") error.code = Printable(text);
                 if (path == "Error/Message") error.message = Printable(text);
                 return std::string();
               });
  if (!walk.Run(xml).empty() || error.code.empty()) return std::nullopt;
  return error;
}

}  // namespace holdfast::far
