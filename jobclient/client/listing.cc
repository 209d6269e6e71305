// SPDX-License-Identifier: Apache-2.0
#include "jobclient/client/listing.h"

#include <iterator>
#include <utility>

namespace holdfast::client {

void Listing::Start(const Env& env, std::string prefix, size_t max_objects,
                    std::atomic<uint64_t>* count,
                    std::function<void(Result<std::vector<FarEntry>>)> done) {
  std::shared_ptr<Listing> listing(new Listing(env, max_objects, count, std::move(done)));
  listing->tasks_.push_back({std::move(prefix), {}, true});
  env.clock->At(env.clock->Now(), [listing] { listing->Fill(); });
}

void Listing::Fill() {
  while (!tasks_.empty() && under_way_ < kAtOnce && error_.ok()) {
    Task task = std::move(tasks_.front());
    tasks_.pop_front();
    // A prefix that has begun goes on as it began: its token says where.
    if (task.token.empty()) task.delimited = tasks_.size() + under_way_ < kAtOnce;
    ++under_way_;
    env_.far->List(task.prefix, task.token, task.delimited, env_.clock->Now() + kPageDeadline,
                   [listing = shared_from_this(), task](Result<FarPage> page) mutable {
                     listing->Landed(std::move(task), std::move(page));
                   });
  }
  if (under_way_ > 0 || !done_) return;
  auto done = std::exchange(done_, nullptr);
  if (!error_.ok()) return done(std::move(error_));
  done(std::move(found_));
}

void Listing::Landed(Task task, Result<FarPage> page) {
  --under_way_;
  if (!page.ok()) {
    if (error_.ok()) error_ = page.status();
    return Fill();
  }
  count_->fetch_add(page->entries.size(), std::memory_order_relaxed);
  std::move(page->entries.begin(), page->entries.end(), std::back_inserter(found_));
  for (std::string& prefix : page->prefixes) tasks_.push_back({std::move(prefix), {}, true});
  const bool endless = found_.size() + tasks_.size() > max_objects_ || ++pages_ > max_objects_;
  if (endless && error_.ok()) {
    error_ = Status::NoSpace(task.prefix + " and what was listed with it has more than " +
                             std::to_string(max_objects_) + " objects; list a longer prefix");
  }
  if (!page->next.empty())
    tasks_.push_front({std::move(task.prefix), std::move(page->next), task.delimited});
  Fill();
}

}  // namespace holdfast::client
