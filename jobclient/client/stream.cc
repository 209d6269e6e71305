// SPDX-License-Identifier: Apache-2.0
// The writer's side of streams: records into chunks on the shelf, on the user's thread; where they go
// is decided on the loop's.
#include "holdfast/stream.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <random>
#include <utility>

#include "jobclient/client/parts.h"
#include "jobclient/client/shelf_host.h"
#include "jobclient/client/stream_writing.h"
#include "wire/stream_chunk.h"

namespace holdfast {
namespace {

constexpr Duration kLookAgain = 1ms;  // at places that were just read

uint64_t RandomNumber() {
  std::random_device entropy;
  const uint64_t number = (uint64_t{entropy()} << 32) | entropy();
  return number == 0 ? 1 : number;
}

}  // namespace

struct Stream::Parts {
  Client::Parts* client = nullptr;
  uint64_t writer = 0;
  wire::StreamTerms terms;
  std::unique_ptr<client::ShelfHost> host;
  uint64_t room_bytes = 0;  // of a chunk

  // The user's thread.
  stream::ChunkBuilder builder;
  std::optional<uint32_t> place;  // of the chunk that is being filled
  uint64_t first_record = 0;      // of it
  uint64_t appended = 0;
  uint32_t next_number = 0;
  bool closed = false;

  // The loop's thread.
  std::unique_ptr<client::StreamWriting> writing;
  std::vector<uint32_t> hidden;  // places that may still be read
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);

  // Both.
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<uint32_t> free;
  uint64_t acknowledged = 0;
  bool ended = false;
  Status failed;

  client::StreamWriting::Events Events();
  void Released(uint32_t released);
  void LookAtHidden();
  Status TakePlace();
  Status Send(uint16_t piece, uint16_t pieces);
  Status AppendLarge(ByteView record);
  Status WaitFor(uint64_t records, bool end);
};

// --- The loop's thread ---------------------------------------------------------------------------

client::StreamWriting::Events Stream::Parts::Events() {
  return {.released = [this](uint32_t released) { Released(released); },
          .acknowledged =
              [this](uint64_t records) {
                std::lock_guard lock(mutex);
                acknowledged = records;
                changed.notify_all();
              },
          .failed =
              [this](const Status& status) {
                std::lock_guard lock(mutex);
                failed = status;
                changed.notify_all();
              },
          .ended =
              [this] {
                std::lock_guard lock(mutex);
                ended = true;
                changed.notify_all();
              }};
}

void Stream::Parts::Released(uint32_t released) {
  host->shelf().Hide(released);
  hidden.push_back(released);
  if (hidden.size() == 1) LookAtHidden();
}

// A node that has a chunk may not have told the server of the shelf so.
void Stream::Parts::LookAtHidden() {
  std::vector<uint32_t> unread;
  std::erase_if(hidden, [&](uint32_t one) {
    const bool over = host->shelf().Unread(one);
    if (over) unread.push_back(one);
    return over;
  });
  if (!unread.empty()) {
    std::lock_guard lock(mutex);
    free.insert(free.end(), unread.begin(), unread.end());
    changed.notify_all();
  }
  if (hidden.empty()) return;
  client->loop->At(client->loop->Now() + kLookAgain, [this, alive = alive] {
    if (*alive) LookAtHidden();
  });
}

// --- Opening -------------------------------------------------------------------------------------

Result<std::unique_ptr<Stream>> Stream::Open(Client& client, std::string_view name,
                                             const StreamOptions& options,
                                             const StreamWriterOptions& writer) {
  if (options.memory_bytes == 0 && options.disk_bytes == 0) {
    return Status::Invalid("a stream needs room: give it memory_bytes, disk_bytes, or both");
  }
  if (options.expiration <= Duration(0))
    return Status::Invalid("a stream's expiration is positive");
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

// --- The user's thread ---------------------------------------------------------------------------

Status Stream::Parts::TakePlace() {
  std::unique_lock lock(mutex);
  changed.wait(lock, [this] { return !free.empty() || !failed.ok(); });
  HF_RETURN_IF_ERROR(failed);
  place = free.back();
  free.pop_back();
  builder = stream::ChunkBuilder(host->shelf().Room(*place).first(room_bytes));
  first_record = appended;
  return {};
}

Status Stream::Parts::Send(uint16_t piece, uint16_t pieces) {
  const uint32_t number = next_number++;
  const stream::ChunkBuilder::Sealed sealed = builder.Seal({.stream = terms.stream,
                                                            .writer = writer,
                                                            .first_record = first_record,
                                                            .number = number,
                                                            .piece = piece,
                                                            .pieces = pieces});
  const client::StreamWriting::Chunk chunk{.place = *place,
                                           .entry = {.writer = writer,
                                                     .first_record = first_record,
                                                     .hash = sealed.hash,
                                                     .number = number,
                                                     .records = builder.records(),
                                                     .bytes = sealed.bytes,
                                                     .piece = piece,
                                                     .pieces = pieces}};
  place.reset();
  client->thread->Post([this, chunk, alive = alive] {
    if (!*alive) return;
    const std::string name = wire::ChunkName(terms.stream, writer, chunk.entry.number);
    const bool shown = host->shelf().Show(chunk.place, name, chunk.entry.hash, chunk.entry.bytes,
                                          chunk.entry.hash);
    if (shown) return writing->Put(chunk);
    std::lock_guard lock(mutex);
    failed = Status::NoSpace("the shelf of chunks on their way is full");
    changed.notify_all();
  });
  return {};
}

Status Stream::Parts::AppendLarge(ByteView record) {
  const uint64_t piece_bytes = stream::ChunkBuilder::MostRecordBytes(room_bytes);
  const uint64_t pieces = (record.size() + piece_bytes - 1) / piece_bytes;
  if (pieces > UINT16_MAX) {
    return Status::Invalid("a record of " + FormatBytes(record.size()) + " is too long; at most " +
                           FormatBytes(piece_bytes * UINT16_MAX) + " are possible in chunks of " +
                           FormatBytes(room_bytes));
  }
  if (place) HF_RETURN_IF_ERROR(Send(0, 1));
  for (uint64_t i = 0; i < pieces; ++i) {
    HF_RETURN_IF_ERROR(TakePlace());
    builder.Add(
        record.subspan(i * piece_bytes, std::min(piece_bytes, record.size() - i * piece_bytes)));
    HF_RETURN_IF_ERROR(Send(static_cast<uint16_t>(i), static_cast<uint16_t>(pieces)));
  }
  ++appended;
  return {};
}

Status Stream::Append(ByteView record) {
  Parts& p = *parts_;
  if (p.closed) return Status::Invalid("the stream was closed by this writer");
  if (record.size() > stream::ChunkBuilder::MostRecordBytes(p.room_bytes)) {
    return p.AppendLarge(record);
  }
  if (p.place && !p.builder.Fits(record.size())) HF_RETURN_IF_ERROR(p.Send(0, 1));
  if (!p.place) HF_RETURN_IF_ERROR(p.TakePlace());
  p.builder.Add(record);
  ++p.appended;
  return {};
}

Status Stream::Parts::WaitFor(uint64_t records, bool end) {
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return !failed.ok() || (acknowledged >= records && (!end || ended)); });
  return failed;
}

Status Stream::Flush() {
  if (parts_->place) HF_RETURN_IF_ERROR(parts_->Send(0, 1));
  return parts_->WaitFor(parts_->appended, false);
}

Status Stream::Close() {
  if (!std::exchange(parts_->closed, true)) {
    if (parts_->place) HF_RETURN_IF_ERROR(parts_->Send(0, 1));
    parts_->client->thread->Post([p = parts_.get(), alive = parts_->alive] {
      if (*alive) p->writing->End();
    });
  }
  return parts_->WaitFor(parts_->appended, true);
}

uint64_t Stream::id() const { return parts_->writer; }
uint64_t Stream::appended() const { return parts_->appended; }
uint64_t Stream::acknowledged() const {
  std::lock_guard lock(parts_->mutex);
  return parts_->acknowledged;
}

}  // namespace holdfast
