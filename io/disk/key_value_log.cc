// SPDX-License-Identifier: Apache-2.0
#include "io/disk/key_value_log.h"

#include <utility>

#include "base/hash.h"

namespace holdfast::disk {
namespace {

constexpr uint64_t kKeyBytes = 24;

Oid OidOf(ByteView record) {
  return {LoadAs<uint64_t>(record.data()), LoadAs<uint64_t>(record.data() + 8)};
}

}  // namespace

Result<std::unique_ptr<KeyValueLog>> KeyValueLog::Open(const CommitLogOptions& options) {
  auto log = CommitLog::Open(options);
  if (!log.ok()) return log.status();
  auto store = std::make_unique<KeyValueLog>();
  store->log_ = *std::move(log);
  HF_RETURN_IF_ERROR(store->Load().Annotate(options.path));
  return store;
}

Status KeyValueLog::Load() {
  bool foreign = false;
  HF_RETURN_IF_ERROR(log_->Replay([&](uint64_t sequence, ByteView record) {
    foreign = foreign || record.size() < kKeyBytes;
    if (!foreign) Note({OidOf(record), sequence, record.size() - kKeyBytes});
  }));
  if (foreign) return Status::Invalid("has records of something else than keys and values");
  return {};
}

Result<uint64_t> KeyValueLog::Begin(const Oid& oid, ByteView value) {
  std::byte key[kKeyBytes];
  StoreAs(key, oid.hi);
  StoreAs(key + 8, oid.lo);
  StoreAs(key + 16, Hash64(value));
  Result<uint64_t> sequence = log_->Append(key, value);
  if (sequence.ok()) Note({oid, *sequence, value.size()});
  return sequence;
}

Status KeyValueLog::Put(const Oid& oid, ByteView value) {
  Result<uint64_t> sequence = Begin(oid, value);
  return sequence.ok() ? Wait(*sequence) : sequence.status();
}

// Two puts of one OID may come here in another order than they have in the log.
void KeyValueLog::Note(const PlaceTable::Place& place) {
  Shard& shard = ShardOf(place.oid);
  std::lock_guard lock(shard.mutex);
  shard.places.Note(place);
}

std::optional<PlaceTable::Place> KeyValueLog::Find(const Oid& oid) {
  Shard& shard = ShardOf(oid);
  std::lock_guard lock(shard.mutex);
  const PlaceTable::Place* place = shard.places.Find(oid);
  return place == nullptr ? std::nullopt : std::optional(*place);
}

Result<std::optional<Buffer>> KeyValueLog::Get(const Oid& oid) {
  std::optional<PlaceTable::Place> place = Find(oid);
  if (!place) return std::optional<Buffer>();
  std::byte key[kKeyBytes];
  Buffer value(place->bytes);
  Status read = log_->Read(place->sequence, key, value.span());
  if (read.code() == Code::kNotFound) return std::optional<Buffer>();
  HF_RETURN_IF_ERROR(read);
  if (OidOf(key) != oid || LoadAs<uint64_t>(key + 16) != Hash64(value.view())) {
    return Status::Corrupt("the value of " + ToHex(oid) +
                           " does not fit its checksum; check the disk");
  }
  return std::optional<Buffer>(std::move(value));
}

Status KeyValueLog::Truncate(uint64_t before) {
  HF_RETURN_IF_ERROR(log_->Truncate(before));
  for (Shard& shard : shards_) {
    std::lock_guard lock(shard.mutex);
    shard.places.DropBefore(before);
  }
  return {};
}

size_t KeyValueLog::size() const {
  size_t n = 0;
  for (const Shard& shard : shards_) {
    std::lock_guard lock(shard.mutex);
    n += shard.places.size();
  }
  return n;
}

}  // namespace holdfast::disk
