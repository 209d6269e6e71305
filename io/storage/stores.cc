// SPDX-License-Identifier: Apache-2.0
#include "io/storage/stores.h"

#include <fcntl.h>
#include <sys/file.h>

#include <filesystem>
#include <utility>

#include "io/shm/access.h"
#include "wire/disk_segment.h"

namespace holdfast::storage {
namespace {

namespace fs = std::filesystem;

constexpr uint32_t kMostSegments = 65'535;
constexpr size_t kMostStores = 1'024;

// Of what this user may look at: a lost+found of the file system is nobody's store.
uint64_t BytesBelow(const std::string& directory) {
  uint64_t bytes = 0;
  std::error_code failed;
  fs::recursive_directory_iterator it(directory, fs::directory_options::skip_permission_denied,
                                      failed);
  for (; !failed && it != fs::recursive_directory_iterator(); it.increment(failed)) {
    std::error_code gone;
    if (!it->is_regular_file(gone)) continue;
    const uint64_t size = it->file_size(gone);
    bytes += gone ? 0 : size;
  }
  return bytes;
}

}  // namespace

Result<std::unique_ptr<Stores>> Stores::Open(StoresOptions options, net::EventLoop* loop) {
  HF_RETURN_IF_ERROR(shm::ClaimDirectory(options.directory, std::nullopt, "storage.directory"));
  const std::string path = options.directory + "/lock";
  std::unique_ptr<Stores> stores(new Stores(std::move(options), loop));
  stores->lock_ = shm::Fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!stores->lock_) return shm::ErrnoStatus("cannot open " + path);
  if (::flock(stores->lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    return Status::Unavailable("another storage server is using " + stores->options_.directory +
                               "; stop it, or give this one another storage.directory");
  }
  stores->used_ = BytesBelow(stores->options_.directory);
  return stores;
}

Result<Store*> Stores::Find(const Wanted& wanted) {
  if (!IsStoreName(wanted.name)) return Status::Invalid("a store cannot have that name");
  const char* kind = wanted.kind == Kind::kOpenJournal ? "/journals" : "/segments";
  const std::string parent = options_.directory + kind, directory = parent + "/" + wanted.name;
  if (auto found = stores_.find(directory); found != stores_.end()) return found->second.get();
  if (stores_.size() >= kMostStores)
    return Status::NoSpace("it has " + std::to_string(kMostStores) + " stores, its limit");
  HF_RETURN_IF_ERROR(shm::MakePrivateDirectory(parent, std::nullopt));
  HF_RETURN_IF_ERROR(shm::MakePrivateDirectory(directory, std::nullopt));
  Result<StoreOwner> owner = StoreOwner::Load(directory);
  if (!owner.ok()) return owner.status();
  auto store = std::make_unique<Store>(*std::move(owner));
  store->directory = directory;
  store->bytes = BytesBelow(directory);
  return stores_.emplace(directory, std::move(store)).first->second.get();
}

Result<Store*> Stores::FindUsed(const std::string& name, NodeId node) {
  auto found = stores_.find(options_.directory + "/segments/" + name);
  if (found == stores_.end() || found->second->segments == nullptr || found->second->session == 0)
    return Status::Unavailable("nobody uses segments of the name " + name + " here");
  if (found->second->owner.node() != node)
    return Status::Denied("they are of node " + std::to_string(found->second->owner.node()));
  return found->second.get();
}

Status Stores::Prepare(Store* store, const Wanted& wanted) {
  HF_CHECK(store->busy == 0);
  return wanted.kind == Kind::kOpenJournal ? PrepareJournal(store, wanted)
                                           : PrepareSegments(store, wanted);
}

Status Stores::Reserve(Store* store, uint64_t bytes) {
  if (bytes <= store->bytes) return {};
  const uint64_t more = bytes - store->bytes;
  if (used_ > options_.limit || more > options_.limit - used_) {
    return Status::NoSpace("it may keep " + FormatBytes(options_.limit) + " (storage.limit), " +
                           FormatBytes(used_) + " are taken, and this store needs " +
                           FormatBytes(more) + " more");
  }
  used_ += more;
  store->bytes = bytes;
  return {};
}

Status Stores::PrepareJournal(Store* store, const Wanted& wanted) {
  if (store->journal != nullptr && store->journal->failure().ok()) return {};
  store->journal.reset();
  const std::string path = store->directory + "/journal";
  std::error_code failed;
  if (!fs::exists(path, failed) && !failed) {
    if (wanted.bytes > options_.limit) {
      return Status::NoSpace(
          "a journal of " + FormatBytes(wanted.bytes) +
          " is more than the server's storage.limit = " + FormatBytes(options_.limit));
    }
    HF_RETURN_IF_ERROR(Reserve(store, wanted.bytes + disk::kHeadsBytes));
  }
  auto opened = JournalStore::Open(loop_, path, wanted.bytes);
  if (opened.status().code() == Code::kCorrupt) {
    return Status::Corrupt(opened.status().message() +
                           "; what was promised by it is void: move that file away, and a new one "
                           "is made");
  }
  if (!opened.ok()) return opened.status();
  store->journal = *std::move(opened);
  return {};
}

Status Stores::PrepareSegments(Store* store, const Wanted& wanted) {
  if (wanted.segments == 0 || wanted.segments > kMostSegments || wanted.bytes == 0 ||
      wanted.bytes % Disk::kBlock != 0 || wanted.bytes > disk::kMaxSegmentBytes) {
    return Status::Invalid("segments cannot have these sizes");
  }
  if (store->segments != nullptr && store->segments->segments() == wanted.segments &&
      store->segments->segment_bytes() == wanted.bytes) {
    return {};
  }
  store->segments.reset();
  HF_RETURN_IF_ERROR(Reserve(store, wanted.segments * wanted.bytes));
  auto opened = disk::SegmentFiles::Open(
      {.directory = store->directory + "/files",
       .cluster = wanted.cluster,
       .node = wanted.node,
       .segments = wanted.segments,
       .segment_bytes = wanted.bytes,
       .depth = options_.threads,
       .log = options_.log},
      [loop = loop_](std::function<void()> run) { loop->Post(std::move(run)); });
  if (!opened.ok()) return opened.status();
  store->segments = *std::move(opened);
  return {};
}

}  // namespace holdfast::storage
