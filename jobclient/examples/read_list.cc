// SPDX-License-Identifier: Apache-2.0
// Reads a list of objects in a seeded order through a cluster, and says where they came from.
//
//   read_list CLIENT.toml LIST [SEED]
//
// CLIENT.toml names the cluster; LIST is a list file, one object a line.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "holdfast/client.h"

namespace {

int Fail(const holdfast::Status& status) {
  std::fprintf(stderr, "read_list: %s\n", status.ToString().c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: read_list CLIENT.toml LIST [SEED]\n");
    return 2;
  }
  holdfast::Result<holdfast::ClientOptions> options = holdfast::LoadClientOptions(argv[1]);
  if (!options.ok()) return Fail(options.status());
  auto client = holdfast::Client::Connect(*options);
  if (!client.ok()) return Fail(client.status());

  std::ifstream file(argv[2]);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) return Fail(holdfast::Status::NotFound(std::string("cannot read ") + argv[2]));
  holdfast::Result<holdfast::ObjectList> list = holdfast::ObjectList::Parse(text.str());
  if (!list.ok()) return Fail(list.status().Annotate(argv[2]));

  // The order of reading goes into the plan, so that the nodes load first what is needed first.
  const uint64_t seed = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 1;
  const std::vector<uint32_t> order = holdfast::ShuffledOrder(list->size(), seed, 0);
  auto job = (*client)->Plan(std::move(*list), {.order = order});
  if (!job.ok()) return Fail(job.status());
  auto reader = (*job)->Read({.order = order, .last_pass = true});
  if (!reader.ok()) return Fail(reader.status());

  uint64_t bytes = 0;
  uint64_t failed = 0;
  while (true) {
    holdfast::Result<std::optional<holdfast::Object>> object = (*reader)->Next();
    if (!object.ok()) {  // that of one object: the next call reads the next one
      Fail(object.status());
      ++failed;
      continue;
    }
    if (!object->has_value()) break;
    bytes += (*object)->size();  // (*object)->bytes() are there until the next object
  }
  const holdfast::ReaderReport report = (*reader)->Report();
  std::printf(
      "%llu objects, %s: %llu local, %llu from its disk, %llu from other nodes, %llu fetched for "
      "us, %llu far\n",
      static_cast<unsigned long long>((*reader)->total() - failed),
      holdfast::FormatBytes(bytes).c_str(), static_cast<unsigned long long>(report.objects[0]),
      static_cast<unsigned long long>(report.objects[4]),
      static_cast<unsigned long long>(report.objects[1]),
      static_cast<unsigned long long>(report.objects[2]),
      static_cast<unsigned long long>(report.objects[3]));
  return failed == 0 ? 0 : 1;
}
