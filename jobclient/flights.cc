// SPDX-License-Identifier: Apache-2.0
#include "jobclient/flights.h"

#include <utility>

namespace holdfast::jobclient {

uint64_t Flights::Add(const void* owner, std::vector<Buffer> buffers, Landed landed) {
  const size_t items = buffers.size();
  HF_CHECK(items > 0);
  flights_.emplace(
      next_, Flight{owner, std::move(buffers), std::vector<bool>(items), items, std::move(landed)});
  return next_++;
}

ByteSpan Flights::Room(uint64_t flight, size_t item) {
  return flights_.at(flight).buffers[item].span();
}

void Flights::Land(uint64_t flight, size_t item, BulkOutcome outcome) {
  auto it = flights_.find(flight);
  if (it == flights_.end()) return;
  Flight& f = it->second;
  if (item >= f.buffers.size() || f.landed_items[item]) return;
  f.landed_items[item] = true;
  Buffer bytes = std::move(f.buffers[item]);
  Landed last;  // the callback may start new flights or end the reader: the map is left first
  if (--f.left == 0) {
    last = std::move(f.landed);
    flights_.erase(it);
    if (last) last(item, std::move(outcome), std::move(bytes));
  } else if (f.landed) {
    f.landed(item, std::move(outcome), std::move(bytes));
  }
}

void Flights::Orphan(const void* owner) {
  for (auto& [id, flight] : flights_) {
    if (flight.owner == owner) flight.landed = nullptr;
  }
}

}  // namespace holdfast::jobclient
