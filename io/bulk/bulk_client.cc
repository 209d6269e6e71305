// SPDX-License-Identifier: Apache-2.0
#include "io/bulk/bulk_client.h"

#include <pthread.h>

#include <thread>

#include "io/bulk/client_loop.h"
#include "io/bulk/mailbox.h"

namespace holdfast::bulk {

struct BulkClient::Impl {
  Mailbox mailbox;
  bool stopping = false;       // the I/O thread's
  ClientLoop* loop = nullptr;  // null once it has ended
  std::thread thread;

  explicit Impl(BulkClientOptions options) {
    thread = std::thread([this, options = std::move(options)] { Run(options); });
  }

  void Run(const BulkClientOptions& options) {
    ::pthread_setname_np(::pthread_self(), "bulk-client");
    {
      ClientLoop own(options);
      loop = &own;
      own.Watch(mailbox.fd(), [this] { mailbox.RunAll(); });
      while (!stopping) own.RunOnce(std::chrono::minutes(1));
      mailbox.RunAll();  // what was posted before the end
    }
    loop = nullptr;
    mailbox.RunAll();  // what was posted while the others were told
  }

  void Submit(const std::string& endpoint, BulkMode mode, std::vector<BulkItem> items,
              Time deadline, std::function<void(size_t, BulkOutcome)> each,
              std::function<void(size_t, disk::Place)> placed) {
    if (loop != nullptr) {
      return loop->Submit(endpoint, mode, std::move(items), deadline, std::move(each),
                          std::move(placed));
    }
    for (size_t i = 0; i < items.size(); ++i) {
      each(i, {.status = Status::Unavailable("the reader is shutting down"),
               .version = 0,
               .size = 0,
               .hash = 0});
    }
  }
};

BulkClient::BulkClient(BulkClientOptions options)
    : impl_(std::make_unique<Impl>(std::move(options))) {}

BulkClient::~BulkClient() {
  impl_->mailbox.Post([this] { impl_->stopping = true; });
  impl_->thread.join();
}

void BulkClient::Read(const std::string& endpoint, BulkMode mode, std::vector<BulkItem> items,
                      Time deadline, std::function<void(size_t index, BulkOutcome outcome)> each,
                      std::function<void(size_t index, disk::Place place)> placed) {
  impl_->mailbox.Post([impl = impl_.get(), endpoint, mode, items = std::move(items), deadline,
                       each = std::move(each), placed = std::move(placed)]() mutable {
    impl->Submit(endpoint, mode, std::move(items), deadline, std::move(each), std::move(placed));
  });
}

Time BulkClient::Now() { return {MonotonicUs()}; }

}  // namespace holdfast::bulk
