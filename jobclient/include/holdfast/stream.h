// SPDX-License-Identifier: Apache-2.0
// Streams: scratch data of jobs that is larger than a machine (decoded samples, shuffles, what one
// stage leaves for the next). Written once, record by record, into the memory and onto the disks of
// the cluster's nodes: this host's memory first, then its disk, then those of others. Read whole, in
// order, on any host, by any number of readers, also while it is being written.
//
//   auto stream = holdfast::Stream::Open(client, "job-17/shuffle", {.memory_bytes = 8 * kGiB, .disk_bytes = 64 * kGiB});
//   (*stream)->Append(bytes);                              // any number of times
//   (*stream)->Close();                                    // ok: every record is safe
//
//   auto reader = holdfast::StreamReader::Open(client, "job-17/shuffle");
//   while (true) {
//     auto record = (*reader)->Next();                     // Result<std::optional<StreamRecord>>
//     if (!record.ok()) { ... some records are lost: losses().back() says which; the next call goes on ... }
//     if (!record->has_value()) break;                     // the end
//   }
//   holdfast::Stream::Remove(client, "job-17/shuffle");    // frees everything everywhere; so does its expiration
//
// A record is acknowledged when it lies where it will be read from and is listed at the nodes that keep
// the stream's catalogue. Whoever writes is told how many records are; whoever reads gets every one
// of those, or is told that it was lost with its node. With a second copy that takes two nodes.
//
// A Stream (one writer) and a StreamReader belong to one thread at a time, and end before their Client.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "base/units.h"

namespace holdfast {

class Client;

struct StreamOptions {
  uint64_t memory_bytes = 0;  // of each node's memory, at most
  uint64_t disk_bytes = 0;    // of each node's disk, at most
  // From the opening on; then everything is freed, whoever reads it. Nodes cut it to their
  // limits.max_hold.
  Duration expiration = std::chrono::hours(1);
  // How many will write in all. The stream is complete, and readers come to its end, when so many
  // have ended.
  uint32_t writers = 1;
  bool second_copy = false;  // of every record, at another node
};

struct StreamWriterOptions {
  // Records travel in chunks. At most what every node takes as one object, and 64 MiB.
  uint64_t chunk_bytes = 1 * kMiB - 16 * kKiB;
  uint64_t bytes_in_flight = 64 * kMiB;  // of chunks, in this process's memory; 8 to 1,024 chunks
  Duration lease = std::chrono::seconds(15);  // silent for so long the writer counts as gone
};

// A writer.
class Stream {
 public:
  // Makes the stream and becomes its first writer. kInvalid: the name is taken, or cannot be one;
  // kUnavailable: no node that would keep its catalogue answers; kDenied: nodes are not on this host
  // and there is no cluster key.
  static Result<std::unique_ptr<Stream>> Open(Client& client, std::string_view name,
                                              const StreamOptions& options,
                                              const StreamWriterOptions& writer = {});
  // One more writer of a stream that is there; kNotFound when it is not.
  static Result<std::unique_ptr<Stream>> Join(Client& client, std::string_view name,
                                              const StreamWriterOptions& writer = {});
  // Without Close before, readers are told that the writer is gone: at once, or, when the process was
  // killed, when its lease ends.
  ~Stream();
  Stream(const Stream&) = delete;

  // Takes a copy of a record of any length, 0 included. Blocks while too many chunks are on their
  // way. An error is the last word: no later record is taken, acknowledged() says which are safe, and
  // the text why (kNoSpace: the limits of the stream or of the nodes are reached).
  Status Append(ByteView record);
  Status Append(std::string_view record) { return Append(AsBytes(record)); }
  // Everything appended is on its way now; waits until it is acknowledged.
  Status Flush();
  // Flush, and no more will come.
  Status Close();

  uint64_t id() const;            // of this writer, random
  uint64_t appended() const;      // records
  uint64_t acknowledged() const;  // of them, the first so many are safe

  // Frees all that the nodes have of a stream. kNotFound when those nodes that would have its catalogue
  // have not heard of it, kTimeout when a node did not confirm it (there it is freed when it expires).
  static Status Remove(Client& client, std::string_view name,
                       Duration timeout = std::chrono::seconds(5));

  // What the nodes say about their streams, each as a JSON object (docs/operators.md). kTimeout when
  // none answers.
  static Result<std::vector<std::string>> List(Client& client,
                                               Duration timeout = std::chrono::seconds(5));

 private:
  struct Parts;
  explicit Stream(std::unique_ptr<Parts> parts);
  static Result<std::unique_ptr<Stream>> Start(Client& client, std::string_view name,
                                               const StreamOptions* create,
                                               const StreamWriterOptions& writer);
  std::unique_ptr<Parts> parts_;
};

struct StreamRecord {
  ByteView bytes;       // until the next call of Next
  uint64_t writer = 0;  // Stream::id()
  uint64_t number = 0;  // from 0, of this writer
  std::string_view text() const { return AsText(bytes); }
};

// Records of one writer that cannot be read.
struct StreamLoss {
  uint64_t writer = 0;
  uint64_t first_record = 0;
  uint64_t records = 0;
  Status why{};  // kNotFound: its node forgot it; kUnavailable: that does not answer; kCorrupt
  // `why`, and which records are lost.
  Status ToStatus() const;
};

struct StreamReaderOptions {
  uint64_t look_ahead_bytes = 64 * kMiB;
  Duration patience = std::chrono::seconds(10);  // with a node that has the only copy and is silent
};

class StreamReader {
 public:
  // kNotFound when there is no such stream. One without records yet is waited for in Next.
  static Result<std::unique_ptr<StreamReader>> Open(Client& client, std::string_view name,
                                                    const StreamReaderOptions& options = {});
  ~StreamReader();
  StreamReader(const StreamReader&) = delete;

  // The next record; waits for it while somebody writes; nullopt at the end of the stream, again and
  // again. An error is about some records, losses() has which, or about a writer that is gone: the
  // next call goes on. When the stream itself is gone (removed, expired, or nobody who knows it
  // answers) over() is true and the error comes again and again.
  Result<std::optional<StreamRecord>> Next();
  bool over() const;
  // All so far.
  const std::vector<StreamLoss>& losses() const;

 private:
  struct Parts;
  explicit StreamReader(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace holdfast
