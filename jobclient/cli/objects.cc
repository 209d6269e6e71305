// SPDX-License-Identifier: Apache-2.0
// holdfast list PREFIX, holdfast drop NAME...|PREFIX
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "jobclient/cli/commands.h"

namespace holdfast::cli {
namespace {

int List(const Globals& globals, const std::string& given) {
  const std::string prefix = NameOf(given);
  Result<std::unique_ptr<Client>> client = Connect(globals);
  if (!client.ok()) return Fail(client.status());
  Result<ObjectList> list = Status::NotFound("");
  {
    Progress progress(globals, "listing " + prefix);
    list = (*client)->List(prefix, [&](uint64_t objects) { progress.Show(objects, 0); });
  }
  if (!list.ok()) return Fail(list.status());
  if (list->empty()) return Fail(NothingBelow(prefix));
  if (!globals.json) {
    std::string text = list->Format();
    std::fwrite(text.data(), 1, text.size(), stdout);
    return kOk;
  }
  for (size_t i = 0; i < list->size(); ++i) {
    ObjectList::Item item = list->item(i);
    PrintJson({{"name", item.uri}, {"size", item.size}, {"etag", item.etag}});
  }
  return kOk;
}

int Drop(const Globals& globals, std::vector<std::string> names, const std::string& prefix) {
  if (names.empty() == prefix.empty())
    return Fail(Status::Invalid("give either names or --prefix"));
  for (std::string& name : names) name = NameOf(name);
  Result<std::unique_ptr<Client>> client = Connect(globals);
  if (!client.ok()) return Fail(client.status());
  Result<DropResult> dropped =
      prefix.empty() ? (*client)->DropObjects(names) : (*client)->DropPrefix(NameOf(prefix));
  if (!dropped.ok()) return Fail(dropped.status());
  if (globals.json) {
    PrintJson({{"nodes", dropped->nodes},
               {"dropped_objects", dropped->dropped_objects},
               {"dropped_bytes", dropped->dropped_bytes},
               {"held_objects", dropped->held_objects}});
  } else if (!globals.quiet) {
    std::printf("%u nodes dropped %s objects, %s; %s are held and stay\n", dropped->nodes,
                FormatCount(dropped->dropped_objects).c_str(),
                FormatBytes(dropped->dropped_bytes).c_str(),
                FormatCount(dropped->held_objects).c_str());
  }
  return kOk;
}

}  // namespace

void AddObjectCommands(CLI::App& app, const Globals& globals, Chosen* chosen) {
  auto prefix = std::make_shared<std::string>();
  CLI::App* list = app.add_subcommand("list", "print what is below a prefix as a list file");
  list->add_option("PREFIX", *prefix, "a directory, s3://bucket/prefix, or a canonical URI")
      ->required();
  list->callback([=, &globals] { *chosen = [=, &globals] { return List(globals, *prefix); }; });
  auto names = std::make_shared<std::vector<std::string>>();
  auto drop_prefix = std::make_shared<std::string>();
  CLI::App* drop = app.add_subcommand("drop", "have the nodes forget objects that nobody holds");
  drop->add_option("NAME", *names, "objects");
  drop->add_option("--prefix", *drop_prefix, "everything whose name begins so");
  drop->callback(
      [=, &globals] { *chosen = [=, &globals] { return Drop(globals, *names, *drop_prefix); }; });
}

}  // namespace holdfast::cli
