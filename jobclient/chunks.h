// SPDX-License-Identifier: Apache-2.0
// What is larger than a chunk is read in pieces that are objects themselves: ranges, cut along one grid
// from the beginning of the whole, so that all who cut by the same chunk have the same pieces in common
// (docs/decisions/0020-ranges-are-names.md). A range is cut like a whole, and shares its inner pieces.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/range_name.h"
#include "holdfast/object_list.h"

namespace holdfast::jobclient {

constexpr uint64_t kChunkGrain = 4 * 1024;

// The chunk of a cluster: a multiple of kChunkGrain, at most `configured`, and at most `promised`, the
// largest object that each of its nodes promises (0: nobody has said). 0: nothing is cut.
uint64_t ChunkBytes(uint64_t configured, uint64_t promised);

class Cut {
 public:
  // Nothing for what is not cut: it is no larger than a chunk (0: nothing is), or there is no room in
  // names or ETags for those of its pieces. A range has the ETag of a range. `uri` outlives the cut.
  static std::optional<Cut> Of(std::string_view uri, uint64_t size, std::string_view etag,
                               uint64_t chunk);

  size_t count() const {
    return static_cast<size_t>((range_.end() - 1) / chunk_ - FirstChunk() + 1);
  }
  // Where the bytes of piece `n` lie in what was cut.
  ByteRange At(size_t n) const;
  std::string NameOf(size_t n) const;
  const std::string& etag() const { return etag_; }  // of each

 private:
  uint64_t FirstChunk() const { return range_.offset / chunk_; }

  std::string_view whole_;
  ByteRange range_;  // of the whole
  std::string etag_;
  uint64_t chunk_ = 1;
};

// kInvalid where a list gives a range another size than its name does, or an ETag that is no range's.
// What is no range is right.
Status CheckRangeItem(const ObjectList::Item& item);

// A list, and the list of its pieces: what is planned and read.
class ChunkedList {
 public:
  // Every size is known. kInvalid as CheckRangeItem says, and for more pieces than a list can have. Only
  // a list of which something is cut is copied; `whole` outlives this.
  static Result<ChunkedList> Make(const ObjectList* whole, uint64_t chunk);

  const ObjectList& pieces() const { return first_.empty() ? *whole_ : pieces_; }
  // The pieces of `position` are those from its first to before the first of the next one.
  uint32_t FirstOf(size_t position) const {
    return first_.empty() ? static_cast<uint32_t>(position) : first_[position];
  }
  // Positions of pieces, in the order of `order`'s positions of objects.
  std::vector<uint32_t> OrderOf(std::span<const uint32_t> order) const;
  uint64_t cut_objects() const { return cut_objects_; }  // as often as the list names them

 private:
  explicit ChunkedList(const ObjectList* whole) : whole_(whole) {}
  Status Add(const ObjectList::Item& item, uint64_t chunk);

  const ObjectList* whole_;
  ObjectList pieces_;
  std::vector<uint32_t> first_;  // and where the last one ends; empty: nothing is cut
  uint64_t cut_objects_ = 0;
};

}  // namespace holdfast::jobclient
