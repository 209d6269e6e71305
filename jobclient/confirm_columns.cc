// SPDX-License-Identifier: Apache-2.0
#include "jobclient/confirm_columns.h"

#include <algorithm>
#include <vector>

namespace holdfast::jobclient {
namespace {

// Far enough ahead to hide a miss of the last cache, near enough to stay in the first.
constexpr size_t kAhead = 16;

void Prefetch(std::string_view text) {
  __builtin_prefetch(text.data());
  __builtin_prefetch(text.data() + text.size());
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
  const size_t count = load.Count();
  if (count == 0) return;
  std::vector<ObjectList::Place> places;
  places.reserve(count);
  confirm->name_ends = Buffer(4 * count);
  confirm->etag_ends = Buffer(4 * count);
  confirm->need_by = Buffer(4 * count);
  uint32_t name_end = 0;
  uint32_t etag_end = 0;
  load.ForEach([&](size_t i) {
    const uint32_t index = confirm->first + static_cast<uint32_t>(i);
    const size_t at = 4 * places.size();
    places.push_back(list.PlaceOf(index));
    name_end += places.back().uri_bytes;
    etag_end += places.back().etag_bytes;
    StoreAs(confirm->name_ends.data() + at, name_end);
    StoreAs(confirm->etag_ends.data() + at, etag_end);
    StoreAs(confirm->need_by.data() + at, NeedByMs(list.RankOf(index), read, objects_per_s));
  });
  confirm->names = Buffer(name_end);
  confirm->etags = Buffer(etag_end);
  std::byte* name = confirm->names.data();
  std::byte* etag = confirm->etags.data();
  for (size_t n = 0; n < count; ++n) {
    if (n + kAhead < count) {
      Prefetch(list.list().uri(places[n + kAhead]));
      Prefetch(list.list().etag(places[n + kAhead]));
    }
    name = Append(name, list.list().uri(places[n]));
    etag = Append(etag, list.list().etag(places[n]));
  }
}

}  // namespace holdfast::jobclient
