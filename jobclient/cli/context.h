// SPDX-License-Identifier: Apache-2.0
// What every command is given: the options that all have in common, and how to speak to a person or
// a program.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/status.h"
#include "holdfast/client.h"

namespace holdfast::cli {

using Json = nlohmann::ordered_json;

// Exit codes, the same for every command; docs/cli.md lists them.
enum Exit : int {
  kOk = 0,
  kWrong = 1,       // bytes differed, or an object could not be read or written
  kUsage = 2,       // arguments or configuration
  kNotThere = 3,    // an object, a list, a bucket or a cluster does not exist
  kNoAccess = 4,    // credentials or permissions
  kNotReached = 5,  // nodes or the far store did not answer
};
int ExitFor(const Status& status);

struct Globals {
  std::string config;                 // --config; empty: the local cluster's, if it is up
  std::vector<std::string> settings;  // --set
  std::string s3_endpoint;            // --s3-endpoint
  bool json = false;
  bool quiet = false;
};

// The client's options by flags, environment and file. Without any configuration and without a
// local cluster everything is read far away.
Result<ClientOptions> ReadOptions(const Globals& globals);
Result<std::unique_ptr<Client>> Connect(const Globals& globals);
Status NoCluster();  // of a command that is nothing without one

// Prints "holdfast: <text>" on standard error, in one line: what a terminal would act on, as in the
// name of an object, is shown as \xNN.
void Say(const std::string& text);
// Says what failed and gives the exit code.
int Fail(const Status& status);
// "cannot write WHAT: " and what the system says of `error`. kDenied where it is a question of
// rights, else kNoSpace: no node and no far store has failed.
Status CannotWrite(const std::string& what, int error);
// "own memory", "another node", "its home", "far away".
const char* WordFor(ObjectSource source);
// One JSON object on one line on standard output.
void PrintJson(const Json& json);

// A long step's progress: a bar on a terminal, a plain line every few seconds elsewhere, nothing
// when quiet.
class Progress {
 public:
  Progress(const Globals& globals, std::string what);
  ~Progress();
  Progress(const Progress&) = delete;
  // total 0: not known.
  void Show(uint64_t done, uint64_t total);
  std::function<void(uint64_t, uint64_t)> callback() {
    return [this](uint64_t done, uint64_t total) { Show(done, total); };
  }

 private:
  void Clear();
  bool enabled_;
  bool terminal_;
  bool drawn_ = false;
  std::string what_;
  Duration next_{};  // when to show again
};

// An argument as the name of an object or prefix: paths are those of this shell, so relative ones
// are completed. (In list files names are absolute: they are read by others, elsewhere.)
std::string NameOf(const std::string& argument);
// "-": standard input; a file: a list file; a directory or a URI that ends in '/': everything below
// it. kNotFound for a prefix below which there is nothing, kInvalid for an empty list file.
Result<ObjectList> ReadList(Client& client, const Globals& globals, const std::string& source);
Status NothingBelow(const std::string& prefix);
Result<std::string> ReadText(const std::string& path);

}  // namespace holdfast::cli
