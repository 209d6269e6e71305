// SPDX-License-Identifier: Apache-2.0
// Objects that were not planned: Client::Get and its like, and why they are sought where they are.
#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <utility>

#include "base/hash.h"
#include "base/range_name.h"
#include "base/uri.h"
#include "jobclient/client/parts.h"

namespace holdfast {
namespace {

using client::SingleRead;

constexpr size_t kGroup = 64;
constexpr size_t kPieces = 4;  // of a large object, under way at a time

// A read on its way from the loop to the user's thread.
struct Arrival {
  bool piece = false;  // of a large object
  size_t number = 0;   // of the piece or the item
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

// --- Many of them --------------------------------------------------------------------------------

// On the user's thread. What is in the own node's memory is given at once, all else is read on the
// loop, many at a time. What comes back as larger than a chunk is read once more, piece by piece, one
// such object at a time: beside its bytes there are never more than kPieces of them.
class Client::Gets {
 public:
  Gets(Client* client, std::span<const ObjectList::Item> items,
       const std::function<void(size_t, Result<Object>)>& each, const GetOptions& options)
      : client_(client),
        parts_(client->parts_.get()),
        items_(items),
        each_(each),
        timeout_(options.timeout),
        most_(std::max(options.in_flight, 1u)) {}

  void Run() {
    while (next_ < items_.size() || !large_.empty() || under_way_ > 0) {
      // In groups: to hand work to the loop costs a wake-up.
      if (under_way_ <= most_ / 2 || !group_.empty()) Fill();
      if (under_way_ > 0) Take(arrivals_.Next());
    }
  }

 private:
  struct Large {
    size_t index = 0;
    std::unique_ptr<std::string> uri{};  // which the cut refers to
    jobclient::Cut cut;
    uint64_t size = 0;
    Buffer bytes{};
    size_t begun = 0;      // pieces
    size_t under_way = 0;  // of them
    ObjectSource source = ObjectSource::kLocal;
    Status status{};
  };
  enum class As : uint8_t { kItem, kUncut, kPiece };

  void Fill();
  void BeginItem(size_t index);
  void BeginPieces();
  void BeginPiece(Large& large);
  void Add(As as, size_t number, std::string uri, std::optional<FarInfo> version);
  void Take(Arrival arrival);
  void TakeLarger(Arrival arrival);
  static void TakePiece(Large& large, size_t piece, const Result<Object>& part);
  void EndLarge();

  Client* client_;
  Client::Parts* parts_;
  std::span<const ObjectList::Item> items_;
  const std::function<void(size_t, Result<Object>)>& each_;
  Duration timeout_;
  size_t most_;
  Arrivals arrivals_;
  size_t next_ = 0;
  size_t under_way_ = 0;
  std::deque<Large> large_;  // of the first one pieces are under way
  std::vector<SingleRead::Wanted> group_;
};

void Client::Gets::Fill() {
  // What is here does not keep the others waiting for long.
  const size_t end = std::min(items_.size(), next_ + std::max<size_t>(most_, kGroup));
  if (!large_.empty()) BeginPieces();
  while (large_.empty() && next_ < end && under_way_ < most_) BeginItem(next_++);
  if (group_.empty()) return;
  parts_->thread->Post(
      [parts = parts_, timeout = timeout_, group = std::exchange(group_, {})]() mutable {
        parts->NoteChunk();
        SingleRead::Start(parts->world(), std::move(group), parts->loop->Now() + timeout);
      });
}

void Client::Gets::BeginItem(size_t index) {
  Result<std::string> uri = client_->Canonical(items_[index].uri);
  std::optional<FarInfo> version = VersionOf(items_[index]);
  Status right = uri.status();
  if (right.ok() && version) {
    right = jobclient::CheckRangeItem(
        {.uri = *uri, .etag = version->etag, .size = version->size, .has_size = true});
  }
  if (!right.ok()) return each_(index, right);
  if (std::optional<Object> local = parts_->ReadLocally(*uri, version)) {
    return each_(index, std::move(*local).WithOwnName());
  }
  Add(As::kItem, index, *std::move(uri), std::move(version));
}

void Client::Gets::Add(As as, size_t number, std::string uri, std::optional<FarInfo> version) {
  auto arrived = [this, as, number, uri](Result<SingleRead::Found> found) {
    arrivals_.Put({as == As::kPiece, number, uri, std::move(found)});
  };
  group_.push_back({.uri = std::move(uri),
                    .version = std::move(version),
                    .done = std::move(arrived),
                    .piece = as != As::kItem});
  ++under_way_;
}

void Client::Gets::Take(Arrival arrival) {
  --under_way_;
  if (arrival.found.ok() && arrival.found->larger) return TakeLarger(std::move(arrival));
  Result<Object> object = arrival.found.status();
  if (arrival.found.ok()) {
    object = Object(arrival.uri, 0, std::move(arrival.found->bytes), arrival.found->source)
                 .WithOwnName();
  }
  if (!arrival.piece) return each_(arrival.number, std::move(object));
  --large_.front().under_way;
  TakePiece(large_.front(), arrival.number, object);
}

// --- Of a large one ------------------------------------------------------------------------------

void Client::Gets::TakeLarger(Arrival arrival) {
  const FarInfo& version = *arrival.found->larger;
  auto uri = std::make_unique<std::string>(std::move(arrival.uri));
  std::optional<jobclient::Cut> cut =
      jobclient::Cut::Of(*uri, version.size, version.etag, arrival.found->chunk);
  if (!cut) return Add(As::kUncut, arrival.number, std::move(*uri), version);
  large_.push_back({.index = arrival.number,
                    .uri = std::move(uri),
                    .cut = *std::move(cut),
                    .size = version.size});
}

void Client::Gets::BeginPieces() {
  Large& large = large_.front();
  if (large.bytes.empty() && !large.bytes.TryResize(large.size)) {
    large.status = Status::NoSpace(*large.uri + ": its " + FormatBytes(large.size) +
                                   " do not fit into this process's memory");
  }
  while (large.status.ok() && large.begun < large.cut.count() && large.under_way < kPieces &&
         under_way_ < most_) {
    BeginPiece(large);
  }
  const bool all_begun = !large.status.ok() || large.begun == large.cut.count();
  if (all_begun && large.under_way == 0) EndLarge();
}

void Client::Gets::BeginPiece(Large& large) {
  const size_t piece = large.begun++;
  const FarInfo version{large.cut.At(piece).length, large.cut.etag()};
  const std::string name = large.cut.NameOf(piece);
  const VersionHash hash = HashVersion(version.etag, version.size);
  if (std::optional<Object> local = parts_->ReadLocal(name, 0, OidOf(name), hash))
    return TakePiece(large, piece, *std::move(local));
  ++large.under_way;
  Add(As::kPiece, piece, name, version);
}

// After the first error the others do not matter.
void Client::Gets::TakePiece(Large& large, size_t piece, const Result<Object>& part) {
  if (!large.status.ok()) return;
  large.status = part.status();
  if (!part.ok()) return;
  const ByteRange at = large.cut.At(piece);
  if (part->size() != at.length) {
    large.status = Status::Corrupt(large.cut.NameOf(piece) + " has " +
                                   std::to_string(part->size()) + " bytes");
    return;
  }
  std::memcpy(large.bytes.data() + at.offset, part->bytes().data(), at.length);
  large.source = client::FartherOf(large.source, part->source());
}

void Client::Gets::EndLarge() {
  Large large = std::move(large_.front());
  large_.pop_front();
  if (!large.status.ok()) return each_(large.index, large.status);
  each_(large.index, Object(*large.uri, 0, std::move(large.bytes), large.source).WithOwnName());
}

// --- The calls -----------------------------------------------------------------------------------

Result<Object> Client::Get(std::string_view name, Duration timeout) {
  return Get(ObjectList::Item{.uri = name, .etag = {}}, timeout);
}

Result<Object> Client::Get(const ObjectList::Item& item, Duration timeout) {
  Result<Object> got = Status::Unavailable("not read");
  GetMany({&item, 1}, [&](size_t, Result<Object> object) { got = std::move(object); },
          {.timeout = timeout});
  return got;
}

Result<Object> Client::GetRange(std::string_view name, uint64_t offset, uint64_t length,
                                Duration timeout) {
  const Result<std::string> range = RangeName(name, offset, length);
  if (!range.ok()) return range.status();
  return Get(*range, timeout);
}

void Client::GetMany(std::span<const ObjectList::Item> items,
                     const std::function<void(size_t, Result<Object>)>& each,
                     const GetOptions& options) {
  Gets(this, items, each, options).Run();
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
  if (parts_->ReadLocally(*uri, std::nullopt)) why.choice = Explanation::Choice::kOwnMemory;
  return why;
}

}  // namespace holdfast
