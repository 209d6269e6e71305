// SPDX-License-Identifier: Apache-2.0
#include "wire/envelope.h"

#include <exception>
#define MSGPACK_NO_BOOST
#include <msgpack.hpp>
#include <utility>

namespace holdfast::wire {
namespace {

// A Progress with 1,000 losses is the largest envelope: 4 tokens for each and a dozen for the rest.
constexpr size_t kMaxTokens = 8192;
constexpr uint32_t kMaxDepth = 3;

// What msgpack::packer writes into.
struct Sink {
  std::string* bytes;
  void write(const char* data, size_t size) { bytes->append(data, size); }
};

}  // namespace

void EnvelopeWriter::Array(uint32_t elements) {
  Sink sink{&bytes_};
  msgpack::packer<Sink>(sink).pack_array(elements);
}

void EnvelopeWriter::Uint(uint64_t value) {
  Sink sink{&bytes_};
  msgpack::packer<Sink>(sink).pack_uint64(value);
}

void EnvelopeWriter::Bool(bool value) {
  Sink sink{&bytes_};
  msgpack::packer<Sink> packer(sink);
  value ? packer.pack_true() : packer.pack_false();
}

void EnvelopeWriter::Text(std::string_view text) {
  Sink sink{&bytes_};
  msgpack::packer<Sink> packer(sink);
  packer.pack_str(static_cast<uint32_t>(text.size()));
  packer.pack_str_body(text.data(), static_cast<uint32_t>(text.size()));
}

// Flattens the envelope into tokens. A method that returns false stops the parser, so that nothing
// is made of types that no message has, and the version is judged before anything that only that
// version may understand.
class TokenVisitor {
 public:
  TokenVisitor(EnvelopeReader* reader, uint16_t version) : reader_(reader), version_(version) {}

  bool visit_positive_integer(uint64_t value) {
    if (reader_->tokens_.size() == 1 && value != version_) {
      reader_->status_ = Status::Invalid(
          "the peer speaks protocol version " + std::to_string(value) + ", this program speaks " +
          std::to_string(version_) + ": run the same release of Holdfast on both sides");
      return false;
    }
    return Add(EnvelopeReader::Kind::kUint, value, {});
  }
  bool visit_boolean(bool value) { return Add(EnvelopeReader::Kind::kBool, value ? 1 : 0, {}); }
  bool visit_str(const char* data, uint32_t size) {
    return Add(EnvelopeReader::Kind::kText, 0, {data, size});
  }
  bool start_array(uint32_t elements) {
    if (++depth_ > kMaxDepth) return Refuse("arrays too deep");
    if (elements > kMaxTokens) return Refuse("too many elements");
    return Add(EnvelopeReader::Kind::kArray, elements, {});
  }
  bool end_array() {
    --depth_;
    return true;
  }
  bool start_array_item() { return true; }
  bool end_array_item() { return true; }

  bool visit_nil() { return Refuse("nil"); }
  bool visit_negative_integer(int64_t) { return Refuse("a negative number"); }
  bool visit_float32(float) { return Refuse("a float"); }
  bool visit_float64(double) { return Refuse("a float"); }
  bool visit_bin(const char*, uint32_t) { return Refuse("bytes"); }
  bool visit_ext(const char*, uint32_t) { return Refuse("an extension type"); }
  bool start_map(uint32_t) { return Refuse("a map"); }
  bool start_map_key() { return false; }
  bool end_map_key() { return false; }
  bool start_map_value() { return false; }
  bool end_map_value() { return false; }
  bool end_map() { return false; }
  void parse_error(size_t, size_t) { reader_->Fail("not MessagePack"); }
  void insufficient_bytes(size_t, size_t) { reader_->Fail("cut short"); }
  bool referenced() const { return true; }
  void set_referenced(bool) {}

 private:
  bool Refuse(std::string_view what) {
    reader_->Fail(std::string(what) + " in the envelope");
    return false;
  }
  bool Add(EnvelopeReader::Kind kind, uint64_t value, std::string_view text) {
    if (reader_->tokens_.empty() != (kind == EnvelopeReader::Kind::kArray && depth_ == 1)) {
      return Refuse("not one array");
    }
    if (reader_->tokens_.size() == kMaxTokens) return Refuse("too many elements");
    reader_->tokens_.push_back({kind, value, text});
    return true;
  }

  EnvelopeReader* reader_;
  uint16_t version_;
  uint32_t depth_ = 0;
};

Result<EnvelopeReader> EnvelopeReader::Parse(ByteView bytes, uint16_t version) {
  EnvelopeReader reader;
  TokenVisitor visitor(&reader, version);
  size_t used = 0;
  bool whole = false;
  try {
    whole = msgpack::parse(AsText(bytes).data(), bytes.size(), used, visitor);
  } catch (const std::exception& e) {
    reader.Fail(e.what());
  }
  HF_RETURN_IF_ERROR(reader.status_);
  if (!whole) return Status::Corrupt("the envelope is cut short");
  if (used != bytes.size()) return Status::Corrupt("bytes after the envelope");
  return reader;
}

EnvelopeReader::Token EnvelopeReader::Take(Kind kind) {
  if (!status_.ok()) return {};
  if (next_ == tokens_.size()) {
    Fail("fields are missing");
    return {};
  }
  if (tokens_[next_].kind != kind) {
    Fail("element " + std::to_string(next_) + " has another type");
    return {};
  }
  return tokens_[next_++];
}

void EnvelopeReader::Array(uint32_t elements) {
  if (Take(Kind::kArray).value != elements) Fail("another number of fields");
}

uint32_t EnvelopeReader::ArrayUpTo(uint32_t most) {
  uint64_t elements = Take(Kind::kArray).value;
  if (elements <= most) return static_cast<uint32_t>(elements);
  Fail("a list is longer than " + std::to_string(most));
  return 0;
}

uint64_t EnvelopeReader::Uint(uint64_t most) {
  size_t at = next_;
  uint64_t value = Take(Kind::kUint).value;
  if (value <= most) return value;
  Fail("element " + std::to_string(at) + " is " + std::to_string(value) + ", at most " +
       std::to_string(most) + " is allowed");
  return 0;
}

bool EnvelopeReader::Bool() { return Take(Kind::kBool).value != 0; }

std::string_view EnvelopeReader::Text(size_t most_bytes) {
  size_t at = next_;
  std::string_view text = Take(Kind::kText).text;
  if (text.size() <= most_bytes) return text;
  Fail("the text in element " + std::to_string(at) + " is longer than " +
       std::to_string(most_bytes) + " bytes");
  return {};
}

void EnvelopeReader::Fail(std::string_view what) {
  if (status_.ok()) status_ = Status::Corrupt(std::string(what));
}

Status EnvelopeReader::Finish() {
  if (next_ != tokens_.size()) Fail("more fields than the message has");
  return status_;
}

}  // namespace holdfast::wire
