// SPDX-License-Identifier: Apache-2.0
#include "tests/origin/fault.h"

#include <array>
#include <charconv>

namespace holdfast::origin {
namespace {

constexpr std::array<std::string_view, kFaultKinds> kNames{
    "status",      "truncate",    "reset",    "long-length", "short-length",
    "wrong-bytes", "wrong-range", "no-range", "other-etag",  "no-etag",
    "chunked",     "stall",       "hang"};

Status BadFault(std::string_view text) {
  std::string names;
  for (std::string_view name : kNames) names.append(" ").append(name);
  return Status::Invalid("\"" + std::string(text) +
                         "\" is no fault; write KIND[,p=0.1][,path=TEXT][,times=N][,status=503]"
                         "[,code=SlowDown][,retry-after=1s] with a kind of" +
                         names);
}

template <typename T>
bool ParseInto(std::string_view text, T* value) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

bool SetField(std::string_view key, std::string_view value, FaultRule* rule) {
  if (key == "p") return ParseInto(value, &rule->probability);
  if (key == "times") return ParseInto(value, &rule->times);
  if (key == "status") return ParseInto(value, &rule->status);
  if (key == "path") rule->path = value;
  if (key == "code") rule->code = value;
  if (key == "retry-after") {
    Result<Duration> duration = ParseDuration(value);
    if (!duration.ok()) return false;
    rule->retry_after = *duration;
  }
  return key == "path" || key == "code" || key == "retry-after";
}

}  // namespace

std::string_view FaultName(FaultKind kind) { return kNames[static_cast<size_t>(kind)]; }

Result<FaultRule> ParseFault(std::string_view text) {
  FaultRule rule;
  size_t comma = std::min(text.find(','), text.size());
  const std::string_view name = text.substr(0, comma);
  size_t kind = 0;
  while (kind < kNames.size() && kNames[kind] != name) ++kind;
  if (kind == kNames.size()) return BadFault(text);
  rule.kind = static_cast<FaultKind>(kind);
  while (comma < text.size()) {
    const size_t end = std::min(text.find(',', comma + 1), text.size());
    const std::string_view field = text.substr(comma + 1, end - comma - 1);
    const size_t equals = field.find('=');
    if (equals == std::string_view::npos ||
        !SetField(field.substr(0, equals), field.substr(equals + 1), &rule)) {
      return BadFault(text);
    }
    comma = end;
  }
  return rule;
}

const FaultRule* FaultChooser::Choose(const std::string& path) {
  for (size_t i = 0; i < rules_.size(); ++i) {
    const FaultRule& rule = rules_[i];
    if (path.find(rule.path) == std::string::npos) continue;
    if (rule.times > 0 && seen_[i][path]++ >= rule.times) continue;
    if (rule.probability >= 1 || random_.Chance(rule.probability)) return &rule;
  }
  return nullptr;
}

}  // namespace holdfast::origin
