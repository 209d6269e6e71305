// SPDX-License-Identifier: Apache-2.0
#include "bench/pack_world.h"

#include "base/hash.h"
#include "base/random.h"
#include "base/uri.h"
#include "packs/pack_format.h"
#include "packs/pack_index.h"

namespace holdfast::bench {
namespace {

constexpr uint16_t kPort = 18'437;  // names have it, and so packs and their index

std::string RandomBytes(Random* random, uint64_t size) {
  std::string bytes(size, ' ');
  for (uint64_t at = 0; at < size; at += 8) {
    const uint64_t number = random->Below(UINT64_MAX);
    std::memcpy(bytes.data() + at, &number, std::min<uint64_t>(8, size - at));
  }
  return bytes;
}

}  // namespace

PackWorld::PackWorld(size_t count, uint64_t size, uint64_t pack_bytes, Duration delay) {
  const std::string store = "s3+http://127.0.0.1:" + std::to_string(kPort);
  prefix_ = store + "/b/packs/";
  Random random(1);
  for (size_t n = 0; n < count; ++n) {
    const std::string path = "/b/src/" + std::to_string(n);
    const std::string& bytes = stored_[path] = RandomBytes(&random, size);
    hashes_.push_back(Hash64(AsBytes(bytes)));
    objects_.push_back({store + path, {.size = size, .etag = "e" + std::to_string(n)}});
  }
  plan_ = packs::MakePlan(objects_, {.pack_bytes = pack_bytes});
  MakePacks();
  origin::OriginOptions options;
  options.port = kPort;
  options.delay = delay;
  options.answer = [this](const origin::Request& request) { return Answer(request); };
  auto started = origin::Origin::Start(std::move(options));
  HF_CHECK(started.ok());
  origin_ = *std::move(started);
}

void PackWorld::MakePacks() {
  std::vector<packs::PackIndex::Pack> packs;
  std::vector<packs::PackIndex::Row> rows;
  for (const packs::PackPlan& pack : plan_.packs) {
    std::vector<packs::PackedObject> objects;
    std::string bytes;
    for (uint32_t n : pack.objects) {
      const FarEntry& entry = objects_[n];
      rows.push_back({.oid = OidOf(entry.uri),
                      .pack = static_cast<uint32_t>(packs.size()),
                      .offset = static_cast<uint32_t>(bytes.size()),
                      .size = static_cast<uint32_t>(entry.info.size),
                      .hash = hashes_[n],
                      .etag = entry.info.etag});
      objects.push_back({entry.uri, entry.info.etag, entry.info.size, hashes_[n]});
      bytes += stored_.at("/b/src/" + std::to_string(n));
    }
    const Oid name = packs::PackName(objects);
    packs.push_back({name, bytes.size()});
    bytes += AsText(packs::EncodeTail(objects).view());
    stored_["/b/packs/" + packs::PackFileName(name)] = std::move(bytes);
  }
  stored_["/b/packs/index"] = AsText(packs::PackIndex::Encode(packs, std::move(rows)).view());
}

std::optional<origin::CannedResponse> PackWorld::Answer(const origin::Request& request) const {
  const auto it = stored_.find(request.path);
  if (it == stored_.end()) return origin::CannedResponse{.status = 404, .headers = {}, .body = ""};
  const std::string& bytes = it->second;
  const std::string name = request.path.substr(request.path.rfind('/') + 1);
  origin::CannedResponse response{.headers = {"ETag: \"e" + name + "\""}, .body = ""};
  if (const auto range = request.Range()) {
    const uint64_t last = std::min<uint64_t>(range->second, bytes.size() - 1);
    response.status = 206;
    response.headers.push_back("Content-Range: bytes " + std::to_string(range->first) + "-" +
                               std::to_string(last) + "/" + std::to_string(bytes.size()));
    response.body = bytes.substr(range->first, last - range->first + 1);
  } else {
    response.body = bytes;
  }
  return response;
}

}  // namespace holdfast::bench
