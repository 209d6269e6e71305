// SPDX-License-Identifier: Apache-2.0
// A far store in memory that counts what it is asked for, and a clock that runs as fast as it can.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/env.h"
#include "base/hash.h"
#include "base/uri.h"

namespace holdfast::packs {

class FakeClock : public Clock {
 public:
  Time Now() const override { return now_; }
  WallTime Wall() const override { return {}; }
  void At(Time when, std::function<void()> run) override {
    timers_.emplace(std::pair(std::max(when, now_), ++sequence_), std::move(run));
  }
  // Until nothing is left to do.
  void RunAll() {
    while (!timers_.empty()) {
      auto node = timers_.extract(timers_.begin());
      now_ = node.key().first;
      node.mapped()();
    }
  }
  void Pass(Duration time) { now_ = now_ + time; }

 private:
  Time now_{1'000'000};
  uint64_t sequence_ = 0;
  std::map<std::pair<Time, uint64_t>, std::function<void()>> timers_;
};

class FakeLog : public Log {
 public:
  void Write(LogLevel level, std::string_view line) override {
    if (level != LogLevel::kInfo) lines.emplace_back(line);
  }
  std::vector<std::string> lines;
};

class FakeFar : public FarStore, public FarWriter {
 public:
  explicit FakeFar(Clock* clock) : clock_(clock) {}

  struct Object {
    std::string bytes;
    std::string etag;
  };
  void Set(const std::string& uri, std::string bytes) {
    std::string etag = "v" + std::to_string(++version_);
    objects[uri] = {std::move(bytes), std::move(etag)};
  }
  FarInfo InfoOf(const std::string& uri) const {
    const Object& object = objects.at(uri);
    return {object.bytes.size(), object.etag, 1, expires_s};
  }

  void Get(FarGet get, std::function<void(Status, FarInfo, uint64_t)> done) override {
    ++gets[get.uri];
    get_bytes += get.length;
    if (on_get) on_get(get.uri);
    clock_->At(clock_->Now() + kLatency, [this, get, done] {
      const auto [status, hash] = Read(get);
      done(status, status.ok() ? InfoOf(get.uri) : FarInfo{}, hash);
    });
  }
  void Head(const std::string& uri, Time, std::function<void(Result<FarInfo>)> done) override {
    ++heads;
    clock_->At(clock_->Now() + kLatency, [this, uri, done] {
      if (!objects.contains(uri)) return done(Status::NotFound(uri + ": does not exist"));
      done(InfoOf(uri));
    });
  }
  void List(const std::string& prefix, const std::string& token, bool, Time,
            std::function<void(Result<FarPage>)> done) override {
    constexpr size_t kPage = 3;
    FarPage page;
    for (auto it = objects.upper_bound(std::max(prefix, token)); it != objects.end(); ++it) {
      if (!it->first.starts_with(prefix)) break;
      if (page.entries.size() == kPage) {
        page.next = page.entries.back().uri;
        break;
      }
      page.entries.push_back({it->first, InfoOf(it->first)});
    }
    clock_->At(clock_->Now() + kLatency, [page, done] { done(page); });
  }
  void Put(FarPut put, std::function<void(Result<FarInfo>)> done) override {
    clock_->At(clock_->Now() + kLatency, [this, put, done] {
      if (puts_allowed == 0) return done(Status::Denied(put.uri + ": may not be written"));
      --puts_allowed;
      ++puts[put.uri];
      Set(put.uri, std::string(AsText(put.bytes)));
      if (spoil_puts) objects[put.uri].bytes[0] ^= 1;
      done(InfoOf(put.uri));
    });
  }
  FarCounters Counters() const override { return {}; }
  uint64_t all_gets() const {
    uint64_t n = 0;
    for (const auto& [uri, count] : gets) n += count;
    return n;
  }
  void Forget() {
    gets.clear();
    puts.clear();
    heads = get_bytes = 0;
  }

  static constexpr Duration kLatency = 10ms;
  std::map<std::string, Object> objects;
  std::map<std::string, uint64_t> gets, puts;
  uint64_t heads = 0;
  uint64_t get_bytes = 0;  // asked for
  uint32_t expires_s = 0;  // of all objects
  uint64_t puts_allowed = UINT64_MAX;
  bool spoil_puts = false;
  std::set<std::string> refused;  // reading them is kUnavailable
  std::function<void(const std::string& uri)> on_get;

 private:
  std::pair<Status, uint64_t> Read(const FarGet& get) const {
    if (refused.contains(get.uri)) return {Status::Unavailable(get.uri + ": HTTP 503"), 0};
    const auto it = objects.find(get.uri);
    if (it == objects.end()) return {Status::NotFound(get.uri + ": does not exist"), 0};
    const ByteView bytes = AsBytes(it->second.bytes);
    if (!get.etag.empty() && get.etag != it->second.etag)
      return {Status::Changed(get.uri + ": has changed"), 0};
    if (get.whole && get.length != bytes.size())
      return {Status::Changed(get.uri + ": has another size"), 0};
    if (get.pieces != nullptr) {
      for (FarPiece& piece : *get.pieces) {
        piece.filled = piece.offset + piece.into.size() <= bytes.size();
        if (!piece.filled) continue;
        Copy(bytes.subspan(piece.offset, piece.into.size()), piece.into);
        piece.hash = Hash64(piece.into);
      }
      return {{}, 0};
    }
    if (get.offset > 0 && get.offset >= bytes.size())
      return {Status::Changed(get.uri + ": has fewer bytes than were planned"), 0};
    const uint64_t end = get.whole ? get.length : get.offset + get.length;
    const ByteView part =
        bytes.subspan(get.offset, std::min<uint64_t>(end, bytes.size()) - get.offset);
    Copy(part, get.into.subspan(get.whole ? get.offset : 0));
    const ByteView before = get.whole ? ByteView(get.into).first(get.offset) : get.before;
    Hasher64 hasher;
    hasher.Update(before);
    hasher.Update(part);
    return {{}, hasher.Digest()};
  }
  static void Copy(ByteView from, ByteSpan to) {
    if (!from.empty()) std::memcpy(to.data(), from.data(), from.size());
  }

  Clock* clock_;
  uint64_t version_ = 0;
};

inline std::string UriOf(int n) { return "s3+http://far/b/src/" + std::to_string(n); }
// Of 0 to 999 bytes, all different.
inline std::string BytesOf(int n) {
  std::string bytes(static_cast<size_t>(n * 37 % 1'000), ' ');
  for (size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<char>(Mix64(static_cast<uint64_t>(n) * 1'000 + i));
  return bytes;
}
inline constexpr char kDest[] = "s3+http://far/b/packs/";

}  // namespace holdfast::packs
