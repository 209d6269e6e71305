// SPDX-License-Identifier: Apache-2.0
#include "jobclient/confirm_columns.h"

#include <algorithm>
#include <vector>

namespace holdfast::jobclient {
namespace {

// Far enough ahead to hide a miss of the last cache, near enough to stay in the first.
constexpr size_t kRowsAhead = 24;
constexpr size_t kTextsAhead = 12;

std::vector<uint32_t> PositionsOf(const JobList& list, const Bitmap& load, uint32_t first) {
  std::vector<uint32_t> positions;
  positions.reserve(load.Count());
  load.ForEach(
      [&](size_t i) { positions.push_back(list.PositionOf(first + static_cast<uint32_t>(i))); });
  return positions;
}

// Calls visit(n, item) for every position, with what comes later on its way into the cache.
template <typename Visit>
void ForEachItem(const ObjectList& list, const std::vector<uint32_t>& positions, Visit visit) {
  for (size_t n = 0; n < positions.size(); ++n) {
    if (n + kRowsAhead < positions.size()) list.PrefetchRow(positions[n + kRowsAhead]);
    if (n + kTextsAhead < positions.size()) list.PrefetchText(positions[n + kTextsAhead]);
    visit(n, list.item(positions[n]));
  }
}

std::byte* Append(std::byte* at, std::string_view text) {
  if (!text.empty()) std::memcpy(at, text.data(), text.size());
  return at + text.size();
}

}  // namespace

uint32_t NeedByMs(uint32_t rank, uint32_t read, double objects_per_s) {
  uint32_t ahead = rank > read ? rank - read : 0;
  if (objects_per_s <= 0) return ahead;
  return static_cast<uint32_t>(std::min(ahead * 1000.0 / objects_per_s, 4.0e9));
}

void FillLoadColumns(const JobList& list, const Bitmap& load, uint32_t read, double objects_per_s,
                     wire::Confirm* confirm) {
  const std::vector<uint32_t> positions = PositionsOf(list, load, confirm->first);
  const size_t n = positions.size();
  if (n == 0) return;
  confirm->name_ends = Buffer(4 * n);
  confirm->etag_ends = Buffer(4 * n);
  confirm->need_by = Buffer(4 * n);
  uint32_t name_end = 0;
  uint32_t etag_end = 0;
  ForEachItem(list.list(), positions, [&](size_t i, const ObjectList::Item& item) {
    name_end += static_cast<uint32_t>(item.uri.size());
    etag_end += static_cast<uint32_t>(item.etag.size());
    StoreAs(confirm->name_ends.data() + 4 * i, name_end);
    StoreAs(confirm->etag_ends.data() + 4 * i, etag_end);
  });
  confirm->names = Buffer(name_end);
  confirm->etags = Buffer(etag_end);
  std::byte* name = confirm->names.data();
  std::byte* etag = confirm->etags.data();
  ForEachItem(list.list(), positions, [&](size_t, const ObjectList::Item& item) {
    name = Append(name, item.uri);
    etag = Append(etag, item.etag);
  });
  size_t at = 0;
  load.ForEach([&](size_t i) {
    uint32_t rank = list.RankOf(confirm->first + static_cast<uint32_t>(i));
    StoreAs(confirm->need_by.data() + at, NeedByMs(rank, read, objects_per_s));
    at += 4;
  });
}

}  // namespace holdfast::jobclient
