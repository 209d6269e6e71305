// SPDX-License-Identifier: Apache-2.0
// The reader's side of streams: chunks arrive on the loop's thread, records are taken out of them on
// the user's.
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <utility>

#include "holdfast/stream.h"
#include "jobclient/client/parts.h"
#include "jobclient/client/stream_reading.h"
#include "wire/stream_chunk.h"

namespace holdfast {

using client::StreamDelivery;

struct StreamReader::Parts {
  Client::Parts* client = nullptr;

  // The user's thread.
  uint64_t stream = 0;
  StreamDelivery current;  // its chunk is being read
  stream::ChunkView view;
  bool reading = false;
  uint64_t next_record = 0;
  // Records that come in pieces, by writer.
  struct Pieces {
    uint64_t record = 0;
    uint16_t next = 0;
    std::vector<std::byte> bytes;
    bool lost = false;
  };
  std::map<uint64_t, Pieces> pieces;
  std::vector<std::byte> whole;  // the last one
  std::vector<StreamLoss> losses;
  std::optional<StreamDelivery> last;  // the end, or the failure

  // The loop's thread.
  std::unique_ptr<client::StreamReading> reading_flow;

  // Both.
  std::mutex mutex;
  std::condition_variable arrived;
  std::deque<StreamDelivery> queue;

  StreamDelivery Await();
  Status Open(StreamDelivery delivery);
  std::optional<StreamRecord> TakePiece();
  Result<StreamRecord> TakeRecord();
  void Finish();
  Status Lose(const StreamLoss& loss);
  Status LoseEntry(const wire::StreamEntry& entry, const Status& why);
};

Result<std::unique_ptr<StreamReader>> StreamReader::Open(Client& client, std::string_view name,
                                                         const StreamReaderOptions& options) {
  HF_RETURN_IF_ERROR(wire::CheckStreamName(name));
  auto parts = std::make_unique<Parts>();
  Client::Parts& c = *client.parts_;
  parts->client = &c;
  client::StreamReadingOptions reading{.name = std::string(name),
                                       .own = c.own_node(),
                                       .look_ahead_bytes = options.look_ahead_bytes,
                                       .patience = options.patience};
  if (c.own != nullptr) {
    reading.view = [&c](const Oid& oid, VersionHash version) {
      bool over_grant = false;
      return c.own->reader().View(oid, version, &over_grant);
    };
  }
  client::Promised<Result<wire::StreamTerms>> opened;
  Parts* p = parts.get();
  c.thread->Post([&, p] {
    p->reading_flow = std::make_unique<client::StreamReading>(
        c.env(), c.cluster.get(), std::move(reading), [p](StreamDelivery delivery) {
          std::lock_guard lock(p->mutex);
          p->queue.push_back(std::move(delivery));
          p->arrived.notify_one();
        });
    p->reading_flow->Open([&](Result<wire::StreamTerms> terms) { opened.Set(std::move(terms)); });
  });
  Result<wire::StreamTerms> terms = opened.Wait();
  std::unique_ptr<StreamReader> reader(new StreamReader(std::move(parts)));
  if (!terms.ok()) return terms.status();
  p->stream = terms->stream;
  return reader;
}

StreamReader::StreamReader(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

StreamReader::~StreamReader() {
  parts_->client->thread->Call([this] { parts_->reading_flow.reset(); });
}

bool StreamReader::over() const { return parts_->last.has_value(); }
const std::vector<StreamLoss>& StreamReader::losses() const { return parts_->losses; }

Status StreamLoss::ToStatus() const {
  const std::string which = records == 1 ? "record " + FormatCount(first_record) + " is"
                                         : "records " + FormatCount(first_record) + " to " +
                                               FormatCount(first_record + records - 1) + " are";
  return why.Annotate(which + " lost");
}

StreamDelivery StreamReader::Parts::Await() {
  std::unique_lock lock(mutex);
  arrived.wait(lock, [this] { return !queue.empty(); });
  StreamDelivery delivery = std::move(queue.front());
  queue.pop_front();
  return delivery;
}

// The chunk is used up.
void StreamReader::Parts::Finish() {
  const uint64_t bytes = current.entry.bytes;
  auto memory = std::make_shared<Buffer>(std::move(current.bytes));  // a posted call can be copied
  reading = false;
  current = {};
  client->thread->Post([this, bytes, memory] { reading_flow->Used(bytes, std::move(*memory)); });
}

Status StreamReader::Parts::Lose(const StreamLoss& loss) {
  losses.push_back(loss);
  return loss.ToStatus();
}

// Ok: it was told before, with another piece of the record.
Status StreamReader::Parts::LoseEntry(const wire::StreamEntry& entry, const Status& why) {
  if (entry.pieces > 1) {
    Pieces& record = pieces[entry.writer];
    const bool known = record.lost && record.record == entry.first_record;
    record = {.record = entry.first_record, .bytes = {}, .lost = true};
    if (known) return {};
  }
  return Lose({entry.writer, entry.first_record, entry.records, why});
}

Status StreamReader::Parts::Open(StreamDelivery delivery) {
  current = std::move(delivery);
  const wire::StreamEntry& entry = current.entry;
  Result<stream::ChunkView> opened = stream::ChunkView::Open(current.data());
  Status status = opened.status();
  if (status.ok()) {
    const stream::ChunkTitle& title = opened->title();
    const bool right = title.stream == stream && title.writer == entry.writer &&
                       title.number == entry.number && title.piece == entry.piece &&
                       title.first_record == entry.first_record &&
                       opened->records() == entry.records;
    if (!right) status = Status::Corrupt("it is another chunk than the one that was listed");
  }
  if (!status.ok()) {
    const wire::StreamEntry lost = entry;
    Finish();
    return LoseEntry(lost, status);
  }
  view = *opened;
  if (current.verified) view.Trust();
  reading = true;
  next_record = entry.first_record;
  return {};
}

// Of the chunk that is being read, which has one piece; the record when it was the last one.
std::optional<StreamRecord> StreamReader::Parts::TakePiece() {
  const wire::StreamEntry entry = current.entry;
  Pieces& record = pieces[entry.writer];
  if (entry.piece == 0) record = {.record = entry.first_record, .bytes = {}};
  if (record.lost || record.record != entry.first_record || record.next != entry.piece) {
    return std::nullopt;  // told already
  }
  Result<ByteView> bytes = view.Next();
  if (!bytes.ok()) {
    record.lost = true;
    losses.push_back({entry.writer, entry.first_record, 1, bytes.status()});
    return std::nullopt;
  }
  record.bytes.insert(record.bytes.end(), bytes->begin(), bytes->end());
  if (++record.next < entry.pieces) return std::nullopt;
  whole = std::move(record.bytes);
  pieces.erase(entry.writer);
  return StreamRecord{whole, entry.writer, entry.first_record};
}

Result<StreamRecord> StreamReader::Parts::TakeRecord() {
  const uint64_t number = next_record++;
  Result<ByteView> bytes = view.Next();
  if (!bytes.ok()) return Lose({current.entry.writer, number, 1, bytes.status()});
  return StreamRecord{*bytes, current.entry.writer, number};
}

Result<std::optional<StreamRecord>> StreamReader::Next() {
  Parts& p = *parts_;
  while (true) {
    if (p.reading && p.current.entry.pieces > 1) {
      const size_t lost = p.losses.size();
      std::optional<StreamRecord> record = p.TakePiece();
      p.Finish();
      if (record) return record;
      if (p.losses.size() > lost) return p.losses.back().why;
      continue;
    }
    if (p.reading && !p.view.AtEnd()) {
      Result<StreamRecord> record = p.TakeRecord();
      if (!record.ok()) return record.status();
      return std::optional<StreamRecord>(*record);
    }
    if (p.reading) p.Finish();
    if (p.last) {
      if (p.last->kind == StreamDelivery::Kind::kFailed) return p.last->status;
      return std::optional<StreamRecord>();
    }
    StreamDelivery delivery = p.Await();
    switch (delivery.kind) {
      case StreamDelivery::Kind::kChunk:
        HF_RETURN_IF_ERROR(p.Open(std::move(delivery)));
        break;
      case StreamDelivery::Kind::kLost: {
        Status lost = p.LoseEntry(delivery.entry, delivery.status);
        p.current.entry = delivery.entry;
        p.Finish();
        HF_RETURN_IF_ERROR(lost);
        break;
      }
      case StreamDelivery::Kind::kGone:
        return delivery.status;
      case StreamDelivery::Kind::kEnd:
      case StreamDelivery::Kind::kFailed:
        p.last = std::move(delivery);
        break;
    }
  }
}

}  // namespace holdfast
