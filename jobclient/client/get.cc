// SPDX-License-Identifier: Apache-2.0
// Objects that were not planned: Client::Get and its like, and why they are sought where they are.
#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>

#include "base/hash.h"
#include "base/uri.h"
#include "jobclient/client/parts.h"

namespace holdfast {
namespace {

using client::SingleRead;

constexpr size_t kGroup = 64;

// A read on its way from the loop to the user's thread.
struct Arrival {
  size_t index = 0;
  std::string uri;
  Result<SingleRead::Found> found;
};

class Arrivals {
 public:
  void Put(Arrival arrival) {
    std::lock_guard lock(mutex_);
    arrived_.push_back(std::move(arrival));
    came_.notify_one();
  }
  Arrival Next() {
    std::unique_lock lock(mutex_);
    came_.wait(lock, [this] { return !arrived_.empty(); });
    Arrival arrival = std::move(arrived_.front());
    arrived_.pop_front();
    return arrival;
  }

 private:
  std::mutex mutex_;
  std::condition_variable came_;
  std::deque<Arrival> arrived_;
};

std::optional<FarInfo> VersionOf(const ObjectList::Item& item) {
  if (!item.has_size || item.etag.empty()) return std::nullopt;
  return FarInfo{item.size, std::string(item.etag)};
}

}  // namespace

Result<Object> Client::Get(std::string_view name, Duration timeout) {
  return Get(ObjectList::Item{.uri = name, .etag = {}}, timeout);
}

Result<Object> Client::Get(const ObjectList::Item& item, Duration timeout) {
  Result<Object> got = Status::Unavailable("not read");
  GetMany({&item, 1}, [&](size_t, Result<Object> object) { got = std::move(object); },
          {.timeout = timeout});
  return got;
}

void Client::GetMany(std::span<const ObjectList::Item> items,
                     const std::function<void(size_t, Result<Object>)>& each,
                     const GetOptions& options) {
  const size_t most = std::max(options.in_flight, 1u);
  Arrivals arrivals;
  size_t next = 0;
  size_t under_way = 0;
  while (next < items.size() || under_way > 0) {
    // In groups: to hand work to the loop costs a wake-up.
    if (next < items.size() && under_way <= most / 2) {
      std::vector<SingleRead::Wanted> group;
      // What is here does not keep the others waiting for long.
      const size_t end = std::min(items.size(), next + std::max<size_t>(most, kGroup));
      for (; next < end && under_way + group.size() < most; ++next) {
        Result<std::string> uri = Canonical(items[next].uri);
        if (!uri.ok()) {
          each(next, uri.status());
          continue;
        }
        std::optional<FarInfo> version = VersionOf(items[next]);
        const VersionHash hash = version ? HashVersion(version->etag, version->size) : 0;
        if (std::optional<Object> local = parts_->ReadLocal(*uri, 0, OidOf(*uri), hash)) {
          each(next, std::move(*local).WithOwnName());
          continue;
        }
        auto arrived = [&arrivals, index = next, uri = *uri](Result<SingleRead::Found> found) {
          arrivals.Put({index, uri, std::move(found)});
        };
        group.push_back({*std::move(uri), std::move(version), std::move(arrived)});
      }
      under_way += group.size();
      parts_->thread->Post([this, timeout = options.timeout, group = std::move(group)]() mutable {
        SingleRead::Start(parts_->world(), std::move(group), parts_->loop->Now() + timeout);
      });
    }
    if (under_way == 0) continue;
    Arrival arrival = arrivals.Next();
    --under_way;
    if (!arrival.found.ok()) {
      each(arrival.index, arrival.found.status());
      continue;
    }
    each(arrival.index,
         Object(arrival.uri, 0, std::move(arrival.found->bytes), arrival.found->source)
             .WithOwnName());
  }
}

// --- Why -----------------------------------------------------------------------------------------

const char* NameOf(Explanation::Choice choice) {
  switch (choice) {
    case Explanation::Choice::kOwnMemory:
      return "own memory";
    case Explanation::Choice::kUnknown:
      return "unknown";
    case Explanation::Choice::kFar:
      return "far";
    case Explanation::Choice::kLook:
      return "look";
    case Explanation::Choice::kHome:
      return "home";
    case Explanation::Choice::kRace:
      return "race";
  }
  return "";
}

Result<Explanation> Client::Explain(std::string_view name) {
  Result<std::string> uri = Canonical(name);
  if (!uri.ok()) return uri.status();
  Explanation why{.uri = *uri, .oid = OidOf(*uri)};
  client::Promised<bool> done;
  parts_->thread->Post([&] {
    parts_->cluster->WhomToAsk(why.oid, [&](std::vector<NodeId> nodes) {
      parts_->whereabouts->WhenReady([&, home = nodes.empty() ? kNoNode : nodes.front()] {
        parts_->whereabouts->Explain(home, &why);
        done.Set(true);
      });
    });
  });
  done.Wait();
  if (parts_->ReadLocal(*uri, 0, why.oid, 0)) why.choice = Explanation::Choice::kOwnMemory;
  return why;
}

}  // namespace holdfast
