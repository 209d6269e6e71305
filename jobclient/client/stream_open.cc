// SPDX-License-Identifier: Apache-2.0
// How a writer of a stream is opened: its shelf, its place in the catalogues.
#include <algorithm>
#include <random>
#include <utility>

#include "jobclient/client/stream_parts.h"

namespace holdfast {
namespace {

uint64_t RandomNumber() {
  std::random_device entropy;
  const uint64_t number = (uint64_t{entropy()} << 32) | entropy();
  return number == 0 ? 1 : number;
}

constexpr uint64_t kChunkHead = 512;  // what a chunk takes of a limit beside its bytes, at most

// A chunk that has room within either limit; a limit of 0 is none to go by.
uint64_t MostChunkBytes(const StreamOptions& options) {
  uint64_t most = UINT64_MAX;
  for (const uint64_t limit : {options.memory_bytes, options.disk_bytes}) {
    if (limit != 0) most = std::min(most, std::max(limit, kChunkHead) - kChunkHead);
  }
  return most;
}

}  // namespace

Result<std::unique_ptr<Stream>> Stream::Open(Client& client, std::string_view name,
                                             const StreamOptions& options,
                                             const StreamWriterOptions& writer) {
  if (options.memory_bytes == 0 && options.disk_bytes == 0) {
    return Status::Invalid("a stream needs room: give it memory_bytes, disk_bytes, or both");
  }
  if (MostChunkBytes(options) < stream::kLeastChunkBytes) {
    return Status::Invalid("a stream's memory_bytes and disk_bytes are each 0 or at least " +
                           FormatBytes(stream::kLeastChunkBytes + kChunkHead));
  }
  if (options.expiration < 1s) return Status::Invalid("a stream's expiration is at least 1 s");
  if (options.writers == 0 || options.writers > wire::kMaxStreamWriters) {
    return Status::Invalid("a stream has 1 to " + std::to_string(wire::kMaxStreamWriters) +
                           " writers");
  }
  return Start(client, name, &options, writer);
}

Result<std::unique_ptr<Stream>> Stream::Join(Client& client, std::string_view name,
                                             const StreamWriterOptions& writer) {
  return Start(client, name, nullptr, writer);
}

Result<std::unique_ptr<Stream>> Stream::Start(Client& client, std::string_view name,
                                              const StreamOptions* create,
                                              const StreamWriterOptions& writer) {
  HF_RETURN_IF_ERROR(wire::CheckStreamName(name));
  if (writer.chunk_bytes < stream::kLeastChunkBytes ||
      writer.chunk_bytes > stream::kMostChunkBytes || writer.lease < 1s) {
    return Status::Invalid("a writer has chunks of 4 KiB to 64 MiB, and a lease of at least 1 s");
  }
  auto parts = std::make_unique<Parts>();
  Client::Parts& c = *client.parts_;
  parts->client = &c;
  parts->writer = RandomNumber();
  std::vector<std::string> controls;
  for (const ClientOptions::Node& node : c.options.nodes) controls.push_back(node.control);
  Result<std::string> address = client::ShelfAddress(controls);
  if (!address.ok()) return address.status();
  // What every node takes as one object.
  client::Promised<uint64_t> most;
  c.thread->Post([&] {
    c.cluster->WhenGreeted([&] {
      uint64_t bytes = writer.chunk_bytes;
      for (NodeId node : c.cluster->Here()) {
        bytes = std::min(bytes, c.cluster->HelloOf(node)->max_object_bytes);
      }
      most.Set(std::max(bytes, stream::kLeastChunkBytes));
    });
  });
  parts->room_bytes = most.Wait();
  Result<std::unique_ptr<client::ShelfHost>> host =
      client::ShelfHost::Open({.address = *address,
                               .cluster = c.options.cluster,
                               .token = c.key ? net::BulkToken(*c.key) : bulk::Token{},
                               .places = static_cast<uint32_t>(std::clamp<uint64_t>(
                                   writer.bytes_in_flight / parts->room_bytes, 8, 1024)),
                               .place_bytes = parts->room_bytes,
                               .log = c.log});
  if (!host.ok()) return host.status();
  parts->host = *std::move(host);
  for (uint32_t i = parts->host->shelf().places(); i > 0; --i) parts->free.push_back(i - 1);
  client::StreamWritingOptions options{.name = std::string(name),
                                       .create = create != nullptr,
                                       .writer = parts->writer,
                                       .own = c.own_node(),
                                       .shelf = parts->host->endpoint(),
                                       .lease = writer.lease};
  if (create != nullptr) {
    options.terms = {.stream = RandomNumber(),
                     .memory_bytes = create->memory_bytes,
                     .disk_bytes = create->disk_bytes,
                     .writers = create->writers,
                     .copies = create->second_copy ? uint8_t{2} : uint8_t{1},
                     .expires_in = create->expiration};
  }
  client::Promised<Result<wire::StreamTerms>> opened;
  std::unique_ptr<Stream> stream(new Stream(std::move(parts)));
  Parts* p = stream->parts_.get();
  c.thread->Post([&] {
    p->writing =
        std::make_unique<client::StreamWriting>(c.env(), c.cluster.get(), options, p->Events());
    p->writing->Open([&](Result<wire::StreamTerms> terms) { opened.Set(std::move(terms)); });
  });
  Result<wire::StreamTerms> terms = opened.Wait();
  if (!terms.ok()) return terms.status();
  p->terms = *terms;
  // Who joins learns the limits now; its places have room for more.
  const uint64_t fits =
      MostChunkBytes({.memory_bytes = terms->memory_bytes, .disk_bytes = terms->disk_bytes});
  p->room_bytes = std::clamp(fits, stream::kLeastChunkBytes, p->room_bytes);
  return stream;
}

Stream::Stream(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Stream::~Stream() {
  if (parts_ == nullptr) return;
  parts_->client->thread->Call([this] {
    *parts_->alive = false;
    if (parts_->writing != nullptr) parts_->writing->Abandon();
    parts_->writing.reset();
  });
}

}  // namespace holdfast
