// SPDX-License-Identifier: Apache-2.0
#include "cached/stream_catalogues.h"

#include <algorithm>
#include <utility>

namespace holdfast::cached {
namespace {

using wire::StreamWriterPhase;

constexpr uint64_t kCatalogueBytes = 1024;  // of one without entries, about
constexpr uint64_t kWriterBytes = 160;
constexpr size_t kEntriesPerReply = 4'096;

Status NoStream(const std::string& name, NodeId node) {
  return Status::NotFound("there is no stream " + (name.empty() ? "of that number" : name) +
                          " at node " + std::to_string(node) +
                          ": it was never opened, was removed or has expired");
}

}  // namespace

// --- One catalogue -------------------------------------------------------------------------------

uint64_t StreamCatalogue::records() const {
  uint64_t sum = 0;
  for (const auto& [id, writer] : writers) sum += writer.state.records;
  return sum;
}

uint64_t StreamCatalogue::bytes() const {
  uint64_t sum = 0;
  for (const auto& [id, writer] : writers) sum += writer.state.bytes;
  return sum;
}

uint32_t StreamCatalogue::InPhase(StreamWriterPhase phase) const {
  return static_cast<uint32_t>(std::count_if(writers.begin(), writers.end(), [&](const auto& w) {
    return w.second.state.phase == phase;
  }));
}

bool StreamCatalogue::complete() const {
  return InPhase(StreamWriterPhase::kWriting) == 0 && writers.size() >= terms.writers;
}

// --- Open ----------------------------------------------------------------------------------------

const StreamCatalogue* StreamCatalogues::Find(uint64_t stream, std::string_view name) const {
  if (stream == 0) {
    auto named = by_name_.find(name);
    if (named == by_name_.end()) return nullptr;
    stream = named->second;
  }
  auto it = catalogues_.find(stream);
  return it == catalogues_.end() ? nullptr : &it->second;
}

uint64_t StreamCatalogues::BytesOf(const StreamCatalogue& catalogue) const {
  return kCatalogueBytes + catalogue.entries.size() * sizeof(wire::StreamEntry) +
         catalogue.writers.size() * kWriterBytes;
}

Status StreamCatalogues::Create(const wire::StreamOpen& open) {
  HF_RETURN_IF_ERROR(wire::CheckStreamName(open.name));
  const wire::StreamTerms& terms = open.terms;
  if (terms.stream == 0 || terms.writers == 0 || terms.writers > wire::kMaxStreamWriters ||
      terms.copies == 0 || terms.copies > wire::kMaxStreamCopies ||
      terms.expires_in <= Duration(0)) {
    return Status::Invalid("a stream has 1 to " + std::to_string(wire::kMaxStreamWriters) +
                           " writers, one or two copies, and an expiration");
  }
  if (catalogues_.size() == kMaxStreams || bytes_ + kCatalogueBytes > max_bytes_) {
    return Status::NoSpace("node " + std::to_string(context_->options.node) +
                           " keeps as many catalogues of streams as it may; remove some, or raise "
                           "memory.planning");
  }
  StreamCatalogue& catalogue = catalogues_[terms.stream];
  catalogue.name = open.name;
  catalogue.terms = terms;
  catalogue.expires = context_->Now() + std::min(terms.expires_in, context_->options.max_hold);
  by_name_[open.name] = terms.stream;
  bytes_ += BytesOf(catalogue);
  return {};
}

Status StreamCatalogues::Join(StreamCatalogue* catalogue, const wire::StreamOpen& open) {
  if (open.writer == 0 || catalogue->writers.contains(open.writer)) return {};
  if (catalogue->writers.size() == wire::kMaxStreamWriters || bytes_ + kWriterBytes > max_bytes_) {
    return Status::NoSpace("the stream " + catalogue->name + " has had " +
                           std::to_string(catalogue->writers.size()) + " writers, no more fit");
  }
  catalogue->writers[open.writer] = {
      .state = {.writer = open.writer},
      .lease_ends = context_->Now() + std::min(open.lease, kMaxLease)};
  bytes_ += kWriterBytes;
  return {};
}

wire::StreamReply StreamCatalogues::Open(const wire::StreamOpen& open) {
  auto refuse = [&](Status status) {
    return wire::StreamReply{.id = open.id, .status = std::move(status), .name = open.name};
  };
  const StreamCatalogue* found = Find(0, open.name);
  if (found != nullptr && open.terms.stream != 0 && found->terms.stream != open.terms.stream) {
    return refuse(Status::Invalid("a stream " + open.name + " is open already, with " +
                                  FormatCount(found->records()) +
                                  " records; join it, remove it, or choose another name"));
  }
  if (found == nullptr) {
    if (!open.create) return refuse(NoStream(open.name, context_->options.node));
    Status created = Create(open);
    if (!created.ok()) return refuse(std::move(created));
    found = Find(0, open.name);
  }
  StreamCatalogue* catalogue = &catalogues_.at(found->terms.stream);
  Status joined = Join(catalogue, open);
  if (!joined.ok()) return refuse(std::move(joined));
  return ReplyFor(open.id, *catalogue, catalogue->entries.size());
}

// --- Query ---------------------------------------------------------------------------------------

wire::StreamReply StreamCatalogues::Query(const wire::StreamQuery& query) const {
  const StreamCatalogue* found = Find(query.stream, query.name);
  if (found == nullptr) {
    return {
        .id = query.id, .status = NoStream(query.name, context_->options.node), .name = query.name};
  }
  return ReplyFor(query.id, *found, query.after);
}

wire::StreamReply StreamCatalogues::ReplyFor(uint64_t id, const StreamCatalogue& catalogue,
                                             uint64_t after) const {
  const size_t first = std::min<uint64_t>(after, catalogue.entries.size());
  const size_t count = std::min(catalogue.entries.size() - first, kEntriesPerReply);
  std::vector<wire::StreamWriterState> writers;
  for (const auto& [number, writer] : catalogue.writers) writers.push_back(writer.state);
  wire::StreamReply reply{
      .id = id,
      .name = catalogue.name,
      .terms = catalogue.terms,
      .first = first,
      .total = catalogue.entries.size(),
      .entries = wire::RowsOf(std::span(catalogue.entries).subspan(first, count)),
      .writers = wire::RowsOf(std::span<const wire::StreamWriterState>(writers))};
  reply.terms.expires_in = catalogue.expires - context_->Now();
  return reply;
}

// --- Append --------------------------------------------------------------------------------------

wire::StreamAppended StreamCatalogues::Append(const wire::StreamAppend& append) {
  wire::StreamAppended reply{.id = append.id, .status = {}};
  auto it = catalogues_.find(append.stream);
  if (it == catalogues_.end()) {
    reply.status = NoStream("", context_->options.node);
    return reply;
  }
  auto writer = it->second.writers.find(append.writer);
  if (writer == it->second.writers.end()) {
    reply.status = Status::NotFound("the stream " + it->second.name + " has no such writer");
    return reply;
  }
  reply.status = Take(&it->second, &writer->second, append);
  reply.next = writer->second.state.chunks;
  reply.ended = writer->second.state.phase == StreamWriterPhase::kEnded;
  return reply;
}

Status StreamCatalogues::Take(StreamCatalogue* catalogue, StreamCatalogue::Writer* writer,
                              const wire::StreamAppend& append) {
  wire::StreamWriterState& state = writer->state;
  if (state.phase == StreamWriterPhase::kGone) {
    return Status::Timeout("this writer of " + catalogue->name +
                           " was not heard of for longer than its lease: it counts as gone");
  }
  if (state.phase == StreamWriterPhase::kEnded) return {};
  writer->lease_ends = context_->Now() + std::min(append.lease, kMaxLease);
  for (const wire::StreamEntry& entry : wire::RowsIn<wire::StreamEntry>(append.entries)) {
    if (entry.number < state.chunks) continue;   // known
    if (entry.number > state.chunks) return {};  // what is before it comes again
    if (bytes_ + sizeof(entry) > max_bytes_) {
      return Status::NoSpace("the catalogues of streams take " + FormatBytes(bytes_) + " on node " +
                             std::to_string(context_->options.node) +
                             ", no more fit; raise memory.planning");
    }
    catalogue->entries.push_back(entry);
    bytes_ += sizeof(entry);
    ++state.chunks;
    state.bytes += entry.bytes;
    state.records += entry.piece == 0 ? entry.records : 0;
  }
  const uint64_t last = append.first + append.entries.size() / sizeof(wire::StreamEntry);
  if (append.ended && last == state.chunks) state.phase = StreamWriterPhase::kEnded;
  return {};
}

// --- Ends ----------------------------------------------------------------------------------------

uint64_t StreamCatalogues::Drop(uint64_t stream, std::string_view name) {
  const StreamCatalogue* found = Find(stream, name);
  if (found == nullptr) return 0;
  const uint64_t number = found->terms.stream;
  bytes_ -= BytesOf(*found);
  by_name_.erase(found->name);
  catalogues_.erase(number);
  return number;
}

void StreamCatalogues::Expire() {
  const Time now = context_->Now();
  std::vector<uint64_t> over;
  for (auto& [stream, catalogue] : catalogues_) {
    if (catalogue.expires <= now) over.push_back(stream);
    for (auto& [id, writer] : catalogue.writers) {
      const bool gone =
          writer.state.phase == StreamWriterPhase::kWriting && writer.lease_ends <= now;
      if (gone) writer.state.phase = StreamWriterPhase::kGone;
    }
  }
  for (uint64_t stream : over) Drop(stream, {});
}

}  // namespace holdfast::cached
