// SPDX-License-Identifier: Apache-2.0
// holdfast fetch NAME... [-o DIR] [--range A-B], holdfast fetch -
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/range_name.h"
#include "base/uri.h"
#include "jobclient/cli/commands.h"

namespace holdfast::cli {
namespace {

namespace fs = std::filesystem;

constexpr size_t kPart = 64;  // all of these may wait in memory for the first of them
constexpr uint32_t kInFlightToPrint = 8;
constexpr uint32_t kInFlightToWrite = 64;

// Where an object goes below `directory`: the path of its name, so that equal last parts do not
// meet. ".." cannot lead out: names of files have none, and in keys it is refused.
Result<fs::path> PathFor(const std::string& directory, std::string_view name) {
  const std::optional<RangeName> range = ParseRangeName(name);
  Result<FarName> parts = ParseCanonical(range ? range->whole : name);
  if (!parts.ok()) return parts.status();
  fs::path relative = fs::path(parts->bucket) / fs::path(parts->path).relative_path();
  if (range) relative += NameOfRange("", range->range);
  for (const fs::path& part : relative) {
    if (part == "..")
      return Status::Invalid(
          std::string(name) +
          " has a part \"..\" and is not written to a file; use standard output");
  }
  return fs::path(directory) / relative;
}

// Whole or not at all: written beside its place, then renamed.
Status WriteObject(const fs::path& path, ByteView bytes) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  fs::path beside = path;
  beside += ".holdfast-part";
  std::ofstream out(beside, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(bytes.data()),
            static_cast<std::streamsize>(bytes.size()));
  out.close();
  if (!out) {
    const int why = errno;
    fs::remove(beside, error);
    return CannotWrite(path.string(), why);
  }
  fs::rename(beside, path, error);
  if (!error) return {};
  const int why = error.value();
  fs::remove(beside, error);
  return CannotWrite(path.string(), why);
}

// Where objects go, in the order in which they were asked for.
class Sink {
 public:
  Sink(const Globals& globals, const std::string& directory)
      : globals_(globals), directory_(directory) {}

  void Take(size_t index, Result<Object> object) {
    if (!directory_.empty()) return Count(object.ok() ? Write(*object) : object.status());
    waiting_.emplace(index, std::move(object));
    for (auto it = waiting_.find(next_); it != waiting_.end(); it = waiting_.find(++next_)) {
      Count(it->second.ok() ? Print(*it->second) : it->second.status());
      waiting_.erase(it);
    }
  }
  int code() const { return code_; }

 private:
  void Count(const Status& status) {
    if (!status.ok()) code_ = Fail(status);
  }
  static Status Print(const Object& object) {
    const ByteView bytes = object.bytes();
    const bool written =
        bytes.empty() || std::fwrite(bytes.data(), 1, bytes.size(), stdout) == bytes.size();
    if (!written || std::fflush(stdout) != 0) return CannotWrite("to standard output", errno);
    return {};
  }
  Status Write(const Object& object) const;

  const Globals& globals_;
  const std::string& directory_;
  std::map<size_t, Result<Object>> waiting_;  // for those before them
  size_t next_ = 0;
  int code_ = kOk;
};

Status Sink::Write(const Object& object) const {
  Result<fs::path> path = PathFor(directory_, object.name());
  if (!path.ok()) return path.status();
  HF_RETURN_IF_ERROR(WriteObject(*path, object.bytes()));
  if (globals_.json) {
    PrintJson({{"name", object.name()},
               {"file", path->string()},
               {"bytes", object.size()},
               {"from", WordFor(object.source())}});
  } else if (!globals_.quiet) {
    std::printf("%s  %s from %s\n", path->c_str(), FormatBytes(object.size()).c_str(),
                WordFor(object.source()));
  }
  return {};
}

// "A-B", both included; "A-", to the end; "-N", the last N bytes. The last two depend on the size, and
// have the range of that version read.
Status AddRange(Client& client, const std::string& name, const std::string& range,
                ObjectList* list) {
  const size_t dash = range.find('-');
  const bool bounded = dash != 0 && dash + 1 != range.size();
  if (dash == std::string::npos || bounded) {
    const Result<std::string> uri = client.Canonical(name + "#bytes=" + range);
    return uri.ok() ? list->Add(*uri) : uri.status().Annotate("--range " + range);
  }
  uint64_t number = 0;
  const std::string digits = range.substr(dash == 0 ? 1 : 0, range.size() - 1);
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size())
    return Status::Invalid("--range " + range + ": write A-B, A- or -N, in bytes from 0 on");
  const Result<std::string> canonical = client.Canonical(name);
  if (!canonical.ok()) return canonical.status();
  ObjectList one;
  HF_RETURN_IF_ERROR(one.Add(*canonical));
  HF_RETURN_IF_ERROR(client.Resolve(&one));
  const ObjectList::Item whole = one.item(0);
  const uint64_t first = dash != 0 ? number : whole.size - std::min(number, whole.size);
  if (first >= whole.size) {
    return Status::Invalid("--range " + range + ": " + std::string(whole.uri) + " has " +
                           std::to_string(whole.size) + " bytes, and none of these");
  }
  const uint64_t length = whole.size - first;
  Result<std::string> uri = client.RangeName(whole.uri, first, length);
  if (!uri.ok()) return uri.status();
  return list->Add(*uri, length, EtagOfRange(whole.etag, whole.size));
}

// A list from standard input, or the range of every name.
Result<ObjectList> Listed(Client& client, const Globals& globals,
                          const std::vector<std::string>& names,
                          const std::optional<std::string>& range) {
  if (!range) return ReadList(client, globals, "-");
  ObjectList list;
  for (const std::string& name : names) {
    if (name == "-")
      return Status::Invalid("--range is of names; in a list write NAME#bytes=FIRST-LAST");
    HF_RETURN_IF_ERROR(AddRange(client, NameOf(name), *range, &list));
  }
  return list;
}

int Fetch(const Globals& globals, const std::vector<std::string>& names,
          const std::optional<std::string>& range, const std::string& directory) {
  Result<std::unique_ptr<Client>> client = Connect(globals);
  if (!client.ok()) return Fail(client.status());
  Result<ObjectList> list = ObjectList();
  std::vector<std::string> uris;
  std::vector<ObjectList::Item> items;
  if (range || names == std::vector<std::string>{"-"}) {
    list = Listed(**client, globals, names, range);
    if (!list.ok()) return Fail(list.status());
    for (size_t i = 0; i < list->size(); ++i) items.push_back(list->item(i));
  } else {
    for (const std::string& name : names) uris.push_back(NameOf(name));
    for (const std::string& uri : uris) items.push_back({.uri = uri, .etag = {}});
  }
  Sink sink(globals, directory);
  const bool print = directory.empty();
  for (size_t first = 0; first < items.size(); first += kPart) {
    (*client)->GetMany(
        std::span(items).subspan(first, std::min(kPart, items.size() - first)),
        [&](size_t i, Result<Object> object) { sink.Take(first + i, std::move(object)); },
        {.in_flight = print ? kInFlightToPrint : kInFlightToWrite});
  }
  return sink.code();
}

}  // namespace

void AddFetchCommand(CLI::App& app, const Globals& globals, Chosen* chosen) {
  auto names = std::make_shared<std::vector<std::string>>();
  auto range = std::make_shared<std::optional<std::string>>();
  auto directory = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand(
      "fetch", "read objects through the cluster, to standard output or to files");
  command->add_option("NAME", *names, "URIs or paths; - reads a list from standard input")
      ->required();
  command->add_option("-o,--output", *directory,
                      "write below this directory instead of standard output");
  command->add_option("--range", *range,
                      "only these bytes: A-B, both included, A- to the end, -N the last N");
  command->callback([=, &globals] {
    *chosen = [=, &globals] { return Fetch(globals, *names, *range, *directory); };
  });
}

}  // namespace holdfast::cli
