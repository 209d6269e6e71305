// SPDX-License-Identifier: Apache-2.0
#include <lmdb.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "base/status.h"
#include "bench/local_system.h"
#include "io/shm/private_mount.h"
#include "wire/shm_layout.h"

namespace holdfast::bench {
namespace {

void Must(int error) { HF_CHECK(error == 0); }

MDB_env* OpenEnv(const std::string& directory, uint64_t bytes, unsigned flags) {
  MDB_env* env = nullptr;
  Must(mdb_env_create(&env));
  Must(mdb_env_set_mapsize(env, bytes));
  Must(mdb_env_open(env, directory.c_str(), flags | MDB_NOTLS, 0600));
  return env;
}

// A read transaction per batch, renewed: LMDB's cheapest way to see what is new.
class LmdbClient : public LocalClient {
 public:
  LmdbClient(const std::string& directory, uint64_t bytes)
      : env_(OpenEnv(directory, bytes, MDB_RDONLY)) {
    Must(mdb_txn_begin(env_, nullptr, MDB_RDONLY, &txn_));
    Must(mdb_dbi_open(txn_, nullptr, 0, &dbi_));
    mdb_txn_reset(txn_);
  }
  ~LmdbClient() override {
    mdb_txn_abort(txn_);
    mdb_env_close(env_);
  }
  void Run(Read how, std::span<const uint32_t> which, Destination* into) override {
    if (how != Read::kSingle1k) Must(mdb_txn_renew(txn_));
    for (size_t i = 0; i < which.size(); ++i) {
      if (how == Read::kSingle1k) Must(mdb_txn_renew(txn_));
      Oid oid = OidAt(IsLarge(how), which[i]);
      MDB_val key = {sizeof(oid), &oid};
      MDB_val value;
      Must(mdb_get(txn_, dbi_, &key, &value));
      ByteView bytes(static_cast<const std::byte*>(value.mv_data), value.mv_size);
      if (how == Read::kView100k) {
        into->sink += TouchLines(bytes);
      } else {
        std::memcpy(into->At(how, i).data(), bytes.data(), bytes.size());
      }
      if (how == Read::kSingle1k) mdb_txn_reset(txn_);
    }
    if (how != Read::kSingle1k) mdb_txn_reset(txn_);
  }

 private:
  MDB_env* env_;
  MDB_txn* txn_ = nullptr;
  MDB_dbi dbi_ = 0;
};

class Lmdb : public LocalSystem {
 public:
  explicit Lmdb(const LocalSet& set)
      : directory_("/dev/shm/holdfast-bench-lmdb-" + std::to_string(::getpid())),
        map_bytes_(shm::AlignUp(set.bytes() * 3 / 2 + 256 * kMiB, 2 * kMiB)) {
    std::filesystem::create_directories(directory_);
    // Without the right to mount it has the pages of /dev/shm, as we have then.
    mounted_ = shm::MountTmpfs(directory_, map_bytes_ + 64 * kMiB, std::nullopt).ok();
    Load(set);
  }
  ~Lmdb() override {
    if (mounted_) shm::UnmountTmpfs(directory_);
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  std::string name() const override { return "LMDB"; }
  bool Can(Read) const override { return true; }
  std::unique_ptr<LocalClient> Connect() override {
    return std::make_unique<LmdbClient>(directory_, map_bytes_);
  }

 private:
  // In the order of the keys, so that its pages are full. With MDB_WRITEMAP the file has its whole
  // size from the start, which is what large pages need.
  void Load(const LocalSet& set) const {
    struct Item {
      Oid oid;
      uint32_t index;
      bool large;
    };
    std::vector<Item> items;
    for (uint32_t i = 0; i < set.small_count; ++i) items.push_back({OidAt(false, i), i, false});
    for (uint32_t i = 0; i < set.large_count; ++i) items.push_back({OidAt(true, i), i, true});
    std::sort(items.begin(), items.end(), [](const Item& a, const Item& b) {
      return std::memcmp(&a.oid, &b.oid, sizeof(Oid)) < 0;
    });
    MDB_env* env = OpenEnv(directory_, map_bytes_, MDB_WRITEMAP | MDB_NOSYNC);
    MDB_txn* txn = nullptr;
    MDB_dbi dbi = 0;
    Must(mdb_txn_begin(env, nullptr, 0, &txn));
    Must(mdb_dbi_open(txn, nullptr, 0, &dbi));
    for (Item& item : items) {
      MDB_val key = {sizeof(Oid), &item.oid};
      MDB_val value = {item.large ? set.large_bytes : set.small_bytes, nullptr};
      Must(mdb_put(txn, dbi, &key, &value, MDB_RESERVE | MDB_APPEND));
      FillObject(item.large, item.index, {static_cast<std::byte*>(value.mv_data), value.mv_size});
    }
    Must(mdb_txn_commit(txn));
    mdb_env_close(env);
  }

  std::string directory_;
  uint64_t map_bytes_;
  bool mounted_ = false;
};

}  // namespace

std::unique_ptr<LocalSystem> OpenLmdb(const LocalSet& set) { return std::make_unique<Lmdb>(set); }

}  // namespace holdfast::bench
