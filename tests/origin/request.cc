// SPDX-License-Identifier: Apache-2.0
#include "tests/origin/request.h"

#include <charconv>

namespace holdfast::origin {
namespace {

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool ParseNumber(std::string_view text, uint64_t* value) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

bool ParseRequestLine(std::string_view line, Request* request) {
  const size_t first = line.find(' ');
  const size_t second = line.rfind(' ');
  if (first == std::string_view::npos || second <= first) return false;
  request->method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, second - first - 1);
  const size_t question = target.find('?');
  request->path = target.substr(0, question);
  request->query = question == std::string_view::npos ? "" : target.substr(question + 1);
  return target.starts_with('/') && line.substr(second + 1).starts_with("HTTP/1.");
}

}  // namespace

std::string_view Request::Header(std::string_view lower_name) const {
  for (const auto& [name, value] : headers) {
    if (name == lower_name) return value;
  }
  return {};
}

std::optional<std::pair<uint64_t, uint64_t>> Request::Range() const {
  std::string_view text = Header("range");
  if (!text.starts_with("bytes=")) return std::nullopt;
  text.remove_prefix(6);
  const size_t dash = text.find('-');
  std::pair<uint64_t, uint64_t> range;
  if (dash == std::string_view::npos || !ParseNumber(text.substr(0, dash), &range.first) ||
      !ParseNumber(text.substr(dash + 1), &range.second)) {
    return std::nullopt;
  }
  return range;
}

bool ParseRequest(std::string_view head, Request* request) {
  request->headers.clear();
  size_t at = head.find("\r\n");
  if (at == std::string_view::npos || !ParseRequestLine(head.substr(0, at), request)) return false;
  for (at += 2; at < head.size();) {
    const size_t end = head.find("\r\n", at);
    if (end == std::string_view::npos || end == at) break;
    const std::string_view line = head.substr(at, end - at);
    at = end + 2;
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) return false;
    std::string name(line.substr(0, colon));
    for (char& c : name) c = Lower(c);
    const size_t value = std::min(line.find_first_not_of(' ', colon + 1), line.size());
    request->headers.emplace_back(std::move(name), line.substr(value));
  }
  return true;
}

}  // namespace holdfast::origin
