// SPDX-License-Identifier: Apache-2.0
// The catalogues of streams that a node keeps: for each its chunks in the order in which they were
// listed, and its writers. A writer's chunks are taken in the order of their numbers only, so what
// two catalogues have of a writer is a shorter and a longer beginning of one list.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "cached/context.h"
#include "wire/stream_entry.h"

namespace holdfast::cached {

struct StreamCatalogue {
  struct Writer {
    wire::StreamWriterState state;
    Time lease_ends;
  };
  std::string name;
  wire::StreamTerms terms;
  Time expires;
  std::vector<wire::StreamEntry> entries;
  std::map<uint64_t, Writer> writers;

  uint64_t records() const;
  uint64_t bytes() const;
  uint32_t InPhase(wire::StreamWriterPhase phase) const;
  // So many writers have ended as were expected, and none is at work.
  bool complete() const;
};

class StreamCatalogues {
 public:
  static constexpr size_t kMaxStreams = 1'000;
  static constexpr Duration kMaxLease = std::chrono::minutes(10);

  // `max_bytes`: of all of them, in memory.
  StreamCatalogues(const Context* context, uint64_t max_bytes)
      : context_(context), max_bytes_(max_bytes) {}

  // kInvalid: the name is taken by another stream, or the terms cannot be. kNotFound: there is none
  // to join. Idempotent by stream and writer.
  wire::StreamReply Open(const wire::StreamOpen& open);
  wire::StreamReply Query(const wire::StreamQuery& query) const;
  wire::StreamAppended Append(const wire::StreamAppend& append);
  // The number of the stream that is no more; 0: there was none. By its number, or its name.
  uint64_t Drop(uint64_t stream, std::string_view name);
  // Ends leases and streams whose time has passed.
  void Expire();

  const std::map<uint64_t, StreamCatalogue>& all() const { return catalogues_; }
  uint64_t memory_bytes() const { return bytes_; }

 private:
  const StreamCatalogue* Find(uint64_t stream, std::string_view name) const;
  Status Create(const wire::StreamOpen& open);
  Status Join(StreamCatalogue* catalogue, const wire::StreamOpen& open);
  Status Take(StreamCatalogue* catalogue, StreamCatalogue::Writer* writer,
              const wire::StreamAppend& append);
  wire::StreamReply ReplyFor(uint64_t id, const StreamCatalogue& catalogue, uint64_t after) const;
  uint64_t BytesOf(const StreamCatalogue& catalogue) const;

  const Context* context_;
  uint64_t max_bytes_;
  uint64_t bytes_ = 0;
  std::map<uint64_t, StreamCatalogue> catalogues_;  // by number
  std::map<std::string, uint64_t, std::less<>> by_name_;
};

}  // namespace holdfast::cached
