// SPDX-License-Identifier: Apache-2.0
#include "cached/promise_records.h"

#include <algorithm>
#include <utility>

namespace holdfast::cached {
namespace {

using entry::kMaxObjects;
using entry::kRun;

constexpr uint8_t kVersion = 1;
constexpr size_t kHeaderBytes = 8;
constexpr Duration kLongest = std::chrono::hours(24 * 365 * 100);  // as on the wire
enum class Kind : uint8_t { kOwner = 1, kObjects, kNames, kPromise, kLease, kEnd };

class Writer {
 public:
  Writer(std::vector<std::byte>* record, Kind kind) : record_(record), begin_(record->size()) {
    Put(static_cast<uint8_t>(kind));
    Put(kVersion);
    Put(uint16_t{0});
    Put(uint32_t{0});
  }
  ~Writer() {
    record_->resize((record_->size() + 7) / 8 * 8);
    StoreAs(record_->data() + begin_ + 4, static_cast<uint32_t>(record_->size() - begin_));
  }
  template <typename T>
  void Put(T value) {
    const size_t at = record_->size();
    record_->resize(at + sizeof(T));
    StoreAs(record_->data() + at, value);
  }
  void Put(const Oid& oid) {
    Put(oid.hi);
    Put(oid.lo);
  }
  void Put(Duration duration) { Put(static_cast<int64_t>(duration.count())); }
  void Text(std::string_view text) {
    const ByteView bytes = AsBytes(text);
    record_->insert(record_->end(), bytes.begin(), bytes.end());
  }
  // Where in its run each is; the run was said before.
  template <typename Items, typename IndexOf>
  void Places(const Items& items, const IndexOf& index_of) {
    for (const auto& item : items) Put(static_cast<uint16_t>(index_of(item) % kRun));
  }

 private:
  std::vector<std::byte>* record_;
  size_t begin_;
};

// Reads what the writer wrote; once something is missing everything is, and it is not ok().
class Reader {
 public:
  explicit Reader(ByteView bytes) : left_(bytes) {}
  bool ok() const { return ok_; }
  template <typename T>
  T Take() {
    const ByteView bytes = Bytes(sizeof(T));
    return ok_ ? LoadAs<T>(bytes.data()) : T{};
  }
  Oid TakeOid() {
    const auto hi = Take<uint64_t>();
    return {hi, Take<uint64_t>()};
  }
  Duration TakeDuration() {
    const Duration duration(Take<int64_t>());
    ok_ = ok_ && duration >= Duration(0) && duration <= kLongest;
    return duration;
  }
  ByteView Bytes(uint64_t count) {
    ok_ = ok_ && count <= left_.size();
    if (!ok_) return {};
    const ByteView bytes = left_.first(count);
    left_ = left_.subspan(count);
    return bytes;
  }
  // `count` rising indices below `size` in the run that begins at `first`.
  std::vector<uint32_t> Places(uint32_t first, uint32_t count, uint32_t size) {
    const ColumnView<uint16_t> places(Bytes(uint64_t{count} * 2));
    std::vector<uint32_t> indices;
    ok_ = ok_ && first % kRun == 0 && size <= kMaxObjects;
    for (size_t i = 0; ok_ && i < count; ++i) {
      const uint64_t index = uint64_t{first} + places[i];
      ok_ = index < size && (indices.empty() || indices.back() < index);
      indices.push_back(static_cast<uint32_t>(index));
    }
    return indices;
  }

 private:
  ByteView left_;
  bool ok_ = true;
};

uint32_t RunOf(uint32_t index) { return index / kRun * kRun; }

void Write(const entry::Owner& e, std::vector<std::byte>* record) {
  Writer out(record, Kind::kOwner);
  out.Put(e.node);
  out.Put(e.life);
  out.Put(e.cluster_hash);
}

void Write(const entry::Objects& e, std::vector<std::byte>* record) {
  const bool small = std::all_of(e.described.begin(), e.described.end(),
                                 [](const auto& object) { return object.size <= UINT32_MAX; });
  Writer out(record, Kind::kObjects);
  out.Put(e.digest);
  out.Put(e.count);
  out.Put(RunOf(e.indices.front()));
  out.Put(static_cast<uint32_t>(e.indices.size()));
  out.Put(uint32_t{small ? 4u : 8u});
  for (const planner::ManifestEntry& object : e.described) out.Put(object.oid);
  for (const planner::ManifestEntry& object : e.described) out.Put(object.version);
  for (const planner::ManifestEntry& object : e.described) {
    if (small) {
      out.Put(static_cast<uint32_t>(object.size));
    } else {
      out.Put(object.size);
    }
  }
  out.Places(e.indices, [](uint32_t index) { return index; });
}

void Write(const entry::Names& e, std::vector<std::byte>* record) {
  Writer out(record, Kind::kNames);
  out.Put(e.digest);
  out.Put(RunOf(e.names.front().index));
  out.Put(static_cast<uint32_t>(e.names.size()));
  for (const entry::Name& name : e.names) out.Put(name.need_by_ms);
  out.Places(e.names, [](const entry::Name& name) { return name.index; });
  for (const entry::Name& name : e.names) out.Put(static_cast<uint16_t>(name.name.size()));
  for (const entry::Name& name : e.names) out.Put(static_cast<uint16_t>(name.etag.size()));
  for (const entry::Name& name : e.names) {
    out.Text(name.name);
    out.Text(name.etag);
  }
}

void Write(const entry::Promise& e, std::vector<std::byte>* record) {
  Writer out(record, Kind::kPromise);
  out.Put(e.job);
  out.Put(e.tenancy);
  out.Put(e.lease);
  out.Put(e.digest);
  out.Put(e.left);
  out.Put(e.boot);
  out.Put(e.since_boot);
  out.Put(e.call);
  out.Put(e.count);
  out.Put(RunOf(e.indices.front()));
  out.Put(static_cast<uint32_t>(e.indices.size()));
  out.Put(e.name_allowance);
  out.Put(e.priority);
  out.Put(uint8_t{0});
  out.Put(uint32_t{0});
  out.Places(e.indices, [](uint32_t index) { return index; });
}

void Write(const entry::Lease& e, std::vector<std::byte>* record) {
  Writer out(record, Kind::kLease);
  out.Put(e.job);
  out.Put(e.tenancy);
  out.Put(e.lease);
}

void Write(const entry::End& e, std::vector<std::byte>* record) {
  Writer out(record, Kind::kEnd);
  out.Put(e.job);
  out.Put(e.tenancy);
}

entry::Objects ReadObjects(Reader& in) {
  entry::Objects e;
  e.digest = in.TakeOid();
  e.count = in.Take<uint32_t>();
  const auto first = in.Take<uint32_t>(), n = in.Take<uint32_t>(), width = in.Take<uint32_t>();
  const ColumnView<uint64_t> oids(in.Bytes(uint64_t{n} * 16));
  const ColumnView<uint64_t> versions(in.Bytes(uint64_t{n} * 8));
  const ByteView sizes = in.Bytes(uint64_t{n} * (width == 4 ? 4 : 8));
  e.indices = in.Places(first, n, e.count);
  for (size_t i = 0; in.ok() && i < n; ++i) {
    const uint64_t size =
        width == 4 ? ColumnView<uint32_t>(sizes)[i] : ColumnView<uint64_t>(sizes)[i];
    e.described.push_back({{oids[2 * i], oids[2 * i + 1]}, size, versions[i]});
  }
  return e;
}

entry::Names ReadNames(Reader& in) {
  entry::Names e;
  e.digest = in.TakeOid();
  const auto first = in.Take<uint32_t>(), n = in.Take<uint32_t>();
  const ColumnView<uint32_t> need_by(in.Bytes(uint64_t{n} * 4));
  const std::vector<uint32_t> indices = in.Places(first, n, kMaxObjects);
  const ColumnView<uint16_t> names(in.Bytes(uint64_t{n} * 2));
  const ColumnView<uint16_t> etags(in.Bytes(uint64_t{n} * 2));
  for (size_t i = 0; in.ok() && i < n; ++i) {
    const std::string_view name = AsText(in.Bytes(names[i]));
    e.names.push_back({indices[i], need_by[i], name, AsText(in.Bytes(etags[i]))});
  }
  return e;
}

entry::Promise ReadPromise(Reader& in) {
  entry::Promise e;
  e.job = in.Take<uint64_t>();
  e.tenancy = in.Take<uint64_t>();
  e.lease = in.TakeDuration();
  e.digest = in.TakeOid();
  e.left = in.TakeDuration();
  e.boot = in.Take<uint64_t>();
  e.since_boot = in.TakeDuration();
  e.call = in.Take<uint32_t>();
  e.count = in.Take<uint32_t>();
  const auto first = in.Take<uint32_t>(), n = in.Take<uint32_t>();
  e.name_allowance = in.Take<uint16_t>();
  e.priority = in.Take<uint8_t>();
  in.Bytes(5);
  e.indices = in.Places(first, n, e.count);
  return e;
}

std::optional<Entry> Read(Kind kind, Reader& in) {
  switch (kind) {
    case Kind::kOwner: {
      const auto node = in.Take<uint32_t>(), life = in.Take<uint32_t>();
      return entry::Owner{node, life, in.Take<uint64_t>()};
    }
    case Kind::kObjects:
      return ReadObjects(in);
    case Kind::kNames:
      return ReadNames(in);
    case Kind::kPromise:
      return ReadPromise(in);
    case Kind::kLease: {
      const auto job = in.Take<uint64_t>(), tenancy = in.Take<uint64_t>();
      return entry::Lease{job, tenancy, in.TakeDuration()};
    }
    case Kind::kEnd: {
      const auto job = in.Take<uint64_t>();
      return entry::End{job, in.Take<uint64_t>()};
    }
  }
  return std::nullopt;
}

}  // namespace

void AppendEntry(const Entry& entry, std::vector<std::byte>* record) {
  std::visit([record](const auto& e) { Write(e, record); }, entry);
}

Status VisitEntries(ByteView record, const std::function<void(Entry&&)>& visit) {
  while (!record.empty()) {
    if (record.size() < kHeaderBytes) return Status::Corrupt("an entry of the journal is cut off");
    const auto kind = LoadAs<uint8_t>(record.data()), version = LoadAs<uint8_t>(record.data() + 1);
    const auto bytes = LoadAs<uint32_t>(record.data() + 4);
    if (version != kVersion)
      return Status::Invalid("the journal has entries of version " + std::to_string(version) +
                             "; this program reads version " + std::to_string(kVersion));
    if (bytes < kHeaderBytes || bytes % 8 != 0 || bytes > record.size())
      return Status::Corrupt("an entry of the journal has a wrong length");
    Reader in(record.subspan(kHeaderBytes, bytes - kHeaderBytes));
    std::optional<Entry> entry = Read(static_cast<Kind>(kind), in);
    if (!entry || !in.ok())
      return Status::Corrupt("an entry of kind " + std::to_string(kind) +
                             " of the journal is wrong");
    visit(*std::move(entry));
    record = record.subspan(bytes);
  }
  return {};
}

}  // namespace holdfast::cached
