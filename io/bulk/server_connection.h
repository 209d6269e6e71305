// SPDX-License-Identifier: Apache-2.0
// One reader's connection, from the server's side:
//
//   hello → batches → look up each item → answer it, or hand it to the miss handler and look again
//   → acknowledgements
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/hash.h"
#include "io/bulk/bulk_server.h"
#include "io/bulk/outbox.h"
#include "io/bulk/socket.h"
#include "wire/bulk_format.h"

namespace holdfast::bulk {

// What all connections of a server share. Outlives them.
struct ServerShared {
  ServerShared(BulkServerOptions o, LocalReader* r, int fd, MissHandler m, Log* l)
      : options(std::move(o)),
        reader(r),
        region_fd(fd),
        on_miss(std::move(m)),
        log(l),
        pins(options.max_pinned_segments),
        cluster_hash(Hash64(AsBytes(options.cluster))) {}

  const BulkServerOptions options;
  LocalReader* const reader;
  const int region_fd;
  const MissHandler on_miss;
  Log* const log;  // may be null
  PinBudget pins;
  const uint64_t cluster_hash;

  std::atomic<uint32_t> connections{0};
  std::atomic<uint32_t> misses_now{0};
  std::mutex marking;  // of reads: the threads share a session, where two at once would lose one
  std::atomic<uint64_t> refused{0};
  std::atomic<uint64_t> items{0};
  std::atomic<uint64_t> hits{0};
  std::atomic<uint64_t> bytes{0};
  std::atomic<uint64_t> misses{0};
  std::atomic<uint64_t> places{0};
  std::atomic<uint64_t> timed_out{0};
};

// Belongs to one I/O thread.
class ServerConnection {
 public:
  // What became of a miss: it is here now, it is not, or where on the disk it lies.
  struct MissOutcome {
    Status status{};
    std::optional<disk::Place> place{};
  };
  // Called with the connection's number for a miss when its answer has come, on any thread.
  using MissDone = std::function<void(uint64_t miss, MissOutcome outcome)>;

  // `refusal` not ok: the reader is told so and nothing else is done.
  ServerConnection(Fd fd, bool tcp, Status refusal, ServerShared* shared, MissDone miss_done,
                   Time now);
  ~ServerConnection();
  ServerConnection(const ServerConnection&) = delete;

  // Each returns false when the connection is over and is to be destroyed.
  bool OnReadable(Time now);
  bool OnWritable(Time now);
  bool OnMissDone(uint64_t miss, const MissOutcome& outcome, Time now);
  // Timeouts; every 100 ms or so.
  bool OnTick(Time now);

  int fd() const { return fd_.get(); }
  bool wants_to_read() const { return !reading_paused_; }
  bool wants_to_write() const { return blocked_ || !ready_.empty(); }

 private:
  enum class Phase { kHello, kServing, kRefused };

  // A received batch, as long as an item of it is not answered.
  struct Batch {
    std::vector<std::byte> raw;
    std::vector<Want> wants;  // views into raw
    BatchHeader header;
    Time deadline;
    size_t unanswered = 0;
    size_t place = 0;  // in batches_
  };
  struct Item {
    Batch* batch = nullptr;
    uint16_t index = 0;
    uint8_t looks = 0;    // that failed after the miss handler had said that it is there
    bool marked = false;  // as read, though there was no room for it in the outbox then
  };

  bool TakeInput(Time now);
  bool TakeHello(ByteView bytes);
  bool TakeBatch(ByteView bytes, Time now);
  void Refuse(const Status& why);
  bool Serve(Time now);
  void AnswerReady(Time now);
  void PrefetchReady();
  bool AnswerItem(Item& item, Time now);
  bool Miss(Item item, Time now);
  bool AnswerError(const Item& item, const Status& status, uint64_t size = 0);
  bool AnswerPlace(const Item& item, const disk::Place& place);
  void Finish(const Item& item);
  bool Abort(const std::string& why);

  Fd fd_;
  ServerShared* shared_;
  MissDone miss_done_;
  Outbox out_;
  Phase phase_ = Phase::kHello;
  bool blocked_ = false;
  bool reading_paused_ = false;

  std::vector<std::byte> in_;  // received, not yet taken apart: [in_begin_, in_end_)
  size_t in_begin_ = 0;
  size_t in_end_ = 0;

  std::vector<std::unique_ptr<Batch>> batches_;
  std::vector<std::unique_ptr<Batch>> spare_batches_;
  std::deque<Item> ready_;            // to be looked up
  std::map<uint64_t, Item> waiting_;  // with the miss handler, by number
  std::deque<std::pair<Item, MissOutcome>> missed_;
  uint64_t next_miss_ = 1;

  Time last_activity_;  // anything received or sent
  Time opened_;
  uint64_t seen_sent_ = 0;
  uint64_t items_ = 0, hits_ = 0, bytes_ = 0;  // since the last Serve
};

}  // namespace holdfast::bulk
