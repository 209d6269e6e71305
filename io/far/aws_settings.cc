// SPDX-License-Identifier: Apache-2.0
#include "io/far/aws_settings.h"

#include <cstdlib>
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

// A file that does not exist is empty.
Sections ReadIni(const std::string& path) {
  Sections sections;
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
    sections[section][Trimmed(line.substr(0, equals))] = Trimmed(line.substr(equals + 1));
  }
  return sections;
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

Profile ReadProfile(const Environment& environment) {
  Profile profile;
  profile.name = environment("AWS_PROFILE").value_or("default");
  for (const std::string& path :
       {FilePath(environment, "AWS_SHARED_CREDENTIALS_FILE", "credentials"),
        FilePath(environment, "AWS_CONFIG_FILE", "config")}) {
    const Sections sections = ReadIni(path);
    const auto it = sections.find(profile.name);
    if (it == sections.end()) continue;
    profile.found = true;
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
  if (!profile_named && (access_key || secret_key)) {
    source = "the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)";
    found = {.access_key = access_key.value_or(""),
             .secret_key = secret_key.value_or(""),
             .session_token = environment("AWS_SESSION_TOKEN").value_or("")};
  }
  if (found.access_key.empty() != found.secret_key.empty()) {
    return Status::Invalid(source + " gives only half of an S3 key pair");
  }
  if (profile_named && !profile.found) {
    return Status::NotFound("AWS_PROFILE names profile \"" + profile.name +
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
  const Profile profile = ReadProfile(environment);
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
