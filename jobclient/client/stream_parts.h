// SPDX-License-Identifier: Apache-2.0
// What a writer of a stream is made of, and on which thread.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "holdfast/stream.h"
#include "jobclient/client/parts.h"
#include "jobclient/client/shelf_host.h"
#include "jobclient/client/stream_writing.h"
#include "wire/stream_chunk.h"

namespace holdfast {

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

}  // namespace holdfast
