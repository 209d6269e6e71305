// SPDX-License-Identifier: Apache-2.0
// The pages of a directory's listing.
#include <algorithm>

#include "io/far/directory_store.h"
#include "io/far/file_names.h"

namespace holdfast::far {
namespace {

constexpr size_t kPageEntries = 1000;
constexpr size_t kMaxKeptWalks = 16;

}  // namespace

void DirectoryStore::List(std::string prefix, std::string token, bool delimited, Time deadline,
                          std::function<void(Result<FarPage>)> done) {
  Submit([this, prefix = std::move(prefix), token = std::move(token), delimited, deadline,
          done = std::move(done)]() mutable {
    Result<FarPage> page = ReadPage(prefix, token, delimited, deadline);
    if (!page.ok()) spending_->CountError();
    return [done = std::move(done), page = std::move(page)] { done(page); };
  });
}

Result<FarPage> DirectoryStore::ReadPage(const std::string& prefix, const std::string& token,
                                         bool delimited, Time deadline) {
  HF_RETURN_IF_ERROR(CheckDeadline(prefix, deadline));
  spending_->CountRequest(Ask::Kind::kList, false, false);
  const std::string kind = prefix + '\0' + (delimited ? "d" : "") + '\0';
  std::optional<KeptWalk> kept = TakeWalk(kind + token);
  if (!kept) {
    const auto report = [log = options_.log](const std::string& text) {
      if (log != nullptr) log->Warn("not listed: " + text);
    };
    Result<DirectoryWalk> walk = DirectoryWalk::Begin(prefix, delimited, token, report);
    if (!walk.ok()) return walk.status();
    HF_RETURN_IF_ERROR(CheckRoots(walk->root()));
    kept.emplace(KeptWalk{.key = "", .walk = std::move(*walk), .ahead = {}, .more = true});
    kept->more = kept->walk.Next(&kept->ahead);
  }
  FarPage page;
  std::string last;
  while (kept->more && page.entries.size() + page.prefixes.size() < kPageEntries) {
    const WalkedFile& file = kept->ahead;
    if (file.is_prefix) {
      page.prefixes.push_back(FileUri(file.path));
    } else {
      page.entries.push_back({FileUri(file.path), {file.size, FileETag(file.mtime_ns, file.size)}});
    }
    last = file.path;
    kept->more = kept->walk.Next(&kept->ahead);
  }
  if (kept->more) {
    page.next = last;
    kept->key = kind + last;
    KeepWalk(std::move(*kept));
  }
  return page;
}

std::optional<DirectoryStore::KeptWalk> DirectoryStore::TakeWalk(const std::string& key) {
  std::lock_guard lock(mutex_);
  const auto it = std::find_if(walks_.begin(), walks_.end(),
                               [&](const KeptWalk& walk) { return walk.key == key; });
  if (it == walks_.end()) return std::nullopt;
  std::optional<KeptWalk> walk = std::move(*it);
  walks_.erase(it);
  return walk;
}

void DirectoryStore::KeepWalk(KeptWalk walk) {
  std::lock_guard lock(mutex_);
  if (walks_.size() == kMaxKeptWalks) walks_.erase(walks_.begin());
  walks_.push_back(std::move(walk));
}

}  // namespace holdfast::far
