// SPDX-License-Identifier: Apache-2.0
// What a storage server keeps: named journals and named segment stores below one directory, opened
// when somebody asks for them, within one limit.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/log.h"
#include "io/disk/segment_files.h"
#include "io/storage/journal_store.h"
#include "io/storage/permits.h"
#include "io/storage/store_owner.h"

namespace holdfast::storage {

// One of them.
struct Store {
  explicit Store(StoreOwner o) : owner(std::move(o)) {}

  std::string directory{};
  StoreOwner owner;
  std::unique_ptr<JournalStore> journal{};         // or
  std::unique_ptr<disk::SegmentFiles> segments{};  // or neither: it is not open
  uint64_t bytes = 0;                              // of the limit
  uint64_t session = 0;                            // that uses it; 0: none
  uint64_t busy = 0;                               // operations under way, whoever began them
  uint64_t waiting = 0;                            // session that uses it when they have ended
  Permits permits{};                               // of the session that uses it, for others
};

struct StoresOptions {
  std::string directory;
  uint64_t limit = 0;    // bytes of all stores together
  uint32_t threads = 4;  // operations at a time, in each segment store
  Log* log = nullptr;    // outlives it
};

// Belongs to the thread of its loop.
class Stores {
 public:
  // What an opening asks for.
  struct Wanted {
    Kind kind = Kind::kOpenJournal;
    NodeId node = 0;
    std::string cluster{};
    std::string name{};
    uint64_t bytes = 0;     // of a new journal; of a segment
    uint32_t segments = 0;  // else 0
  };

  static Result<std::unique_ptr<Stores>> Open(StoresOptions options, net::EventLoop* loop);

  // The store of this kind and name, which may have to be made. It lives as long as this.
  Result<Store*> Find(const Wanted& wanted);
  // The segments of this name, while this node uses them. kUnavailable otherwise.
  Result<Store*> FindUsed(const std::string& name, NodeId node);
  // Opens it as it is wanted, when nothing is under way there. kNoSpace beyond the limit and for a full
  // disk, kInvalid for sizes that cannot be. Blocks as long as that takes.
  Status Prepare(Store* store, const Wanted& wanted);

 private:
  Stores(StoresOptions options, net::EventLoop* loop) : options_(std::move(options)), loop_(loop) {}
  Status PrepareJournal(Store* store, const Wanted& wanted);
  Status PrepareSegments(Store* store, const Wanted& wanted);
  Status Reserve(Store* store, uint64_t bytes);

  const StoresOptions options_;
  net::EventLoop* const loop_;
  shm::Fd lock_;
  uint64_t used_ = 0;
  std::map<std::string, std::unique_ptr<Store>> stores_;  // by directory
};

}  // namespace holdfast::storage
