// SPDX-License-Identifier: Apache-2.0
// A configuration: a TOML file, overridden by the environment, overridden by flags. toml++ is known
// in the .cc alone.
//
// Every key that a program knows is read once by a getter, which also learns that it is allowed;
// Finish() then reports what nobody has asked for. The first error wins and names file, line, key
// and what is allowed.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "base/units.h"

namespace holdfast::config {

class ConfigFile {
 public:
  // kNotFound, kDenied or kInvalid with the place of a syntax error. An empty path is an empty
  // file.
  static Result<ConfigFile> Load(const std::string& path);
  static Result<ConfigFile> Parse(std::string_view text, std::string source);
  ConfigFile(ConfigFile&&) noexcept;
  ConfigFile& operator=(ConfigFile&&) noexcept;
  ~ConfigFile();

  // From a flag: `--set memory.limit=4GiB`. Beats the environment, which beats the file. kInvalid
  // without '='.
  Status Set(std::string_view assignment);
  // The environment variable of a key is PREFIX_ and the key in upper case with '.' as '_'.
  void UseEnvironment(std::string prefix);

  // Each leaves *out as it is (the default) when the key is given nowhere.
  void Get(std::string_view key, std::string* out);
  void Get(std::string_view key, bool* out);  // true, false
  void Get(std::string_view key, uint64_t* out, uint64_t min, uint64_t max);
  void GetBytes(std::string_view key, uint64_t* out, uint64_t min = 0);      // "4GiB" or an integer
  void GetDuration(std::string_view key, Duration* out, Duration min = {});  // "30s"
  void GetChoice(std::string_view key, std::string* out, const std::vector<std::string>& allowed);
  void Get(std::string_view key, std::vector<std::string>* out);  // flags: separated by commas

  // An array of tables, [[name]]: one ConfigFile-like view an element, with the same getters; keys
  // are relative. Overrides do not reach into it. Once: the elements are moved out.
  std::vector<ConfigFile> Tables(std::string_view name);
  // Takes over the errors and the unknown keys of an element.
  void Join(const ConfigFile& element);

  // An error of the caller's own checks, reported as if a getter had found it.
  void Fail(std::string_view key, std::string_view problem);

  // The first error; else the first key that nobody asked for, with the allowed ones.
  Status Finish() const;

 private:
  struct Document;
  ConfigFile();
  std::optional<std::string> Override(std::string_view key) const;
  std::string Place(std::string_view key) const;

  std::unique_ptr<Document> document_;
  std::string source_;
  std::string prefix_;  // of the environment
  std::string path_;    // of an element: "node[2]."
  std::map<std::string, std::string, std::less<>> flags_;
  std::vector<std::string> known_;
  Status error_;
};

}  // namespace holdfast::config
