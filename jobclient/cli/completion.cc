// SPDX-License-Identifier: Apache-2.0
// Shell completion, made from the very tree of commands that parses the arguments.
#include <cstdio>
#include <string>

#include "jobclient/cli/commands.h"

namespace holdfast::cli {
namespace {

std::string WordsOf(const CLI::App& app) {
  std::string words;
  for (const CLI::App* command : app.get_subcommands({})) words += command->get_name() + " ";
  for (const CLI::Option* option : app.get_options({})) {
    for (const std::string& name : option->get_lnames()) words += "--" + name + " ";
  }
  return words;
}

void PrintCases(const CLI::App& app, const std::string& path, const std::string& inherited) {
  std::printf("    \"%s\") words=\"%s%s\" ;;\n", path.c_str(), WordsOf(app).c_str(),
              inherited.c_str());
  for (const CLI::App* command : app.get_subcommands({})) {
    PrintCases(*command, path + " " + command->get_name(), inherited);
  }
}

}  // namespace

void AddCompletionCommand(CLI::App& app, Chosen* chosen) {
  CLI::App* command =
      app.add_subcommand("completion", "print a completion script: source <(holdfast completion)");
  command->callback([&app, chosen] {
    *chosen = [&app] {
      // The commands among the words so far are the path; the last path that is known gives the
      // words.
      std::printf(
          "_holdfast() {\n  local words=\"\" path=\"holdfast\" i\n  _holdfast_words\n"
          "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
          "    [[ \" $words \" == *\" ${COMP_WORDS[i]} \"* && ${COMP_WORDS[i]} != -* ]] && "
          "path+=\" ${COMP_WORDS[i]}\"\n"
          "    _holdfast_words\n  done\n"
          "  COMPREPLY=($(compgen -W \"$words\" -- "
          "\"${COMP_WORDS[COMP_CWORD]}\"))\n}\n_holdfast_words() {\n"
          "  case $path in\n");
      PrintCases(app, "holdfast", "");
      std::printf("  esac\n}\ncomplete -o default -F _holdfast holdfast\n");
      return static_cast<int>(kOk);
    };
  });
}

}  // namespace holdfast::cli
