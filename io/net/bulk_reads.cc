// SPDX-License-Identifier: Apache-2.0
#include "io/net/bulk_reads.h"

#include <mutex>
#include <utility>

namespace holdfast::net {

struct BulkReads::Inbox {
  struct Ended {
    uint64_t id;
    size_t index;
    BulkOutcome outcome;
  };
  std::mutex mutex;
  BulkReads* owner;          // null after its end; only the loop's thread uses it
  EventLoop* loop;           // guarded by mutex, null after the owner's end
  std::vector<Ended> ended;  // guarded by mutex

  static void Add(const std::shared_ptr<Inbox>& self, Ended one) {
    std::lock_guard lock(self->mutex);
    if (self->loop == nullptr) return;
    self->ended.push_back(std::move(one));
    if (self->ended.size() > 1) return;  // whoever added the first has posted
    self->loop->Post([self] {
      if (self->owner != nullptr) self->owner->Deliver();
    });
  }
};

BulkReads::BulkReads(EventLoop* loop, Reader reader)
    : loop_(loop), reader_(std::move(reader)), inbox_(std::make_shared<Inbox>()) {
  inbox_->owner = this;
  inbox_->loop = loop;
}

BulkReads::~BulkReads() {
  std::lock_guard lock(inbox_->mutex);
  inbox_->owner = nullptr;
  inbox_->loop = nullptr;
  inbox_->ended.clear();
}

void BulkReads::Read(const std::string& endpoint, BulkMode mode, std::vector<BulkItem> items,
                     Time deadline, std::function<void(size_t, BulkOutcome)> each) {
  if (items.empty()) return;
  if (!reader_) {
    auto none = [n = items.size(), each = std::move(each)] {
      for (size_t i = 0; i < n; ++i) {
        each(i, {Status::Unavailable("this process makes no bulk reads"), 0, 0});
      }
    };
    loop_->At(loop_->Now(), std::move(none));
    return;
  }
  uint64_t id = next_id_++;
  open_[id] = {std::move(each), items.size()};
  reader_(endpoint, mode, std::move(items), deadline,
          [inbox = inbox_, id](size_t index, BulkOutcome outcome) {
            Inbox::Add(inbox, {id, index, std::move(outcome)});
          });
}

void BulkReads::Deliver() {
  std::vector<Inbox::Ended> batch;
  {
    std::lock_guard lock(inbox_->mutex);
    batch.swap(inbox_->ended);
  }
  for (Inbox::Ended& one : batch) {
    auto at = open_.find(one.id);
    HF_CHECK(at != open_.end());
    if (--at->second.left == 0) {
      Open last = std::move(at->second);
      open_.erase(at);
      last.each(one.index, std::move(one.outcome));
    } else {
      at->second.each(one.index, std::move(one.outcome));
    }
  }
}

}  // namespace holdfast::net
