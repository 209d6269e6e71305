// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/stream_processes.h"

#include <utility>

namespace holdfast::sim {
namespace {

constexpr uint32_t kTries = 20;  // to open a stream that is not there yet
constexpr Duration kTryAgain = 500ms;

}  // namespace

// --- A writer ------------------------------------------------------------------------------------

StreamWriterProcess::StreamWriterProcess(Fabric* fabric, FarWorld* far, ProcessId process,
                                         const StreamSetup* setup, StreamOracle* oracle)
    : world_(fabric->world()),
      process_(process),
      setup_(setup),
      oracle_(oracle),
      random_(world_->Stream("writer " + world_->NameOf(process))),
      env_(fabric, far, process, setup->host, RandomClock(world_, &random_), "") {
  region_ = std::make_shared<RegionFile>(stream::Shelf::Plan(kPlaces, setup->chunk_bytes));
  shelf_ = std::make_unique<stream::Shelf>(region_->pages.span(), region_->plan);
  session_ = SessionFile::Make(region_, 1);
  shelf_->ServedBy(session_->memory());
  // The port is the process's: hosts are found by the first number.
  const std::string endpoint =
      "tcp://node-" + std::to_string(setup->host) + ":" + std::to_string(10'000 + process);
  server_ =
      std::make_unique<SimBulkServer>(fabric, process, setup->host, endpoint, session_, nullptr);
  for (uint32_t place = 0; place < kPlaces; ++place) free_.push_back(place);
  writer_ = random_.Next() | 1;
  terms_ = setup->terms;
  cluster_ = nullptr;
}

StreamWriterProcess::~StreamWriterProcess() = default;

void StreamWriterProcess::Start() {
  cluster_ = std::make_unique<client::ClusterView>(env_.env(), setup_->job);
  writing_ = std::make_unique<client::StreamWriting>(
      env_.env(), cluster_.get(),
      client::StreamWritingOptions{
          .name = setup_->name,
          .terms = setup_->terms,
          .create = setup_->create,
          .writer = writer_,
          .own = setup_->own_node == nullptr ? kNoNode : setup_->own_node->node(),
          .shelf = "tcp://node-" + std::to_string(setup_->host) + ":" +
                   std::to_string(10'000 + process_),
          .lease = 5s,
          .patience = 20s},
      Events());
  writing_->Open([this](Result<wire::StreamTerms> opened) {
    world_->Note("stream open", {process_, static_cast<uint64_t>(opened.status().code())});
    if (!opened.ok()) {
      done_ = true;
      return;
    }
    opened_ = true;
    terms_ = *opened;
    oracle_->Opened(terms_.stream, writer_, terms_.expires_in);
    Write();
  });
}

client::StreamWriting::Events StreamWriterProcess::Events() {
  return {.released =
              [this](uint32_t place) {
                shelf_->Hide(place);
                hidden_.push_back(place);
                if (hidden_.size() == 1) LookAtHidden();
              },
          .acknowledged = [this](uint64_t records) { oracle_->Acknowledged(writer_, records); },
          .failed =
              [this](const Status& status) {
                world_->Note("stream failed", {process_, static_cast<uint64_t>(status.code())});
                world_->trace().Say(world_->now(), "stream failed: " + status.ToString());
                ++oracle_->counts().writers_failed;
                if (world_->faults().none() && status.code() != Code::kNoSpace &&
                    status.code() != Code::kNotFound) {
                  world_->Violate("streams-take", "without any fault: " + status.ToString());
                }
                done_ = true;
              },
          .ended =
              [this] {
                world_->Note("stream ended", {process_, written_});
                done_ = true;
              }};
}

void StreamWriterProcess::LookAtHidden() {
  std::erase_if(hidden_, [this](uint32_t place) {
    const bool over = shelf_->Unread(place);
    if (over) free_.push_back(place);
    return over;
  });
  if (hidden_.empty()) return;
  env_.clock.At(env_.clock.Now() + 5ms, [this] { LookAtHidden(); });
}

void StreamWriterProcess::Write() {
  if (done_) return;
  if (written_ == setup_->records) return writing_->End();
  if (!free_.empty()) {
    const uint32_t place = free_.back();
    free_.pop_back();
    SendChunk(place);
  }
  const auto pause =
      static_cast<int64_t>(random_.Exponential(static_cast<double>(setup_->think.count())));
  env_.clock.At(env_.clock.Now() + Duration(pause), [this] { Write(); });
}

void StreamWriterProcess::SendChunk(uint32_t place) {
  stream::ChunkBuilder builder(shelf_->Room(place).first(setup_->chunk_bytes));
  const uint64_t first = written_;
  while (written_ < setup_->records) {
    const std::string record = StreamOracle::Record(writer_, written_);
    if (!builder.Fits(record.size())) break;
    builder.Add(AsBytes(record));
    ++written_;
    if (random_.Chance(0.02)) break;  // a flush
  }
  oracle_->counts().put += written_ - first;
  const uint32_t number = chunks_++;
  const stream::ChunkBuilder::Sealed sealed = builder.Seal(
      {.stream = terms_.stream, .writer = writer_, .first_record = first, .number = number});
  const std::string name = wire::ChunkName(terms_.stream, writer_, number);
  HF_CHECK(shelf_->Show(place, name, sealed.hash, sealed.bytes, sealed.hash));
  writing_->Put({.place = place,
                 .entry = {.writer = writer_,
                           .first_record = first,
                           .hash = sealed.hash,
                           .number = number,
                           .records = builder.records(),
                           .bytes = sealed.bytes}});
}

// --- A reader ------------------------------------------------------------------------------------

StreamReaderProcess::StreamReaderProcess(Fabric* fabric, FarWorld* far, ProcessId process,
                                         const StreamSetup* setup, StreamOracle* oracle)
    : world_(fabric->world()),
      process_(process),
      setup_(setup),
      oracle_(oracle),
      random_(world_->Stream("reader " + world_->NameOf(process))),
      env_(fabric, far, process, setup->host, RandomClock(world_, &random_), "") {}

StreamReaderProcess::~StreamReaderProcess() {
  reading_.reset();  // its views end before their session
  if (session_ != nullptr) setup_->own_node->LeaveSession(session_);
}

void StreamReaderProcess::Start() {
  if (setup_->own_node != nullptr) session_ = setup_->own_node->OpenSession();
  cluster_ = std::make_unique<client::ClusterView>(env_.env(), setup_->job);
  Open();
}

void StreamReaderProcess::Kill() {
  world_->Kill(process_);
  if (session_ != nullptr) session_->EndAsKilled([this] { reading_.reset(); });
}

void StreamReaderProcess::Open() {
  client::StreamReadingOptions options{
      .name = setup_->name,
      .own = session_ == nullptr ? kNoNode : setup_->own_node->node(),
      .look_ahead_chunks = static_cast<uint32_t>(1 + random_.Below(16))};
  options.view = [this](const Oid& oid, VersionHash version) {
    bool over_grant = false;
    const bool here = session_ != nullptr && session_->region() == setup_->own_node->region();
    return here ? session_->reader().View(oid, version, &over_grant) : LocalView();
  };
  reading_ = std::make_unique<client::StreamReading>(
      env_.env(), cluster_.get(), std::move(options),
      [this](client::StreamDelivery delivery) { Take(std::move(delivery)); });
  reading_->Open([this](Result<wire::StreamTerms> opened) {
    if (opened.ok()) {
      stream_ = opened->stream;
      return;
    }
    // Before its writer, or when nobody answers; never for good while there is something to read.
    if (++tries_ >= kTries) {
      done_ = true;
      return;
    }
    env_.clock.At(env_.clock.Now() + kTryAgain, [this] { Open(); });
  });
}

void StreamReaderProcess::Take(client::StreamDelivery delivery) {
  using Kind = client::StreamDelivery::Kind;
  const wire::StreamEntry entry = delivery.entry;
  switch (delivery.kind) {
    case Kind::kChunk:
      TakeChunk(delivery);
      break;
    case Kind::kLost:
      oracle_->Lost(&next_, entry, delivery.status);
      break;
    case Kind::kGone:
      ++oracle_->counts().gone;
      gone_.insert(entry.writer);
      return;
    case Kind::kEnd:
      oracle_->End(next_, gone_, stream_);
      done_ = true;
      return;
    case Kind::kFailed:
      oracle_->Failed(stream_, delivery.status);
      done_ = true;
      return;
  }
  const auto pause = static_cast<int64_t>(random_.Below(2'000));
  env_.clock.At(env_.clock.Now() + Duration(pause), [this, bytes = entry.bytes] {
    if (!done_) reading_->Used(bytes, {});
  });
}

void StreamReaderProcess::TakeChunk(const client::StreamDelivery& delivery) {
  const wire::StreamEntry& entry = delivery.entry;
  if (delivery.view) ++oracle_->counts().own_memory;
  Result<stream::ChunkView> chunk = stream::ChunkView::Open(delivery.data());
  const bool right = chunk.ok() && chunk->title().number == entry.number &&
                     chunk->title().writer == entry.writer && chunk->records() == entry.records;
  if (!right) {
    return world_->Violate("streams-right-bytes", "a chunk is another than was listed");
  }
  for (uint32_t i = 0; i < entry.records; ++i) {
    Result<ByteView> record = chunk->Next();
    if (!record.ok()) return world_->Violate("streams-right-bytes", record.status().ToString());
    oracle_->Read(&next_, entry.writer, entry.first_record + i, *record);
  }
  world_->Note("stream read", {process_, entry.writer, entry.number, entry.hash});
}

}  // namespace holdfast::sim
