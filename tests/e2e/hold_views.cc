// SPDX-License-Identifier: Apache-2.0
// Holds objects until it is told to compare them: for the tests, which kill the node whose memory
// they are in.
//
//   hold_views CLIENT.toml NAME...    prints how many are views; at "check" on standard input compares each with its
//                                     source, and ends at the end of input
#include <cstdio>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "holdfast/client.h"

namespace {

int Fail(const holdfast::Status& status) {
  std::fprintf(stderr, "hold_views: %s\n", status.ToString().c_str());
  return 1;
}

std::string FileAt(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  holdfast::Result<holdfast::ClientOptions> options = holdfast::LoadClientOptions(argv[1]);
  if (!options.ok()) return Fail(options.status());
  auto client = holdfast::Client::Connect(*options);
  if (!client.ok()) return Fail(client.status());
  std::vector<std::string> names(argv + 2, argv + argc);
  holdfast::ObjectList list;
  for (const std::string& name : names) {
    if (holdfast::Status added = list.Add(name); !added.ok()) return Fail(added);
  }
  auto job = (*client)->Plan(std::move(list));
  if (!job.ok()) return Fail(job.status());
  (*job)->WaitForLoads(std::chrono::seconds(30));
  auto reader = (*job)->Read();
  if (!reader.ok()) return Fail(reader.status());
  std::vector<holdfast::Object> objects;
  size_t views = 0;
  while (true) {
    auto object = (*reader)->Next();
    if (!object.ok()) return Fail(object.status());
    if (!object->has_value()) break;
    views += (**object).zero_copy() ? 1 : 0;
    objects.push_back(*std::move(*object));
  }
  std::printf("holding %zu objects, %zu of them views\n", objects.size(), views);
  std::fflush(stdout);
  for (std::string line; std::getline(std::cin, line);) {
    for (size_t i = 0; i < objects.size(); ++i) {
      if (objects[i].text() == FileAt(names[i])) continue;
      std::printf("%s differs\n", names[i].c_str());
      return 1;
    }
    std::printf("all %zu objects are as they were\n", objects.size());
    std::fflush(stdout);
  }
  return 0;
}
