// SPDX-License-Identifier: Apache-2.0
#include "bench/evict_traces.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <functional>
#include <numeric>
#include <string_view>
#include <unordered_map>

#include "base/units.h"
#include "bench/zipf.h"

namespace holdfast::bench {
namespace {

constexpr double kSmallest = 1'000, kLargest = 10'000'000;
constexpr uint32_t kUniformBytes = 100'000;
// A set of 200,000 objects is asked for by 10^6 requests.
constexpr uint32_t kRequestsPerObject = 5;

void FindNext(Trace* trace) {
  std::vector<uint32_t> next(trace->sizes.size(), Trace::kNever);
  trace->next.resize(trace->requests.size());
  for (size_t i = trace->requests.size(); i-- > 0;) {
    trace->next[i] = std::exchange(next[trace->requests[i]], static_cast<uint32_t>(i));
  }
}

template <typename Number>
bool Parse(std::string_view text, Number* number) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\r')) text.remove_suffix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
  return error == std::errc() && end == text.data() + text.size();
}

// What makes a trace: it appends `count` requests for objects [0, n), or for fresh ones from n on.
using Load = std::function<void(Random*, uint32_t n, uint32_t count, std::vector<uint32_t>*)>;

// A share of the requests is for objects that nobody asks for again.
Load Skewed(double exponent, double fresh) {
  return [=](Random* random, uint32_t n, uint32_t count, std::vector<uint32_t>* to) {
    const Zipf zipf(n, exponent);
    for (uint32_t i = 0, next = n; i < count; ++i) {
      to->push_back(random->Chance(fresh) ? next++ : zipf.Draw(random));
    }
  };
}

// Now and then a job reads a twentieth of all objects in order, as fast as all others together.
Load Scans() {
  return [](Random* random, uint32_t n, uint32_t count, std::vector<uint32_t>* to) {
    const Zipf zipf(n, 0.9);
    const uint32_t scan = n / 20;
    uint32_t left = 0, at = 0;
    for (uint32_t i = 0; i < count; ++i) {
      if (left == 0 && random->Below(count / 15) == 0) {
        left = scan;
        at = static_cast<uint32_t>(random->Below(n));
      }
      const bool scans = left > 0 && random->Chance(0.5);
      to->push_back(scans ? at++ % n : zipf.Draw(random));
      if (scans) --left;
    }
  };
}

// A job reads its list again and again, each time in another order.
Load Epochs() {
  return [](Random* random, uint32_t n, uint32_t count, std::vector<uint32_t>* to) {
    std::vector<uint32_t> order(n / 2);
    std::iota(order.begin(), order.end(), 0);
    while (to->size() < count) {
      random->Shuffle(order);
      to->insert(to->end(), order.begin(), order.end());
    }
    to->resize(count);
  };
}

// Popular objects fall out of use, one at a time: within a sixth of the trace each rank has another one.
Load Shifting() {
  return [](Random* random, uint32_t n, uint32_t count, std::vector<uint32_t>* to) {
    const uint32_t ranks = n / 4;
    const Zipf zipf(ranks, 0.9);
    std::vector<uint32_t> object(ranks);
    std::iota(object.begin(), object.end(), 0);
    uint32_t next = ranks;
    for (uint32_t i = 0; i < count; ++i) {
      if (random->Below(count / 6) < ranks) object[random->Below(ranks)] = next++;
      to->push_back(object[zipf.Draw(random)]);
    }
  };
}

void MakeSizes(Random* random, bool uniform, Trace* trace) {
  trace->sizes.resize(*std::max_element(trace->requests.begin(), trace->requests.end()) + 1);
  for (uint32_t& size : trace->sizes) {
    const double mixed = kSmallest * std::pow(kLargest / kSmallest, random->Unit());
    size = uniform ? kUniformBytes : static_cast<uint32_t>(mixed);
  }
}

}  // namespace

uint64_t Trace::FootprintBytes() const {
  return std::accumulate(sizes.begin(), sizes.end(), uint64_t{0});
}

void ScaleDown(Trace* trace, uint32_t by) {
  for (uint32_t& size : trace->sizes) size = (size + by - 1) / by;
}

Result<Trace> ReadTrace(const std::string& path) {
  std::ifstream file(path);
  if (!file) return Status::NotFound("cannot open the trace " + path);
  Trace trace;
  trace.name = path;
  trace.skewed = true;
  std::unordered_map<std::string, uint32_t> numbers;
  std::string line;
  for (uint64_t number = 1; std::getline(file, line); ++number) {
    if (line.empty() || line[0] == '#') continue;
    const size_t first = line.find(','), second = line.find(',', first + 1);
    double time = 0;
    uint32_t size = 0;
    if (second == std::string::npos || !Parse(std::string_view(line).substr(0, first), &time) ||
        !Parse(std::string_view(line).substr(second + 1), &size)) {
      if (number == 1) continue;
      return Status::Invalid(path + ", line " + std::to_string(number) +
                             ": expected time,object,size with a size below 4 GiB");
    }
    const auto [it, added] = numbers.emplace(line.substr(first + 1, second - first - 1),
                                             static_cast<uint32_t>(numbers.size()));
    if (added) trace.sizes.push_back(std::max(size, 1u));
    trace.requests.push_back(it->second);
  }
  if (trace.requests.empty()) return Status::Invalid("no requests in the trace " + path);
  FindNext(&trace);
  return trace;
}

std::vector<Trace> MakeTraces(uint32_t requests) {
  struct Kind {
    const char* name;
    bool skewed;
    bool quick_mixed, quick_uniform;
    Load load;
  };
  const std::vector<Kind> kinds = {{"zipf 0.7", true, true, false, Skewed(0.7, 0.1)},
                                   {"zipf 0.9", true, false, false, Skewed(0.9, 0.2)},
                                   {"zipf 1.1", true, true, false, Skewed(1.1, 0.3)},
                                   {"scans", true, false, false, Scans()},
                                   {"shifting", true, false, true, Shifting()},
                                   {"epochs", false, false, false, Epochs()}};
  std::vector<Trace> traces;
  for (const bool uniform : {false, true}) {
    for (const Kind& kind : kinds) {
      Random random(traces.size() + 1);
      Trace trace;
      trace.name = std::string(kind.name) + (uniform ? ", one size" : ", mixed");
      trace.skewed = kind.skewed;
      trace.quick = uniform ? kind.quick_uniform : kind.quick_mixed;
      kind.load(&random, requests / kRequestsPerObject, requests, &trace.requests);
      MakeSizes(&random, uniform, &trace);
      FindNext(&trace);
      traces.push_back(std::move(trace));
    }
  }
  return traces;
}

}  // namespace holdfast::bench
