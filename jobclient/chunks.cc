// SPDX-License-Identifier: Apache-2.0
#include "jobclient/chunks.h"

#include <algorithm>

#include "base/units.h"

namespace holdfast::jobclient {
namespace {

// As lists and messages have them.
constexpr size_t kMaxName = 4096;
constexpr size_t kMaxEtag = 256;

}  // namespace

uint64_t ChunkBytes(uint64_t configured, uint64_t promised) {
  const uint64_t most = promised == 0 ? configured : std::min(configured, promised);
  return most / kChunkGrain * kChunkGrain;
}

// --- One object ----------------------------------------------------------------------------------

std::optional<Cut> Cut::Of(std::string_view uri, uint64_t size, std::string_view etag,
                           uint64_t chunk) {
  if (chunk == 0 || size <= chunk || size > kMaxRangeEnd) return std::nullopt;
  const std::optional<RangeName> range = ParseRangeName(uri);
  Cut cut;
  cut.whole_ = range ? range->whole : uri;
  cut.range_ = range ? range->range : ByteRange{0, size};
  cut.etag_ = range ? std::string(etag) : EtagOfRange(etag, size);
  cut.chunk_ = chunk;
  if (cut.range_.length != size) return std::nullopt;  // a list's mistake
  const bool fits = cut.etag_.size() <= kMaxEtag && cut.NameOf(cut.count() - 1).size() <= kMaxName;
  return fits ? std::optional(std::move(cut)) : std::nullopt;
}

ByteRange Cut::At(size_t n) const {
  const uint64_t begin = std::max(range_.offset, (FirstChunk() + n) * chunk_);
  const uint64_t end = std::min(range_.end(), (FirstChunk() + n + 1) * chunk_);
  return {begin - range_.offset, end - begin};
}

std::string Cut::NameOf(size_t n) const {
  const ByteRange at = At(n);
  return NameOfRange(whole_, {range_.offset + at.offset, at.length});
}

Status CheckRangeItem(const ObjectList::Item& item) {
  const std::optional<RangeName> name = ParseRangeName(item.uri);
  if (!name) return {};
  const std::optional<WholeVersion> version = ParseRangeEtag(item.etag);
  if (!version || version->size < name->range.end()) {
    return Status::Invalid(
        std::string(item.uri) +
        ": the ETag of a range is that of the whole, '#' and the whole's size, as in " +
        "5d41402a#1048576; leave both out of the list and they are looked up");
  }
  if (item.size != name->range.length) {
    return Status::Invalid(std::string(item.uri) + ": the list says " + std::to_string(item.size) +
                           " bytes, its name " + std::to_string(name->range.length));
  }
  return {};
}

// --- A list --------------------------------------------------------------------------------------

Result<ChunkedList> ChunkedList::Make(const ObjectList* whole, uint64_t chunk) {
  ChunkedList list(whole);
  for (size_t i = 0; i < whole->size(); ++i) {
    const ObjectList::Item item = whole->item(i);
    HF_RETURN_IF_ERROR(CheckRangeItem(item));
    if (Cut::Of(item.uri, item.size, item.etag, chunk)) ++list.cut_objects_;
  }
  if (list.cut_objects_ == 0) return list;
  list.first_.reserve(whole->size() + 1);
  for (size_t i = 0; i < whole->size(); ++i) {
    list.first_.push_back(static_cast<uint32_t>(list.pieces_.size()));
    Status added = list.Add(whole->item(i), chunk);
    if (!added.ok()) return added.Annotate("in chunks of " + FormatBytes(chunk));
  }
  list.first_.push_back(static_cast<uint32_t>(list.pieces_.size()));
  return list;
}

Status ChunkedList::Add(const ObjectList::Item& item, uint64_t chunk) {
  const std::optional<Cut> cut = Cut::Of(item.uri, item.size, item.etag, chunk);
  if (!cut) return pieces_.Add(item.uri, item.size, item.etag);
  for (size_t n = 0; n < cut->count(); ++n) {
    HF_RETURN_IF_ERROR(pieces_.Add(cut->NameOf(n), cut->At(n).length, cut->etag()));
  }
  return {};
}

std::vector<uint32_t> ChunkedList::OrderOf(std::span<const uint32_t> order) const {
  std::vector<uint32_t> pieces;
  pieces.reserve(order.size());
  for (const uint32_t position : order) {
    for (uint32_t piece = FirstOf(position); piece < FirstOf(position + size_t{1}); ++piece)
      pieces.push_back(piece);
  }
  return pieces;
}

}  // namespace holdfast::jobclient
