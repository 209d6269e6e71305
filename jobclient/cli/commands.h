// SPDX-License-Identifier: Apache-2.0
// The commands of `holdfast`. Each adds itself to the command line; what it runs gives an exit
// code.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

#include "jobclient/cli/context.h"

namespace holdfast::cli {

// `chosen` is set to the command's work by the command that was given.
using Chosen = std::function<int()>;

void AddClusterCommand(CLI::App& app, const Globals& globals, Chosen* chosen);
void AddComponentsCommand(CLI::App& app, const Globals& globals, Chosen* chosen);
void AddRunCommands(CLI::App& app, const Globals& globals, Chosen* chosen);  // plan, run
void AddFetchCommand(CLI::App& app, const Globals& globals, Chosen* chosen);
void AddExplainCommand(CLI::App& app, const Globals& globals, Chosen* chosen);
void AddHoldCommands(CLI::App& app, const Globals& globals, Chosen* chosen);    // hold, release
void AddObjectCommands(CLI::App& app, const Globals& globals, Chosen* chosen);  // list, drop
void AddPackCommand(CLI::App& app, const Globals& globals, Chosen* chosen);
void AddSnapshotCommands(CLI::App& app, const Globals& globals, Chosen* chosen);
void AddStatusCommand(CLI::App& app, const Globals& globals, Chosen* chosen);
void AddStreamCommands(CLI::App& app, const Globals& globals, Chosen* chosen);  // put, cat, ls, rm
void AddCompletionCommand(CLI::App& app, Chosen* chosen);

}  // namespace holdfast::cli
