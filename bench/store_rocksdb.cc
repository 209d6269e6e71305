// SPDX-License-Identifier: Apache-2.0
#include <rocksdb/db.h>
#include <rocksdb/options.h>
#include <rocksdb/write_batch.h>

#include <cstdio>
#include <filesystem>

#include "base/status.h"
#include "bench/store_system.h"

namespace holdfast::bench {
namespace {

void Must(const rocksdb::Status& status) {
  if (!status.ok()) std::fprintf(stderr, "bench store: RocksDB: %s\n", status.ToString().c_str());
  HF_CHECK(status.ok());
}

rocksdb::Slice SliceOf(const Oid& key) {
  return {reinterpret_cast<const char*>(&key), sizeof(key)};
}
rocksdb::Slice SliceOf(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class RocksDbPutter : public Putter {
 public:
  RocksDbPutter(rocksdb::DB* db, const rocksdb::WriteOptions& write, size_t batch)
      : db_(db), write_(write), batch_size_(batch) {}
  void Put(uint64_t index, ByteView value) override {
    const Oid key = KeyAt(index);
    if (batch_size_ == 1) return Must(db_->Put(write_, SliceOf(key), SliceOf(value)));
    Must(batch_.Put(SliceOf(key), SliceOf(value)));
    if (static_cast<size_t>(batch_.Count()) == batch_size_) Finish();
  }
  void Finish() override {
    if (batch_.Count() == 0) return;
    Must(db_->Write(write_, &batch_));
    batch_.Clear();
  }

 private:
  rocksdb::DB* db_;
  rocksdb::WriteOptions write_;
  size_t batch_size_;
  rocksdb::WriteBatch batch_;
};

class RocksDb : public StoreSystem {
 public:
  RocksDb(const std::string& directory, Puts puts, bool batched)
      : directory_(directory + "/rocksdb"), batch_(batched ? kInFlight : 1) {
    write_.sync = puts != Puts::kUnsynced;
    Open();
  }
  std::string name() const override { return "RocksDB"; }
  std::unique_ptr<Putter> NewPutter() override {
    return std::make_unique<RocksDbPutter>(db_.get(), write_, batch_);
  }
  bool Get(uint64_t index, ByteSpan value) override {
    const Oid key = KeyAt(index);
    rocksdb::PinnableSlice found;
    rocksdb::Status status =
        db_->Get(rocksdb::ReadOptions(), db_->DefaultColumnFamily(), SliceOf(key), &found);
    if (!status.ok() || found.size() != value.size()) return false;
    std::memcpy(value.data(), found.data(), value.size());
    return true;
  }
  void Reopen() override {
    db_.reset();
    Open();
  }
  void Clear() override {
    db_.reset();
    std::filesystem::remove_all(directory_);
    Open();
  }

 private:
  // Its defaults but for memory enough that no round waits for a flush. Pipelined writes, recycled
  // logs and no adaptive yielding made no difference.
  void Open() {
    rocksdb::Options options;
    options.create_if_missing = true;
    options.compression = rocksdb::kNoCompression;
    options.write_buffer_size = 256 << 20;
    options.max_write_buffer_number = 6;
    rocksdb::DB* db = nullptr;
    Must(rocksdb::DB::Open(options, directory_, &db));
    db_.reset(db);
  }

  std::string directory_;
  size_t batch_;
  rocksdb::WriteOptions write_;
  std::unique_ptr<rocksdb::DB> db_;
};

}  // namespace

std::unique_ptr<StoreSystem> OpenRocksDb(const std::string& directory, Puts puts, bool batched) {
  return std::make_unique<RocksDb>(directory, puts, batched);
}

}  // namespace holdfast::bench
