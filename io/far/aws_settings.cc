// SPDX-License-Identifier: Apache-2.0
#include "io/far/aws_settings.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <string_view>

namespace holdfast::far {
namespace {

constexpr size_t kMaxLines = 100'000;

using Section = std::map<std::string, std::string>;
using Sections = std::map<std::string, Section>;

std::string Trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return "";
  return std::string(text.substr(first, text.find_last_not_of(" \t\r") - first + 1));
}

// "[profile name]" in the config file is "[name]" in the credentials file.
std::string SectionName(std::string_view line) {
  std::string name = Trimmed(line.substr(1, line.find(']') - 1));
  if (name.starts_with("profile ")) name = Trimmed(name.substr(8));
  return name;
}

// Without the comment after it; a '#' that no space comes before is part of the value.
std::string Value(std::string_view text) {
  for (size_t at = 1; at < text.size(); ++at) {
    const bool after_space = text[at - 1] == ' ' || text[at - 1] == '\t';
    if (after_space && (text[at] == '#' || text[at] == ';')) return Trimmed(text.substr(0, at));
  }
  return Trimmed(text);
}

// A file that does not exist is empty.
Result<Sections> ReadIni(const std::string& path, const char* variable) {
  Sections sections;
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return sections;
  errno = 0;
  std::ifstream file(path);
  std::string line;
  std::string section;
  for (size_t n = 0; n < kMaxLines && std::getline(file, line); ++n) {
    if (line.starts_with('#') || line.starts_with(';')) continue;
    if (line.starts_with('[') && line.find(']') != std::string::npos) {
      section = SectionName(line);
      sections[section];
      continue;
    }
    // Indented lines belong to a nested setting ("s3 =") that is not used here.
    const size_t equals = line.find('=');
    if (equals == std::string::npos || line.starts_with(' ') || line.starts_with('\t')) continue;
    sections[section][Trimmed(line.substr(0, equals))] = Value(line.substr(equals + 1));
  }
  if (file.is_open() && !file.bad()) return sections;
  return Status::Invalid("the AWS file \"" + path + "\" cannot be read (" + std::strerror(errno) +
                         "); check who may read it, or name another one by " + variable);
}

std::string FilePath(const Environment& environment, const char* variable, const char* name) {
  if (auto path = environment(variable); path) return *path;
  const auto home = environment("HOME");
  return home ? *home + "/.aws/" + name : "";
}

// The profile's settings; those of the credentials file win.
struct Profile {
  std::string name;
  bool found = false;
  Section settings;
};

Result<Profile> ReadProfile(const Environment& environment) {
  Profile profile;
  profile.name = environment("AWS_PROFILE").value_or("default");
  for (const auto& [variable, file] : {std::pair("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
                                       std::pair("AWS_CONFIG_FILE", "config")}) {
    Result<Sections> sections = ReadIni(FilePath(environment, variable, file), variable);
    if (!sections.ok()) return sections.status();
    const auto it = sections->find(profile.name);
    if (it == sections->end()) continue;
    profile.found = true;
    // The token of one key pair does not go with another.
    if (profile.settings.contains("aws_secret_access_key")) it->second.erase("aws_session_token");
    profile.settings.insert(it->second.begin(), it->second.end());
  }
  return profile;
}

std::string Get(const Section& section, const char* key) {
  const auto it = section.find(key);
  return it == section.end() ? "" : it->second;
}

Status AddCredentials(const Environment& environment, const Profile& profile, Credentials* keys) {
  const bool profile_named = environment("AWS_PROFILE").has_value();
  std::string source = "profile \"" + profile.name + "\"";
  Credentials found{.access_key = Get(profile.settings, "aws_access_key_id"),
                    .secret_key = Get(profile.settings, "aws_secret_access_key"),
                    .session_token = Get(profile.settings, "aws_session_token")};
  const auto access_key = environment("AWS_ACCESS_KEY_ID");
  const auto secret_key = environment("AWS_SECRET_ACCESS_KEY");
  const bool in_environment = access_key || secret_key;
  if (in_environment) {
    source = "the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)";
    found = {.access_key = access_key.value_or(""),
             .secret_key = secret_key.value_or(""),
             .session_token = environment("AWS_SESSION_TOKEN").value_or("")};
  }
  if (found.access_key.empty() != found.secret_key.empty()) {
    return Status::Invalid(source + " gives only half of an S3 key pair");
  }
  if (profile_named && !profile.found && !in_environment) {
    return Status::Invalid("AWS_PROFILE names profile \"" + profile.name +
                           "\", which is in no AWS file");
  }
  *keys = std::move(found);
  return Status();
}

}  // namespace

Environment ProcessEnvironment() {
  return [](const char* name) -> std::optional<std::string> {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') return std::nullopt;
    return value;
  };
}

Status AddAwsSettings(const Environment& environment, FarOptions* options) {
  const Result<Profile> read = ReadProfile(environment);
  if (!read.ok()) return read.status();
  const Profile& profile = *read;
  S3Options& s3 = options->s3;
  if (s3.credentials.anonymous() && !s3.anonymous) {
    HF_RETURN_IF_ERROR(AddCredentials(environment, profile, &s3.credentials));
  }
  const auto first_of = [&](std::initializer_list<const char*> variables, const char* key) {
    for (const char* variable : variables) {
      if (auto value = environment(variable); value) return *value;
    }
    return Get(profile.settings, key);
  };
  if (s3.region.empty()) s3.region = first_of({"AWS_REGION", "AWS_DEFAULT_REGION"}, "region");
  if (s3.region.empty()) s3.region = kDefaultRegion;
  if (s3.endpoint.empty()) {
    s3.endpoint = first_of({"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"}, "endpoint_url");
  }
  if (s3.endpoint.empty()) s3.endpoint = "https://s3." + s3.region + ".amazonaws.com";
  if (options->ca_bundle.empty()) options->ca_bundle = environment("AWS_CA_BUNDLE").value_or("");
  return Status();
}

}  // namespace holdfast::far
