// SPDX-License-Identifier: Apache-2.0
// Reads one object that no job has planned: from this host's node, else from its home in the
// cluster, which fetches and keeps it for everybody, else from far away. Its bytes go to standard
// output.
//
//   lookup CLIENT.toml NAME      NAME: /path, s3://bucket/key, https://host/path
#include <cstdio>

#include "holdfast/client.h"

namespace {

int Fail(const holdfast::Status& status) {
  std::fprintf(stderr, "lookup: %s\n", status.ToString().c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: lookup CLIENT.toml NAME\n");
    return 2;
  }
  holdfast::Result<holdfast::ClientOptions> options = holdfast::LoadClientOptions(argv[1]);
  if (!options.ok()) return Fail(options.status());
  auto client = holdfast::Client::Connect(*options);
  if (!client.ok()) return Fail(client.status());

  holdfast::Result<holdfast::Object> object = (*client)->Get(argv[2]);
  if (!object.ok()) return Fail(object.status());

  static constexpr const char* kSources[] = {"this host's node", "another node", "its home",
                                             "far away", "this host's disk"};
  std::fprintf(stderr, "%s: %s from %s\n", std::string(object->name()).c_str(),
               holdfast::FormatBytes(object->size()).c_str(),
               kSources[static_cast<int>(object->source())]);
  if (std::fwrite(object->bytes().data(), 1, object->size(), stdout) != object->size()) {
    return Fail(holdfast::Status::NoSpace("cannot write to standard output"));
  }
  return 0;
}
