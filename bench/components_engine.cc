// SPDX-License-Identifier: Apache-2.0
#include "bench/components_engine.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/hash.h"
#include "io/disk/local_journal.h"
#include "io/disk/segment_files.h"
#include "io/storage/remote_disk.h"
#include "io/storage/remote_journal.h"
#include "io/storage/remote_mover.h"

namespace holdfast::bench {
namespace {

constexpr uint64_t kJournalBytes = 256 * kMiB;
constexpr uint32_t kDiskThreads = 4;
constexpr const char* kCluster = "bench";
constexpr Duration kBetweenMaintenance = 2ms;

class ErrorLog : public Log {
 public:
  void Write(LogLevel level, std::string_view line) override {
    if (level >= LogLevel::kWarn)
      std::fprintf(stderr, "bench_components: %.*s\n", static_cast<int>(line.size()), line.data());
  }
};
ErrorLog error_log;

void Must(const Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "bench_components: %s\n", status.ToString().c_str());
  std::abort();
}

template <typename T>
T Must(Result<T> result) {
  Must(result.status());
  return *std::move(result);
}

const Buffer& Noise() {
  static const Buffer noise = [] {
    Buffer bytes(64 * kKiB);
    Random random(5);
    for (std::byte& b : bytes.span()) b = static_cast<std::byte>(random.Next());
    return bytes;
  }();
  return noise;
}

VersionHash Version() { return HashVersion("", kComponentValueBytes); }

}  // namespace

Oid OidAt(uint64_t index) { return {Mix64(index), Mix64(index + 0x9e3779b97f4a7c15u)}; }

void FillValue(uint64_t index, std::byte* value) {
  const size_t shift = Mix64(index) % (Noise().size() - kComponentValueBytes);
  std::memcpy(value, Noise().data() + shift, kComponentValueBytes);
  StoreAs(value, index);
}

bool IsValue(uint64_t index, const std::byte* value) {
  const size_t shift = Mix64(index) % (Noise().size() - kComponentValueBytes);
  return LoadAs<uint64_t>(value) == index &&
         std::memcmp(value + 8, Noise().data() + shift + 8, kComponentValueBytes - 8) == 0;
}

Engine::Engine(net::EventLoop* loop, EngineSpec spec)
    : loop_(loop),
      spec_(std::move(spec)),
      random_(spec_.node + 1u),
      cache_(spec_.cached_values, kComponentValueBytes) {
  OpenComponents();
  const Env env{loop_, nullptr, nullptr, &random_, &error_log};
  tier_ = std::make_unique<store::DiskTier>(
      env, disk_.get(),
      store::DiskTierOptions{.identity = {spec_.node, kCluster},
                             .index_objects = spec_.objects,
                             .tiny = {.most_bytes = 0},  // the workload is of records
                             .mover = mover_.get()});
  journal_->Replay([](uint64_t, ByteView) {},
                   [this](const Status& replayed) {
                     Must(replayed);
                     tier_->Recover([this](const Status& recovered) {
                       Must(recovered);
                       loop_->Stop();
                     });
                   });
  loop_->Run();
  tables_.push_back(std::make_unique<Table>());
  Maintain();
}

Engine::~Engine() { *alive_ = false; }

void Engine::OpenComponents() {
  auto post = [loop = loop_](std::function<void()> run) { loop->Post(std::move(run)); };
  if (spec_.storage.empty()) {
    journal_ = Must(disk::LocalJournal::Open(
        {.path = spec_.directory + "/journal", .bytes = kJournalBytes, .sync = true}, post));
    disk_ = Must(disk::SegmentFiles::Open({.directory = spec_.directory + "/segments",
                                           .cluster = kCluster,
                                           .node = spec_.node,
                                           .segments = spec_.segments,
                                           .segment_bytes = spec_.segment_bytes,
                                           .depth = kDiskThreads,
                                           .log = &error_log},
                                          post));
    return;
  }
  const storage::RemoteOptions options{.endpoint = spec_.storage,
                                       .cluster = kCluster,
                                       .node = spec_.node,
                                       .store = "node-" + std::to_string(spec_.node),
                                       .patience = 60s,
                                       .opening = 60s,
                                       .log = &error_log};
  auto journal = std::make_unique<storage::RemoteJournal>(loop_, options, kJournalBytes, post);
  auto disk = std::make_unique<storage::RemoteDisk>(loop_, options, spec_.segments,
                                                    spec_.segment_bytes, post);
  size_t opened = 0;
  auto done = [&](const Status& status) {
    Must(status);
    if (++opened == 2) loop_->Stop();
  };
  journal->Open([&](const Result<uint64_t>& bytes) { done(bytes.status()); });
  disk->Open(done);
  loop_->Run();
  if (!spec_.reclaim.empty()) {
    storage::RemoteOptions mover_options = options;
    mover_options.endpoint = spec_.reclaim;
    auto mover = std::make_unique<storage::RemoteMover>(
        loop_, mover_options, spec_.reclaim == spec_.storage ? std::string() : spec_.storage, loop_,
        disk.get(), post);
    mover->Start();
    mover_ = std::move(mover);
  }
  journal_ = std::move(journal);
  disk_ = std::move(disk);
}

void Engine::Maintain() {
  tier_->Maintain();
  loop_->At(loop_->Now() + kBetweenMaintenance, [this, alive = alive_] {
    if (*alive) Maintain();
  });
}

// --- Put -----------------------------------------------------------------------------------------

void Engine::Put(uint64_t index, std::function<void()> done) {
  Table* table = tables_.back().get();
  std::byte* value = table->values.data() + table->indexes.size() * kComponentValueBytes;
  FillValue(index, value);
  table->indexes.push_back(index);
  if (table->indexes.size() == kTableValues) Flush();
  // Its key is in the value.
  journal_->Append({value, kComponentValueBytes},
                   [this, table, done = std::move(done)](const Status& status, uint64_t sequence) {
                     Must(status);
                     table->last_sequence = sequence;
                     if (++table->durable == table->indexes.size() && table->full) {
                       auto first = std::move(tables_.front());
                       tables_.pop_front();
                       FlushTable(std::move(first));
                     }
                     done();
                   });
}

void Engine::Flush() {
  Table* table = tables_.back().get();
  if (table->indexes.empty()) return;
  table->full = true;
  ++flushing_;
  tables_.push_back(std::make_unique<Table>());
  if (table->durable < table->indexes.size()) return;
  auto first = std::move(tables_.front());
  tables_.pop_front();
  FlushTable(std::move(first));
}

void Engine::FlushTable(std::unique_ptr<Table> owned) {
  std::shared_ptr<Table> table = std::move(owned);
  const int64_t now_us = tier_->Stamp({});
  std::vector<store::DiskWriter::Item> items;
  items.reserve(table->indexes.size());
  for (size_t i = 0; i < table->indexes.size(); ++i) {
    const ByteView value{table->values.data() + i * kComponentValueBytes, kComponentValueBytes};
    items.push_back({.head = {.entry = {.oid = OidAt(table->indexes[i]),
                                        .version = Version(),
                                        .size = kComponentValueBytes,
                                        .loaded_us = now_us},
                              .payload_hash = Hash64(value),
                              .name = {},
                              .etag = {}},
                     .payload = value});
  }
  tier_->Take(std::move(items), [this, table] {
    --flushing_;
    Must(journal_->Truncate(table->last_sequence));
    LookAtSome(*table);
  });
}

void Engine::LookAtSome(const Table& table) {
  const auto count = static_cast<size_t>(spec_.looked_at * static_cast<double>(kTableValues));
  for (size_t i = 0; i < std::min(count, table.indexes.size()); ++i) {
    const uint64_t index = table.indexes[random_.Below(table.indexes.size())];
    tier_->Look(OidAt(index), Version(), 0, [](const Result<store::DiskTier::Found>&) {});
  }
}

// --- Get -----------------------------------------------------------------------------------------

bool Engine::GetCached(uint64_t index) {
  const std::byte* value = cache_.Find(index);
  if (value == nullptr) return false;
  // What a caller gets is a copy.
  thread_local std::array<std::byte, kComponentValueBytes> copy;
  std::memcpy(copy.data(), value, copy.size());
  HF_CHECK(LoadAs<uint64_t>(copy.data()) == index);
  return true;
}

void Engine::Fetch(uint64_t index, bool keep, std::function<void()> done) {
  tier_->Look(
      OidAt(index), Version(), 0,
      [this, index, keep, done = std::move(done)](Result<store::DiskTier::Found> found) mutable {
        HF_CHECK(found.ok());
        auto value = std::make_shared<Buffer>(kComponentValueBytes);
        tier_->Read(*found, value->span(),
                    [this, index, keep, value, done = std::move(done)](const Status& read) {
                      HF_CHECK(read.ok() && IsValue(index, value->data()));
                      if (keep) cache_.Insert(index, value->data());
                      done();
                    });
      });
}

}  // namespace holdfast::bench
