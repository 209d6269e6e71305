// SPDX-License-Identifier: Apache-2.0
// holdfast fetch NAME... [-o DIR], holdfast fetch -
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/uri.h"
#include "jobclient/cli/commands.h"

namespace holdfast::cli {
namespace {

namespace fs = std::filesystem;

// Where an object goes below `directory`: the path of its name, so that equal last parts do not
// meet. ".." cannot lead out: names of files have none, and in keys it is refused.
Result<fs::path> PathFor(const std::string& directory, std::string_view name) {
  Result<FarName> parts = ParseCanonical(name);
  if (!parts.ok()) return parts.status();
  fs::path relative = fs::path(parts->bucket) / fs::path(parts->path).relative_path();
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

const char* WordFor(ObjectSource source) {
  switch (source) {
    case ObjectSource::kLocal:
      return "own memory";
    case ObjectSource::kPeer:
      return "another node";
    case ObjectSource::kThroughHome:
      return "its home";
    case ObjectSource::kFar:
      return "far away";
  }
  return "";
}

Status FetchOne(const Globals& globals, Client& client, const ObjectList::Item& item,
                const std::string& directory) {
  Result<Object> object = client.Get(item);
  if (!object.ok()) return object.status();
  if (directory.empty()) {
    ByteView bytes = object->bytes();
    const bool written =
        bytes.empty() || std::fwrite(bytes.data(), 1, bytes.size(), stdout) == bytes.size();
    if (!written || std::fflush(stdout) != 0) {
      return CannotWrite("to standard output", errno);
    }
    return {};
  }
  Result<fs::path> path = PathFor(directory, object->name());
  if (!path.ok()) return path.status();
  HF_RETURN_IF_ERROR(WriteObject(*path, object->bytes()));
  if (globals.json) {
    PrintJson({{"name", object->name()},
               {"file", path->string()},
               {"bytes", object->size()},
               {"from", WordFor(object->source())}});
  } else if (!globals.quiet) {
    std::printf("%s  %s from %s\n", path->c_str(), FormatBytes(object->size()).c_str(),
                WordFor(object->source()));
  }
  return {};
}

int Fetch(const Globals& globals, const std::vector<std::string>& names,
          const std::string& directory) {
  Result<std::unique_ptr<Client>> client = Connect(globals);
  if (!client.ok()) return Fail(client.status());
  int code = kOk;
  auto fetch = [&](const ObjectList::Item& item) {
    Status status = FetchOne(globals, **client, item, directory);
    if (!status.ok()) code = Fail(status);
  };
  if (names == std::vector<std::string>{"-"}) {
    Result<ObjectList> list = ReadList(**client, globals, "-");
    if (!list.ok()) return Fail(list.status());
    for (size_t i = 0; i < list->size(); ++i) fetch(list->item(i));
    return code;
  }
  for (const std::string& name : names) {
    const std::string uri = NameOf(name);
    fetch({.uri = uri, .etag = {}});
  }
  return code;
}

}  // namespace

void AddFetchCommand(CLI::App& app, const Globals& globals, Chosen* chosen) {
  auto names = std::make_shared<std::vector<std::string>>();
  auto directory = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand(
      "fetch", "read objects through the cluster, to standard output or to files");
  command->add_option("NAME", *names, "URIs or paths; - reads a list from standard input")
      ->required();
  command->add_option("-o,--output", *directory,
                      "write below this directory instead of standard output");
  command->callback(
      [=, &globals] { *chosen = [=, &globals] { return Fetch(globals, *names, *directory); }; });
}

}  // namespace holdfast::cli
