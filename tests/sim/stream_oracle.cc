// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/stream_oracle.h"

#include <cinttypes>
#include <cstdio>

#include "base/hash.h"
#include "wire/codec.h"

namespace holdfast::sim {

StreamCounts& StreamCounts::operator+=(const StreamCounts& other) {
  streams += other.streams;
  put += other.put;
  acknowledged += other.acknowledged;
  writers_failed += other.writers_failed;
  read += other.read;
  own_memory += other.own_memory;
  lost += other.lost;
  gone += other.gone;
  ends += other.ends;
  early += other.early;
  failed += other.failed;
  return *this;
}

bool Print(const StreamCounts& sum) {
  std::printf("streams %" PRIu64 ": records put %" PRIu64 ", acknowledged %" PRIu64
              ", read %" PRIu64 ", lost %" PRIu64 "; chunks out of own memory %" PRIu64
              "; writers that failed %" PRIu64 ", that were gone %" PRIu64
              "; readers at the end %" PRIu64 " (%" PRIu64
              " too early), of a stream that was no more %" PRIu64 "\n",
              sum.streams, sum.put, sum.acknowledged, sum.read, sum.lost, sum.own_memory,
              sum.writers_failed, sum.gone, sum.ends, sum.early, sum.failed);
  return sum.acknowledged > 0 && sum.read > 0 && sum.lost > 0 && sum.own_memory > 0 &&
         sum.writers_failed > 0 && sum.gone > 0 && sum.ends > 0 && sum.failed > 0;
}

std::string StreamOracle::Record(uint64_t writer, uint64_t number) {
  const uint64_t seed = Mix64(writer ^ Mix64(number));
  std::string bytes(seed % 7 == 0 ? 0 : seed % 700, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<char>(Mix64(seed + i / 8) >> (i % 8 * 8));
  }
  return bytes;
}

void StreamOracle::Opened(uint64_t stream, uint64_t writer, Duration expiration) {
  if (streams_.try_emplace(stream, Stream{world_->now(), expiration}).second) ++counts_.streams;
  writers_[writer] = {.stream = stream};
}

void StreamOracle::Acknowledged(uint64_t writer, uint64_t records) {
  Writer& known = writers_[writer];
  if (records < known.acknowledged) {
    world_->Violate("streams-acknowledged", "fewer records are acknowledged than before");
  }
  counts_.acknowledged += records - known.acknowledged;
  known.acknowledged = records;
}

void StreamOracle::Take(Progress* next, uint64_t writer, uint64_t first, uint64_t records,
                        std::string_view what) {
  uint64_t& expected = (*next)[writer];
  if (first != expected) {
    world_->Violate("streams-order", std::string(what) + " begins at record " +
                                         std::to_string(first) + " of a writer, after " +
                                         std::to_string(expected) + " of its records");
  }
  expected = first + records;
}

void StreamOracle::Read(Progress* next, uint64_t writer, uint64_t number, ByteView bytes) {
  Take(next, writer, number, 1, "a read");
  ++counts_.read;
  if (AsText(bytes) != Record(writer, number)) {
    world_->Violate("streams-right-bytes",
                    "record " + std::to_string(number) + " of a writer has other bytes");
  }
}

void StreamOracle::Lost(Progress* next, const wire::StreamEntry& entry, const Status& why) {
  Take(next, entry.writer, entry.first_record, entry.records, "a loss");
  counts_.lost += entry.records;
  world_->Note("stream loss", {entry.writer, entry.number, static_cast<uint64_t>(why.code())});
  // Whoever is silent, or brings other bytes, is a reason of its own; that a node does not have what
  // it took is none unless it was started anew, or its disk failed.
  // A node whose clock jumps ends the stream early.
  if (garbled_ || world_->faults().enabled(Fault::kClockJump) || why.code() != Code::kNotFound ||
      why.message().find("the disk") != std::string::npos)
    return;
  const Time opened = streams_[writers_[entry.writer].stream].opened;
  for (NodeId node : entry.nodes) {
    if (node == kNoNode || last_start_(node) > opened) continue;
    const Stream& stream = streams_[writers_[entry.writer].stream];
    if (world_->now() - stream.opened > stream.expiration / 2) continue;  // their clocks drift
    world_->Violate("streams-kept",
                    "node " + std::to_string(node) +
                        ", which was never down, has lost a chunk: " + why.message());
  }
}

void StreamOracle::End(const Progress& next, const std::set<uint64_t>& gone, uint64_t stream) {
  ++counts_.ends;
  for (const auto& [id, writer] : writers_) {
    if (writer.stream != stream || garbled_) continue;
    auto it = next.find(id);
    const uint64_t had = it == next.end() ? 0 : it->second;
    if (had >= writer.acknowledged) continue;
    // Cut off from one catalogue, when the other was left behind or lost: decision note 0012.
    ++counts_.early;
    if (gone.contains(id) && !world_->faults().none()) continue;
    world_->Violate("streams-complete", "a reader came to the end with " + std::to_string(had) +
                                            " records of a writer, " +
                                            std::to_string(writer.acknowledged) +
                                            " of which are acknowledged");
  }
}

void StreamOracle::Failed(uint64_t stream, const Status& why) {
  ++counts_.failed;
  auto it = streams_.find(stream);
  if (garbled_ || it == streams_.end() || !world_->faults().none()) return;
  if (world_->now() - it->second.opened < it->second.expiration / 2) {
    world_->Violate("streams-stay", "without any fault: " + why.ToString());
  }
}

void StreamOracle::Observe(const Delivery& delivery) {
  if (!delivery.garbled) return;
  if (delivery.message == nullptr) return;
  const auto type = wire::NameOf(*delivery.message);
  garbled_ = garbled_ || type.starts_with("Stream") || type == "HelloReply";
}

}  // namespace holdfast::sim
