// SPDX-License-Identifier: Apache-2.0
#include "jobclient/ordered_reader.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "jobclient/flights.h"

namespace holdfast::jobclient {
namespace {

enum class Step : uint8_t { kAwaitLocal, kPromised, kOwnDisk, kHome, kFar };

Step After(Step step) { return static_cast<Step>(static_cast<uint8_t>(step) + 1); }

}  // namespace

struct OrderedReader::Parts {
  // One ordinal from its start until the user has taken it.
  struct Item {
    uint32_t index = 0;
    Step step = Step::kPromised;
    NodeId node = kNoNode;  // that is asked now
    uint64_t reserved = 0;  // bytes of the look-ahead
    bool under_way = false;
    bool missed = false;  // the user waits for it
    bool waited_locally = false;
    Buffer bytes;  // between two steps
  };
  struct Target {
    NodeId node;
    Step step;
    friend auto operator<=>(const Target&, const Target&) = default;
  };

  Parts(const Env& e, Job* j, const ObjectList* l, std::vector<uint32_t> o,
        OrderedReaderOptions opts)
      : env(e), job(j), list(l), order(std::move(o)), options(opts) {}

  // The window: what may be started is started, once enough of it is free to make batches worth
  // while.
  void Advance();
  bool Fits(uint64_t bytes) const;
  bool WorthAdvancing() const;
  void StartItem(uint64_t ordinal, Item item);
  void NoteMiss(uint64_t ordinal);
  void AskAhead();

  // An item's way: the first step from `item.step` on for which there is somebody to ask.
  void Go(uint64_t ordinal, Item& item);
  NodeId NodeFor(const Item& item) const;
  void Flush();
  void FlushTarget(const Target& target, std::vector<uint64_t> ordinals);
  void GoFar(uint64_t ordinal, Item& item);

  // What came back.
  void Landed(uint64_t ordinal, Step step, NodeId node, BulkOutcome outcome, Buffer bytes);
  bool IsPlanned(const Item& item, const BulkOutcome& outcome) const;
  void FarLanded(uint64_t ordinal, Status status, Buffer bytes);
  void Blame(NodeId node, const Item& item, const BulkOutcome& outcome);
  void Deliver(uint64_t ordinal, Item& item, ReadResult result);

  Env env;
  Job* job;
  const ObjectList* list;
  std::vector<uint32_t> order;
  OrderedReaderOptions options;
  std::function<bool(uint32_t)> expect_local;
  std::function<void(uint64_t, ReadResult)> ready;

  uint64_t consumed = 0;
  uint64_t next = 0;  // ordinals below were started, or left to the own node's memory
  uint64_t reserved_bytes = 0;
  // The own node has some of what it promised on its disk, or has yet to load it: ask ahead.
  bool ask_ahead = false;
  uint64_t in_memory = 0;  // answers since that was known
  std::optional<uint64_t> last_miss{};
  std::map<uint64_t, Item> items;
  std::map<Target, std::vector<uint64_t>> batches;  // to be sent at the end of this event
  ReadCounters counters;
};

OrderedReader::OrderedReader(const Env& env, Job* job, const ObjectList* list,
                             std::vector<uint32_t> order, OrderedReaderOptions options,
                             std::function<bool(uint32_t index)> expect_local,
                             std::function<void(uint64_t ordinal, ReadResult result)> ready)
    : parts_(std::make_unique<Parts>(env, job, list, std::move(order), options)) {
  for (uint32_t position : parts_->order) HF_CHECK(position < list->size());
  HF_CHECK(options.look_ahead_objects > 0 && options.batch_objects > 0);
  parts_->expect_local = std::move(expect_local);
  parts_->ready = std::move(ready);
}

OrderedReader::~OrderedReader() { parts_->job->flights().Orphan(parts_.get()); }

void OrderedReader::Start() { parts_->Advance(); }

ReadCounters OrderedReader::Counters() const { return parts_->counters; }

void OrderedReader::Consumed(uint64_t ordinal) {
  Parts& p = *parts_;
  ordinal = std::min<uint64_t>(ordinal, p.order.size());
  for (; p.consumed < ordinal; ++p.consumed) {
    if (p.options.last_pass) p.job->MarkRead(p.job->IndexOf(p.order[p.consumed]));
  }
  // What is still under way was given up by the user: it keeps its room until it lands.
  for (auto it = p.items.begin(); it != p.items.end() && it->first < p.consumed;) {
    if (it->second.under_way) {
      ++it;
      continue;
    }
    p.reserved_bytes -= it->second.reserved;
    it = p.items.erase(it);
  }
  if (p.WorthAdvancing()) p.Advance();
}

void OrderedReader::Missed(uint64_t ordinal) {
  Parts& p = *parts_;
  if (ordinal < p.consumed || ordinal >= p.order.size()) return;
  auto it = p.items.find(ordinal);
  if (it == p.items.end()) {
    const uint32_t index = p.job->IndexOf(p.order[ordinal]);
    const bool own = p.expect_local(index);
    p.StartItem(ordinal, {.index = index,
                          .step = own ? Step::kAwaitLocal : Step::kPromised,
                          .node = kNoNode,
                          .reserved = 0,
                          .under_way = false,
                          .missed = true,
                          .waited_locally = false,
                          .bytes = {}});
  } else if (it->second.under_way) {
    it->second.missed = true;
  } else if (it->second.waited_locally) {
    it->second.waited_locally = false;
    it->second.step = Step::kPromised;
    p.Go(ordinal, it->second);
  }
  p.Flush();
}

// --- The window ----------------------------------------------------------------------------------

bool OrderedReader::Parts::Fits(uint64_t bytes) const {
  return reserved_bytes == 0 ||
         (bytes <= options.look_ahead_bytes && reserved_bytes <= options.look_ahead_bytes - bytes);
}

bool OrderedReader::Parts::WorthAdvancing() const {
  if (next >= order.size()) return false;
  const uint64_t ahead = next - std::min(next, consumed);
  const uint64_t quarter = std::max<uint64_t>(options.look_ahead_objects / 4, 1);
  return ahead + quarter <= options.look_ahead_objects &&
         reserved_bytes <= options.look_ahead_bytes / 4 * 3;
}

void OrderedReader::Parts::Advance() {
  next = std::max(next, consumed);
  while (next < order.size() && next < consumed + options.look_ahead_objects) {
    const uint64_t ordinal = next;
    const uint32_t index = job->IndexOf(order[ordinal]);
    const bool local = expect_local(index);
    if ((!local || ask_ahead) && !items.contains(ordinal)) {
      const uint64_t bytes = job->manifest().object_bytes(index);
      if (!Fits(bytes)) break;
      if (local) reserved_bytes += bytes;
      StartItem(ordinal, {.index = index,
                          .step = local ? Step::kAwaitLocal : Step::kPromised,
                          .node = kNoNode,
                          .reserved = local ? bytes : 0,
                          .under_way = false,
                          .missed = false,
                          .waited_locally = false,
                          .bytes = {}});
    }
    ++next;
  }
  Flush();
}

void OrderedReader::Parts::StartItem(uint64_t ordinal, Item item) {
  Item& stored = items.emplace(ordinal, std::move(item)).first->second;
  Go(ordinal, stored);
}

// One may be late. A second one soon after it tells that others are not in memory either, and each
// of them would be waited for by itself.
void OrderedReader::Parts::NoteMiss(uint64_t ordinal) {
  const bool again = last_miss && ordinal <= *last_miss + options.look_ahead_objects;
  last_miss = ordinal;
  if (again) AskAhead();
}

void OrderedReader::Parts::AskAhead() {
  in_memory = 0;
  if (!std::exchange(ask_ahead, true)) next = consumed;
  Advance();
}

// --- One object's way ----------------------------------------------------------------------------

NodeId OrderedReader::Parts::NodeFor(const Item& item) const {
  switch (item.step) {
    case Step::kAwaitLocal:
      return job->NodeOf(item.index) == job->reader() ? job->reader() : kNoNode;
    case Step::kPromised:
      return job->NodeOf(item.index);
    case Step::kOwnDisk:
      // Where it is another step's node it looks there by that.
      if (!options.own_disk || job->NodeOf(item.index) == job->reader() ||
          job->FetcherOf(item.index) == job->reader()) {
        return kNoNode;
      }
      return job->reader();
    case Step::kHome:
      return job->FetcherOf(item.index);
    case Step::kFar:
      break;
  }
  return kNoNode;
}

void OrderedReader::Parts::Go(uint64_t ordinal, Item& item) {
  item.under_way = true;
  for (; item.step != Step::kFar; item.step = After(item.step)) {
    item.node = NodeFor(item);
    if (item.node != kNoNode && job->BulkEndpoint(item.node) != nullptr) break;
  }
  if (item.step != Step::kAwaitLocal && item.bytes.empty()) {
    const uint64_t bytes = job->manifest().object_bytes(item.index);
    reserved_bytes += bytes - item.reserved;  // who asked ahead has reserved them
    item.reserved = bytes;
    if (!item.bytes.TryResize(item.reserved)) {
      return Deliver(ordinal, item,
                     {.status = Status::NoSpace("its " + FormatBytes(item.reserved) +
                                                " do not fit into this process's memory"),
                      .bytes = {},
                      .local = false,
                      .source = Source::kFar});
    }
  }
  if (item.step == Step::kFar) return GoFar(ordinal, item);
  batches[{item.node, item.step}].push_back(ordinal);
}

void OrderedReader::Parts::Flush() {
  while (!batches.empty()) {
    auto first = batches.extract(batches.begin());
    const std::vector<uint64_t>& all = first.mapped();
    for (size_t begin = 0; begin < all.size(); begin += options.batch_objects) {
      size_t end = std::min<size_t>(all.size(), begin + options.batch_objects);
      FlushTarget(first.key(), {all.begin() + static_cast<ptrdiff_t>(begin),
                                all.begin() + static_cast<ptrdiff_t>(end)});
    }
  }
}

void OrderedReader::Parts::FlushTarget(const Target& target, std::vector<uint64_t> ordinals) {
  const std::string* endpoint = job->BulkEndpoint(target.node);
  if (endpoint == nullptr) {  // it went away in this very event
    for (uint64_t ordinal : ordinals) Go(ordinal, items.at(ordinal));
    return;
  }
  std::vector<Buffer> buffers;
  for (uint64_t ordinal : ordinals) buffers.push_back(std::move(items.at(ordinal).bytes));
  const size_t count = ordinals.size();
  Flights& flights = job->flights();
  const uint64_t flight = flights.Add(
      this, std::move(buffers),
      [this, target, asked = ordinals](size_t n, BulkOutcome outcome, Buffer bytes) {
        Landed(asked[n], target.step, target.node, std::move(outcome), std::move(bytes));
        Flush();
      });
  const planner::Manifest& manifest = job->manifest();
  const bool fetch = target.step == Step::kHome;
  std::vector<BulkItem> wanted;
  wanted.reserve(count);
  for (size_t n = 0; n < count; ++n) {
    const uint32_t index = items.at(ordinals[n]).index;
    ObjectList::Item name = list->item(order[ordinals[n]]);
    wanted.push_back({.oid = manifest.oid(index),
                      .version = manifest.version(index),
                      .size = manifest.object_bytes(index),
                      .name = fetch ? std::string(name.uri) : std::string(),
                      .etag = fetch ? std::string(name.etag) : std::string(),
                      .into = flights.Room(flight, n)});
  }
  env.network->BulkRead(*endpoint, fetch ? BulkMode::kFetch : BulkMode::kWait, std::move(wanted),
                        env.clock->Now() + options.wait,
                        [&flights, flight](size_t n, BulkOutcome outcome) {
                          flights.Land(flight, n, std::move(outcome));
                        });
}

void OrderedReader::Parts::GoFar(uint64_t ordinal, Item& item) {
  const ObjectList::Item name = list->item(order[ordinal]);
  std::vector<Buffer> buffers;
  buffers.push_back(std::move(item.bytes));
  Flights& flights = job->flights();
  const uint64_t flight = flights.Add(
      this, std::move(buffers), [this, ordinal](size_t, BulkOutcome outcome, Buffer bytes) {
        FarLanded(ordinal, std::move(outcome.status), std::move(bytes));
        Flush();
      });
  env.far->Get({.uri = std::string(name.uri),
                .etag = std::string(name.etag),
                .offset = 0,
                .length = job->manifest().object_bytes(item.index),
                .whole = true,
                .into = flights.Room(flight, 0),
                .deadline = env.clock->Now() + options.far_deadline},
               [&flights, flight](Status status, const FarInfo&, uint64_t hash) {
                 flights.Land(flight, 0,
                              {.status = std::move(status), .version = 0, .size = 0, .hash = hash});
               });
}

// --- What came back ------------------------------------------------------------------------------

bool OrderedReader::Parts::IsPlanned(const Item& item, const BulkOutcome& outcome) const {
  return outcome.version == job->manifest().version(item.index) &&
         outcome.size == job->manifest().object_bytes(item.index);
}

void OrderedReader::Parts::Landed(uint64_t ordinal, Step step, NodeId node, BulkOutcome outcome,
                                  Buffer bytes) {
  Item& item = items.at(ordinal);
  if (step == Step::kAwaitLocal) {
    // No room was given, so that the answer carries no bytes: kNoSpace with the right size means
    // that it is there.
    if (ordinal < consumed)  // it came another way meanwhile
      return Deliver(ordinal, item,
                     {.status = {}, .bytes = {}, .local = true, .source = Source::kLocal});
    if (outcome.own_disk) {  // with room it is read there
      item.step = Step::kPromised;
      Go(ordinal, item);
      return AskAhead();
    }
    const bool there = (outcome.status.code() == Code::kNoSpace || outcome.status.ok()) &&
                       outcome.size == job->manifest().object_bytes(item.index);
    if (there) {
      item.waited_locally = true;
      reserved_bytes -= std::exchange(item.reserved, 0);
      if (++in_memory > options.look_ahead_objects) ask_ahead = false;
      const bool missed = item.missed;
      Deliver(ordinal, item, {.status = {}, .bytes = {}, .local = true, .source = Source::kLocal});
      if (missed) NoteMiss(ordinal);
      return;
    }
    if (outcome.status.code() == Code::kTimeout && !item.missed) {  // nobody waits for it yet
      item.under_way = false;
      item.waited_locally = true;
      reserved_bytes -= std::exchange(item.reserved, 0);
      return;
    }
    Blame(node, item, outcome);
    item.step = Step::kHome;  // who promised it has just said no
    return Go(ordinal, item);
  }
  if (outcome.status.ok() && IsPlanned(item, outcome)) {
    Source source = outcome.own_disk      ? Source::kOwnDisk
                    : step == Step::kHome ? Source::kThroughHome
                                          : Source::kPeer;
    return Deliver(ordinal, item,
                   {.status = {}, .bytes = std::move(bytes), .local = false, .source = source});
  }
  if (step == Step::kPromised) Blame(node, item, outcome);
  const bool asked = step == Step::kHome || step == Step::kOwnDisk;
  if (asked && !outcome.answered && outcome.status.code() == Code::kUnavailable)
    job->NodeFailed(node, outcome.status.ToString());
  if (step != Step::kOwnDisk) ++counters.detours;
  item.bytes = std::move(bytes);
  item.step = After(step);
  Go(ordinal, item);
}

// What a node answers is about the object, and often the far store's word: only a node that does
// not answer is away.
void OrderedReader::Parts::Blame(NodeId node, const Item& item, const BulkOutcome& outcome) {
  const Code code = outcome.status.code();
  if (code == Code::kTimeout) return;  // late, and may still come: only this read goes another way
  if (!outcome.answered && (code == Code::kUnavailable || code == Code::kDenied))
    return job->NodeFailed(node, outcome.status.ToString());
  job->PromiseBroken(node, item.index);
}

void OrderedReader::Parts::FarLanded(uint64_t ordinal, Status status, Buffer bytes) {
  Item& item = items.at(ordinal);
  ReadResult result{
      .status = std::move(status), .bytes = {}, .local = false, .source = Source::kFar};
  if (result.status.ok()) result.bytes = std::move(bytes);
  Deliver(ordinal, item, std::move(result));
}

void OrderedReader::Parts::Deliver(uint64_t ordinal, Item& item, ReadResult result) {
  item.under_way = false;
  if (ordinal < consumed) {  // the user went on without it
    reserved_bytes -= item.reserved;
    items.erase(ordinal);
    if (WorthAdvancing()) Advance();
    return;
  }
  if (!result.status.ok()) {
    ++counters.failed;
  } else if (!result.local) {
    const auto source = static_cast<size_t>(result.source);
    ++counters.objects[source];
    counters.bytes[source] += result.bytes.size();
  }
  ready(ordinal, std::move(result));
}

}  // namespace holdfast::jobclient
