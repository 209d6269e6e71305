// SPDX-License-Identifier: Apache-2.0
#include <lmdb.h>

#include <filesystem>

#include "base/status.h"
#include "base/units.h"
#include "bench/store_system.h"

namespace holdfast::bench {
namespace {

void Must(int error) { HF_CHECK(error == 0); }

// One writer at a time, as LMDB has it: a synced transaction for each put.
class LmdbPutter : public Putter {
 public:
  LmdbPutter(MDB_env* env, MDB_dbi dbi) : env_(env), dbi_(dbi) {}
  void Put(uint64_t index, ByteView value) override {
    Oid oid = KeyAt(index);
    MDB_val key = {sizeof(oid), &oid};
    MDB_val data = {value.size(), const_cast<std::byte*>(value.data())};
    MDB_txn* txn = nullptr;
    Must(mdb_txn_begin(env_, nullptr, 0, &txn));
    Must(mdb_put(txn, dbi_, &key, &data, 0));
    Must(mdb_txn_commit(txn));
  }
  void Finish() override {}

 private:
  MDB_env* env_;
  MDB_dbi dbi_;
};

class LmdbStore : public StoreSystem {
 public:
  explicit LmdbStore(const std::string& directory) : directory_(directory + "/lmdb") { Open(); }
  ~LmdbStore() override { mdb_env_close(env_); }
  std::string name() const override { return "LMDB"; }
  std::unique_ptr<Putter> NewPutter() override { return std::make_unique<LmdbPutter>(env_, dbi_); }
  bool Get(uint64_t index, ByteSpan value) override {
    Oid oid = KeyAt(index);
    MDB_val key = {sizeof(oid), &oid};
    MDB_val data;
    MDB_txn* txn = nullptr;
    Must(mdb_txn_begin(env_, nullptr, MDB_RDONLY, &txn));
    const bool found = mdb_get(txn, dbi_, &key, &data) == 0 && data.mv_size == value.size();
    if (found) std::memcpy(value.data(), data.mv_data, value.size());
    mdb_txn_abort(txn);
    return found;
  }
  void Reopen() override {
    mdb_env_close(env_);
    Open();
  }
  void Clear() override {
    mdb_env_close(env_);
    std::filesystem::remove_all(directory_);
    Open();
  }

 private:
  void Open() {
    std::filesystem::create_directories(directory_);
    Must(mdb_env_create(&env_));
    Must(mdb_env_set_mapsize(env_, 4 * kGiB));
    Must(mdb_env_open(env_, directory_.c_str(), MDB_NOTLS, 0600));
    MDB_txn* txn = nullptr;
    Must(mdb_txn_begin(env_, nullptr, 0, &txn));
    Must(mdb_dbi_open(txn, nullptr, 0, &dbi_));
    Must(mdb_txn_commit(txn));
  }

  std::string directory_;
  MDB_env* env_ = nullptr;
  MDB_dbi dbi_ = 0;
};

}  // namespace

std::unique_ptr<StoreSystem> OpenLmdbStore(const std::string& directory) {
  return std::make_unique<LmdbStore>(directory);
}

}  // namespace holdfast::bench
