// SPDX-License-Identifier: Apache-2.0
// holdfast, the command line.
#include <cerrno>
#include <cstdio>
#include <string>
#include <vector>

#include "io/bulk/descriptors.h"
#include "jobclient/cli/commands.h"

namespace {
constexpr const char* kFooter =
    R"(Without --config the local cluster's configuration is used if one is up (holdfast cluster up).

Exit codes: 0 done; 1 bytes differed, or an object could not be read or written; 2 wrong arguments or configuration;
3 an object, list, bucket or cluster does not exist; 4 no access; 5 nodes or the far store did not answer.)";
}  // namespace

int main(int argc, char** argv) {
  using namespace holdfast;
  using namespace holdfast::cli;
  bulk::RaiseDescriptorLimit();
  CLI::App app("Holdfast: a read cache for jobs that know their list.", "holdfast");
  app.footer(kFooter);
  app.require_subcommand(1);
  app.fallthrough();
  Globals globals;
  Chosen chosen;
  app.add_option("--config", globals.config, "the client's TOML file")
      ->envname("HOLDFAST_CLIENT_CONFIG");
  app.add_option("--set", globals.settings, "KEY=VALUE, beats file and environment")
      ->allow_extra_args(false);
  app.add_option("--s3-endpoint", globals.s3_endpoint, "of s3:// names, as http://127.0.0.1:9000");
  app.add_flag("--json", globals.json, "one JSON object per line instead of text");
  app.add_flag("-q,--quiet", globals.quiet, "no progress");
  AddClusterCommand(app, globals, &chosen);
  AddComponentsCommand(app, globals, &chosen);
  AddRunCommands(app, globals, &chosen);
  AddFetchCommand(app, globals, &chosen);
  AddExplainCommand(app, globals, &chosen);
  AddHoldCommands(app, globals, &chosen);
  AddObjectCommands(app, globals, &chosen);
  AddPackCommand(app, globals, &chosen);
  AddSnapshotCommands(app, globals, &chosen);
  AddStatusCommand(app, globals, &chosen);
  AddStreamCommands(app, globals, &chosen);
  AddCompletionCommand(app, &chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::RequiredError& error) {
    // Of a command that is misspelt CLI11 says only that there is none.
    std::vector<std::string> rest = app.remaining(true);
    if (rest.empty() || rest.front().starts_with('-')) return app.exit(error) == 0 ? kOk : kUsage;
    return Fail(Status::Invalid("there is no command \"" + rest.front() +
                                "\"; --help says which there are"));
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kOk : kUsage;
  }
  int code = chosen ? chosen() : kUsage;
  // A full disk behind standard output must not pass for a short list.
  errno = 0;
  if ((std::fflush(stdout) != 0 || std::ferror(stdout) != 0) && code == kOk) {
    return Fail(CannotWrite("to standard output", errno != 0 ? errno : EIO));
  }
  return code;
}
