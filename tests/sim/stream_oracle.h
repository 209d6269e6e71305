// SPDX-License-Identifier: Apache-2.0
// What must be true of streams in a simulated cluster, whatever happens to it: a record is byte for
// byte the one that was written; the records of a writer come in order and once; what was acknowledged
// comes, or is reported lost; and nothing is lost as long as a node with a copy of it was never down.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>

#include "base/bytes.h"
#include "tests/sim/fabric.h"
#include "tests/sim/world.h"
#include "wire/stream_entry.h"

namespace holdfast::sim {

struct StreamCounts {
  uint64_t streams = 0;
  uint64_t put = 0;  // records
  uint64_t acknowledged = 0;
  uint64_t writers_failed = 0;
  uint64_t read = 0;
  uint64_t own_memory = 0;  // chunks that were mapped
  uint64_t lost = 0;
  uint64_t gone = 0;    // writers that readers were told of
  uint64_t ends = 0;    // readers that came to the end
  uint64_t early = 0;   // of these, with less of a writer than was acknowledged
  uint64_t failed = 0;  // that were told that the stream is no more

  StreamCounts& operator+=(const StreamCounts& other);
};

// False when something never happened: nothing was tested about it.
bool Print(const StreamCounts& sum);

class StreamOracle {
 public:
  StreamOracle(World* world, std::function<Time(NodeId)> last_start)
      : world_(world), last_start_(std::move(last_start)) {}

  // The only right bytes of a record.
  static std::string Record(uint64_t writer, uint64_t number);

  void Opened(uint64_t stream, uint64_t writer, Duration expiration);
  void Acknowledged(uint64_t writer, uint64_t records);

  // By a reader, whose own progress is `next` (records by writer).
  using Progress = std::map<uint64_t, uint64_t>;
  void Read(Progress* next, uint64_t writer, uint64_t number, ByteView bytes);
  void Lost(Progress* next, const wire::StreamEntry& entry, const Status& why);
  // A reader that came to the end of `stream` has had everything.
  // `gone`: the writers that the reader was told are gone, so that there may have been more.
  void End(const Progress& next, const std::set<uint64_t>& gone, uint64_t stream);
  // A reader was told that there is no such stream, or nobody who knows it.
  void Failed(uint64_t stream, const Status& why);

  void Observe(const Delivery& delivery);
  StreamCounts& counts() { return counts_; }

 private:
  struct Writer {
    uint64_t stream = 0;
    uint64_t acknowledged = 0;
  };
  struct Stream {
    Time opened;
    Duration expiration{};
  };
  void Take(Progress* next, uint64_t writer, uint64_t first, uint64_t records,
            std::string_view what);

  World* world_;
  std::function<Time(NodeId)> last_start_;
  std::map<uint64_t, Writer> writers_;
  std::map<uint64_t, Stream> streams_;
  // A message that arrived with other bytes can say anything; the real network checks them.
  bool garbled_ = false;
  StreamCounts counts_;
};

}  // namespace holdfast::sim
