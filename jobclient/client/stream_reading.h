// SPDX-License-Identifier: Apache-2.0
// One reader of a stream, from its first chunk to its end:
//
//   1. Ask      both catalogues, now and then (stream_sources.h): what is there, and is more to come
//   2. Fetch    the next chunks ahead of the reader, each from the own node's memory or from a node
//               that has a copy
//   3. Deliver  in order: chunks, and what was lost
//   4. End      when no more can come
//
// On the deciding thread; callbacks run on it.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/env.h"
#include "jobclient/client/cluster_view.h"
#include "jobclient/client/stream_sources.h"
#include "wire/local_reader.h"
#include "wire/stream_entry.h"

namespace holdfast::client {

struct StreamReadingOptions {
  std::string name{};
  NodeId own = kNoNode;
  uint64_t look_ahead_bytes = 64 * kMiB;
  uint32_t look_ahead_chunks = 256;
  Duration patience = 10s;  // with a node that has the only copy and does not answer
  // A chunk in the own node's memory; empty when it is not there. May be empty.
  std::function<LocalView(const Oid&, VersionHash)> view{};
};

// What a reader is given, one after the other.
struct StreamDelivery {
  enum class Kind : uint8_t {
    kChunk,   // `entry`; its bytes
    kLost,    // `entry` cannot be had: `status` is kNotFound, kCorrupt or kUnavailable
    kGone,    // the writer `entry.writer` ended without saying so, after entry.first_record records
    kEnd,     // nothing comes after it
    kFailed,  // likewise: the stream itself is gone, or nobody who knows it answers
  };
  Kind kind = Kind::kEnd;
  wire::StreamEntry entry{};
  LocalView view{};
  Buffer bytes{};         // the chunk is its first entry.bytes
  bool verified = false;  // its hash is the one that the catalogue has
  Status status{};

  ByteView data() const { return view ? view.payload() : bytes.view().first(entry.bytes); }
};

class StreamReading {
 public:
  using Deliver = std::function<void(StreamDelivery)>;

  StreamReading(const Env& env, ClusterView* cluster, StreamReadingOptions options,
                Deliver deliver);
  ~StreamReading() { *alive_ = false; }

  // `opened` has the stream's terms, or why it cannot be read.
  void Open(std::function<void(Result<wire::StreamTerms>)> opened);
  // A delivery was used up: the next one may be fetched, into the same memory.
  void Used(uint64_t bytes, Buffer memory);

 private:
  struct Ahead {
    wire::StreamEntry entry;
    bool done = false;
    StreamDelivery delivery{};
    Time begun{};
    std::array<Status, 2> tried{};  // what became of each copy; ok: not known yet
    uint32_t corrupt = 0;
  };
  void Tick();
  void OnSources();
  void Advance();
  void Begin(uint64_t number);
  void Fetch(uint64_t number);
  void FetchFrom(uint64_t number, size_t copy, const std::string& endpoint);
  Buffer TakeBuffer(uint64_t bytes);
  void OnRead(uint64_t number, size_t copy, const BulkOutcome& outcome, Buffer bytes);
  void TryAgain(uint64_t number);
  void Lost(uint64_t number, const Status& why);
  void Done(uint64_t number, StreamDelivery delivery);
  void DeliverReady();
  void MayEnd();
  template <typename Run>
  auto WhileAlive(Run run);

  Env env_;
  ClusterView* cluster_;
  StreamReadingOptions options_;
  Deliver deliver_;
  StreamSources sources_;
  std::function<void(Result<wire::StreamTerms>)> opened_;
  uint64_t stream_ = 0;
  std::map<uint64_t, Ahead> ahead_;  // by number in the reader's order
  uint64_t next_fetch_ = 0;
  uint64_t next_delivery_ = 0;
  uint64_t bytes_ahead_ = 0;  // fetched and not used up
  uint32_t chunks_ahead_ = 0;
  std::map<NodeId, Time> down_until_;
  std::vector<Buffer> spare_;  // fresh pages for each chunk cost more than its bytes
  bool over_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace holdfast::client
