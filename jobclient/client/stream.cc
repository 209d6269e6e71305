// SPDX-License-Identifier: Apache-2.0
// The writer's side of streams: records into chunks on the shelf, on the user's thread; where they go
// is decided on the loop's.
#include <algorithm>
#include <utility>

#include "jobclient/client/stream_parts.h"

namespace holdfast {
namespace {

constexpr Duration kLookAgain = 1ms;  // at places that were just read

}  // namespace

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
