// SPDX-License-Identifier: Apache-2.0
#include "io/config/config_file.h"

// What a file says is no reason to abort: some assertions of the parser are about that, and what
// follows them refuses it.
#define TOML_ASSERT(expr) static_cast<void>(0)
#include <toml++/toml.h>
#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <utility>

namespace holdfast::config {

struct ConfigFile::Document {
  toml::table table;
};

namespace {

std::string Listed(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

std::string Quoted(std::string_view text) { return "\"" + std::string(text) + "\""; }

void ForEachKey(const toml::table& table, const std::string& prefix,
                const std::function<void(const std::string&, const toml::node&)>& visit) {
  for (const auto& [key, node] : table) {
    std::string name = prefix + std::string(key.str());
    if (const toml::table* inner = node.as_table()) {
      ForEachKey(*inner, name + ".", visit);
    } else {
      visit(name, node);
    }
  }
}

std::vector<std::string> SplitAtCommas(const std::string& text) {
  std::vector<std::string> words;
  std::istringstream in(text);
  for (std::string word; std::getline(in, word, ',');) {
    if (!word.empty()) words.push_back(word);
  }
  return words;
}

}  // namespace

ConfigFile::ConfigFile() : document_(std::make_unique<Document>()) {}
ConfigFile::ConfigFile(ConfigFile&&) noexcept = default;
ConfigFile& ConfigFile::operator=(ConfigFile&&) noexcept = default;
ConfigFile::~ConfigFile() = default;

Result<ConfigFile> ConfigFile::Load(const std::string& path) {
  if (path.empty()) return Parse("", "the command line");
  std::ifstream in(path);
  if (!in) {
    Code code = errno == EACCES ? Code::kDenied : Code::kNotFound;
    return Status(code,
                  "cannot read the configuration " + Quoted(path) + ": " + std::strerror(errno));
  }
  std::ostringstream text;
  text << in.rdbuf();
  if (std::error_code error; std::filesystem::is_directory(path, error))
    return Status::Invalid("the configuration " + Quoted(path) + " is a directory, not a file");
  return Parse(text.str(), path);
}

Result<ConfigFile> ConfigFile::Parse(std::string_view text, std::string source) {
  ConfigFile file;
  file.source_ = std::move(source);
  try {
    file.document_->table = toml::parse(text, file.source_);
  } catch (const toml::parse_error& error) {
    const toml::source_position& at = error.source().begin;
    return Status::Invalid(file.source_ + ":" + std::to_string(at.line) + ":" +
                           std::to_string(at.column) + ": " + std::string(error.description()));
  }
  return file;
}

Status ConfigFile::Set(std::string_view assignment) {
  size_t equals = assignment.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    return Status::Invalid(Quoted(assignment) +
                           " is no setting; write KEY=VALUE, as in memory.limit=4GiB");
  }
  flags_[std::string(assignment.substr(0, equals))] = assignment.substr(equals + 1);
  return {};
}

void ConfigFile::UseEnvironment(std::string prefix) { prefix_ = std::move(prefix); }

std::optional<std::string> ConfigFile::Override(std::string_view key) const {
  if (auto flag = flags_.find(key); flag != flags_.end()) return flag->second;
  if (prefix_.empty()) return std::nullopt;
  std::string name = prefix_ + "_" + std::string(key);
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) {
    return c == '.' ? '_' : static_cast<char>(std::toupper(c));
  });
  const char* value = std::getenv(name.c_str());
  if (value == nullptr) return std::nullopt;
  return std::string(value);
}

std::string ConfigFile::Place(std::string_view key) const {
  if (flags_.contains(key) || Override(key)) return path_ + std::string(key);
  toml::node_view<const toml::node> node = std::as_const(document_->table).at_path(key);
  std::string line = node ? ":" + std::to_string(node.node()->source().begin.line) : "";
  return source_ + line + ": " + path_ + std::string(key);
}

void ConfigFile::Fail(std::string_view key, std::string_view problem) {
  if (error_.ok()) error_ = Status::Invalid(Place(key) + ": " + std::string(problem));
}

void ConfigFile::Get(std::string_view key, std::string* out) {
  known_.emplace_back(key);
  if (auto text = Override(key)) {
    *out = *text;
    return;
  }
  toml::node_view<toml::node> node = document_->table.at_path(key);
  if (!node) return;
  if (!node.is_string()) return Fail(key, "must be a text in quotes");
  *out = *node.value<std::string>();
}

void ConfigFile::Get(std::string_view key, bool* out) {
  known_.emplace_back(key);
  if (auto text = Override(key)) {
    if (*text != "true" && *text != "false")
      return Fail(key, Quoted(*text) + " is neither true nor false");
    *out = *text == "true";
    return;
  }
  toml::node_view<toml::node> node = document_->table.at_path(key);
  if (!node) return;
  if (!node.is_boolean()) return Fail(key, "must be true or false");
  *out = *node.value<bool>();
}

void ConfigFile::Get(std::string_view key, uint64_t* out, uint64_t min, uint64_t max) {
  known_.emplace_back(key);
  std::string range =
      "must be an integer from " + std::to_string(min) + " to " + std::to_string(max);
  uint64_t value = 0;
  if (auto text = Override(key)) {
    auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
    if (error != std::errc() || end != text->data() + text->size()) return Fail(key, range);
  } else {
    toml::node_view<toml::node> node = document_->table.at_path(key);
    if (!node) return;
    if (!node.is_integer() || *node.value<int64_t>() < 0) return Fail(key, range);
    value = static_cast<uint64_t>(*node.value<int64_t>());
  }
  if (value < min || value > max) return Fail(key, range);
  *out = value;
}

void ConfigFile::GetBytes(std::string_view key, uint64_t* out, uint64_t min) {
  toml::node_view<toml::node> node = document_->table.at_path(key);
  if (!Override(key) && node && node.is_integer()) return Get(key, out, min, INT64_MAX);
  std::string text;
  Get(key, &text);
  if (text.empty()) return;
  Result<uint64_t> bytes = ParseBytes(text);
  if (!bytes.ok()) return Fail(key, bytes.status().message());
  if (*bytes < min) return Fail(key, "must be at least " + FormatBytes(min));
  *out = *bytes;
}

void ConfigFile::GetDuration(std::string_view key, Duration* out, Duration min) {
  std::string text;
  Get(key, &text);
  if (text.empty()) return;
  Result<Duration> duration = ParseDuration(text);
  if (!duration.ok()) return Fail(key, duration.status().message());
  if (*duration < min) return Fail(key, "must be at least " + FormatDuration(min));
  *out = *duration;
}

void ConfigFile::GetChoice(std::string_view key, std::string* out,
                           const std::vector<std::string>& allowed) {
  std::string text = *out;
  Get(key, &text);
  if (std::find(allowed.begin(), allowed.end(), text) == allowed.end()) {
    return Fail(key, Quoted(text) + " is not one of " + Listed(allowed));
  }
  *out = text;
}

void ConfigFile::Get(std::string_view key, std::vector<std::string>* out) {
  known_.emplace_back(key);
  if (auto text = Override(key)) {
    *out = SplitAtCommas(*text);
    return;
  }
  toml::node_view<toml::node> node = document_->table.at_path(key);
  if (!node) return;
  const toml::array* array = node.as_array();
  bool texts = array != nullptr && std::all_of(array->begin(), array->end(),
                                               [](const toml::node& n) { return n.is_string(); });
  if (!texts) return Fail(key, "must be a list of texts, as in [\"a\", \"b\"]");
  out->clear();
  for (const toml::node& element : *array) out->push_back(*element.value<std::string>());
}

std::vector<ConfigFile> ConfigFile::Tables(std::string_view name) {
  known_.emplace_back(name);
  std::vector<ConfigFile> elements;
  if (flags_.contains(name))
    Fail(name, "cannot be set so; write [[" + std::string(name) + "]] tables in the file");
  toml::node_view<toml::node> node = document_->table.at_path(name);
  if (!node) return elements;
  if (!node.is_array_of_tables()) {
    Fail(name, "must be tables, each begun by [[" + std::string(name) + "]]");
    return elements;
  }
  for (toml::node& element : *node.as_array()) {
    ConfigFile file;
    file.document_->table = std::move(*element.as_table());
    file.source_ = source_;
    file.path_ = std::string(name) + "[" + std::to_string(elements.size()) + "].";
    elements.push_back(std::move(file));
  }
  return elements;
}

void ConfigFile::Join(const ConfigFile& element) {
  Status status = element.Finish();
  if (error_.ok()) error_ = status;
}

Status ConfigFile::Finish() const {
  if (!error_.ok()) return error_;
  Status unknown;
  auto check = [&](const std::string& key, const std::string& place) {
    if (!unknown.ok() || std::find(known_.begin(), known_.end(), key) != known_.end()) return;
    unknown = Status::Invalid(place + ": no such key; allowed are " + Listed(known_));
  };
  for (const auto& [key, value] : flags_) check(key, key);
  ForEachKey(document_->table, "", [&](const std::string& key, const toml::node& node) {
    check(key, source_ + ":" + std::to_string(node.source().begin.line) + ": " + path_ + key);
  });
  return unknown;
}

}  // namespace holdfast::config
