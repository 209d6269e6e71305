// SPDX-License-Identifier: Apache-2.0
#include "jobclient/cli/context.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>

#include "io/net/log_sink.h"
#include "jobclient/cli/local_cluster.h"
#include "jobclient/client_config.h"

namespace holdfast::cli {
namespace {

Duration SinceStart() {
  return std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch());
}

bool IsPrefix(const std::string& source) {
  if (source.find("://") != std::string::npos)
    return source.back() == '/' || source.starts_with("s3://");
  std::error_code error;  // what may not be looked at is no directory; reading it then says so
  return std::filesystem::is_directory(source, error);
}

std::string OneLine(const std::string& text) {
  std::string shown;
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      shown += c;
      continue;
    }
    char hex[5];
    std::snprintf(hex, sizeof(hex), "\\x%02x", byte);
    shown += hex;
  }
  return shown;
}

}  // namespace

int ExitFor(const Status& status) {
  switch (status.code()) {
    case Code::kOk:
      return kOk;
    case Code::kInvalid:
      return kUsage;
    case Code::kNotFound:
      return kNotThere;
    case Code::kDenied:
      return kNoAccess;
    case Code::kUnavailable:
    case Code::kTimeout:
      return kNotReached;
    case Code::kChanged:
    case Code::kCorrupt:
    case Code::kNoSpace:
      return kWrong;
  }
  return kWrong;
}

void Say(const std::string& text) { std::fprintf(stderr, "holdfast: %s\n", OneLine(text).c_str()); }

int Fail(const Status& status) {
  Say(status.message());
  return ExitFor(status);
}

Status CannotWrite(const std::string& what, int error) {
  bool denied = error == EACCES || error == EPERM || error == EROFS;
  return {denied ? Code::kDenied : Code::kNoSpace,
          "cannot write " + what + ": " + std::strerror(error)};
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
    case ObjectSource::kOwnDisk:
      return "own disk";
  }
  return "";
}

void PrintJson(const Json& json) {
  // Names are bytes; what is not UTF-8 in them is shown as U+FFFD instead of failing.
  std::printf("%s\n", json.dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
}

Result<ClientOptions> ReadOptions(const Globals& globals) {
  std::string path = globals.config;
  std::string local = DefaultClusterDirectory() + "/client.toml";
  std::error_code error;  // of a runtime directory that is another user's
  if (path.empty() && std::filesystem::exists(local, error)) path = local;
  Result<config::ConfigFile> file = config::ConfigFile::Load(path);
  if (!file.ok() && file.status().code() == Code::kNotFound) {
    return Status::Invalid(
        file.status().message());  // a wrong argument, not an object that is gone
  }
  if (!file.ok()) return file.status();
  file->UseEnvironment("HOLDFAST_CLIENT");
  for (const std::string& setting : globals.settings) HF_RETURN_IF_ERROR(file->Set(setting));
  Result<ClientOptions> options = ReadClientConfig(&*file);
  if (!options.ok()) return options;
  if (!globals.s3_endpoint.empty()) options->far.s3_endpoint = globals.s3_endpoint;
  // What the cluster does not do is said where it is not an error: a node that is away, or refuses
  // this client.
  static net::LogSink log({.program = "holdfast", .level = LogLevel::kWarn});
  options->log = &log;
  return options;
}

Result<std::unique_ptr<Client>> Connect(const Globals& globals) {
  Result<ClientOptions> options = ReadOptions(globals);
  if (!options.ok()) return options.status();
  return Client::Connect(*std::move(options));
}

Status NoCluster() {
  return Status::NotFound(
      "no cluster is configured and none is up here; give --config FILE, or start one by `holdfast "
      "cluster up`");
}

// --- Progress ------------------------------------------------------------------------------------

Progress::Progress(const Globals& globals, std::string what)
    : enabled_(!globals.quiet && !globals.json),
      terminal_(::isatty(2) != 0),
      what_(std::move(what)) {
  next_ = SinceStart() + (terminal_ ? Duration(200ms) : Duration(2s));  // short steps say nothing
}

Progress::~Progress() { Clear(); }

void Progress::Show(uint64_t done, uint64_t total) {
  Duration now = SinceStart();
  if (!enabled_ || now < next_) return;
  next_ = now + (terminal_ ? Duration(100ms) : Duration(5s));
  std::string counts =
      FormatCount(done) + (total > 0 ? " of " + FormatCount(total) : std::string());
  if (!terminal_) {
    std::fprintf(stderr, "%s: %s\n", what_.c_str(), counts.c_str());
    return;
  }
  constexpr uint64_t kWidth = 30;
  uint64_t filled = total > 0 ? std::min(kWidth, done * kWidth / total) : 0;
  std::string bar =
      total > 0 ? "[" + std::string(filled, '#') + std::string(kWidth - filled, '.') + "] " : "";
  std::fprintf(stderr, "\r\033[K%s %s%s", what_.c_str(), bar.c_str(), counts.c_str());
  std::fflush(stderr);
  drawn_ = true;
}

void Progress::Clear() {
  if (drawn_) std::fprintf(stderr, "\r\033[K");
}

// --- Lists ---------------------------------------------------------------------------------------

Result<std::string> ReadText(const std::string& path) {
  std::ostringstream text;
  if (path == "-") {
    text << std::cin.rdbuf();
    return text.str();
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    Code code = errno == EACCES ? Code::kDenied : Code::kNotFound;
    return Status(code, "cannot read the list \"" + path + "\": " + std::strerror(errno));
  }
  text << in.rdbuf();
  return text.str();
}

Status NothingBelow(const std::string& prefix) {
  return Status::NotFound("there are no objects below " + prefix + "; is it the right name?");
}

std::string NameOf(const std::string& argument) {
  if (argument.empty() || argument.front() == '/' || argument.find("://") != std::string::npos)
    return argument;
  std::error_code error;  // of a directory that is gone; then it is no name that is understood
  std::filesystem::path here = std::filesystem::current_path(error);
  return error ? argument : (here / argument).string();
}

Result<ObjectList> ReadList(Client& client, const Globals& globals, const std::string& source) {
  if (source.empty())
    return Status::Invalid(
        "no list was given: a file, a directory, a prefix, or - for standard input");
  if (source != "-" && IsPrefix(source)) {
    Progress progress(globals, "listing " + source);
    Result<ObjectList> below =
        client.List(NameOf(source), [&](uint64_t objects) { progress.Show(objects, 0); });
    if (below.ok() && below->empty()) return NothingBelow(source);
    return below;
  }
  Result<std::string> text = ReadText(source);
  if (!text.ok()) return text.status();
  Result<ObjectList> list = ObjectList::Parse(*text);
  if (!list.ok()) return list.status().Annotate(source == "-" ? "standard input" : source);
  if (list->empty())
    return Status::Invalid((source == "-" ? "standard input" : "the list " + source) +
                           " is empty; it has one object per line");
  return list;
}

}  // namespace holdfast::cli
