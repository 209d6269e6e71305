// SPDX-License-Identifier: Apache-2.0
#include "jobclient/cli/verify.h"

#include <functional>
#include <memory>

#include "base/ranged_store.h"
#include "io/far/aws_settings.h"
#include "io/far/far_store.h"
#include "io/net/event_loop.h"
#include "jobclient/client/far_settings.h"

namespace holdfast::cli {
namespace {

constexpr size_t kAtATime = 32;
constexpr uint64_t kBytesAtATime = 256 * kMiB;

class Comparison {
 public:
  Comparison(net::EventLoop* loop, FarStore* far, const ObjectList& list,
             const std::vector<uint64_t>& hashes, Progress* progress)
      : loop_(loop), far_(far), list_(list), hashes_(hashes), progress_(progress) {}

  Differences Run() {
    loop_->At(loop_->Now(), [this] { Next(); });
    loop_->Run();
    return std::move(differences_);
  }

 private:
  void Next() {
    while (next_ < list_.size() && under_way_ < kAtATime &&
           (under_way_ == 0 || bytes_ < kBytesAtATime)) {
      if (hashes_[next_] == 0) {
        ++next_;
        continue;
      }
      Get(next_++);
    }
    if (under_way_ == 0) loop_->Stop();
  }

  void Get(size_t position) {
    ObjectList::Item item = list_.item(position);
    auto buffer = std::make_unique<Buffer>(item.size);
    FarGet get;
    get.uri = item.uri;
    get.etag = item.etag;
    get.length = item.size;
    get.into = buffer->span();
    ++under_way_;
    bytes_ += item.size;
    buffers_.resize(list_.size());
    buffers_[position] = std::move(buffer);
    far_->Get(std::move(get), [this, position](Status status, FarInfo, uint64_t hash) {
      bytes_ -= buffers_[position]->size();
      buffers_[position].reset();
      --under_way_;
      ++differences_.compared;
      const std::string name(list_.item(position).uri);
      if (!status.ok()) {
        differences_.lines.push_back(name +
                                     " cannot be compared with its source: " + status.message());
      } else if (hash != hashes_[position]) {
        differences_.lines.push_back(name + " differs from its source");
      }
      progress_->Show(differences_.compared, list_.size());
      Next();
    });
  }

  net::EventLoop* loop_;
  FarStore* far_;
  const ObjectList& list_;
  const std::vector<uint64_t>& hashes_;
  Progress* progress_;
  size_t next_ = 0;
  size_t under_way_ = 0;
  uint64_t bytes_ = 0;
  std::vector<std::unique_ptr<Buffer>> buffers_;
  Differences differences_;
};

}  // namespace

Result<Differences> CompareWithSource(const ClientOptions& options, const ObjectList& list,
                                      const std::vector<uint64_t>& hashes, Progress* progress) {
  Result<std::unique_ptr<net::EventLoop>> loop = net::EventLoop::Create();
  if (!loop.ok()) return loop.status();
  Result<far::FarOptions> far_options = FarOptionsOf(options.far, nullptr);
  if (!far_options.ok()) return far_options.status();
  Result<std::unique_ptr<far::FarClient>> far =
      far::FarClient::Open(*std::move(far_options),
                           [&loop](std::function<void()> run) { (*loop)->Post(std::move(run)); });
  if (!far.ok()) return far.status();
  RangedStore ranged(loop->get(), far->get());
  return Comparison(loop->get(), &ranged, list, hashes, progress).Run();
}

}  // namespace holdfast::cli
