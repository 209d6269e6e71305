// SPDX-License-Identifier: Apache-2.0
// A far store in front of another one that knows packed data sets: objects keep their names, and
// come out of packs, many with one request. A Get that asks for one:
//
//   1. Get     its place is looked up; it waits for those that are asked for within kGather
//   2. Flush   sorted by place, neighbours become one request while the gap costs less than another
//   3. Landed  each object's bytes went where they belong; those with the index's hash are done
//   4. Instead for whatever went wrong the original is read
//
// A part of an object is cut out of the whole, which can be checked, if its version is named. Until the
// indices are there, or cannot be had, everything waits. What no index has, or only in another version,
// goes to the store behind.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/env.h"
#include "packs/merge.h"
#include "packs/packed_set.h"

namespace holdfast::packs {

class PackedStore : public FarStore {
 public:
  static constexpr Duration kGather = 1ms;
  static constexpr uint64_t kMaxRange = 32 * kMiB;

  struct Options {
    std::vector<std::string>
        sets;  // canonical prefixes that end in '/'; the first that has it wins
    ReadPrices prices;
    uint64_t max_index_bytes = 0;  // of each
  };

  // All outlive the store; callbacks of `real` must not run any more once it is gone.
  PackedStore(Clock* clock, FarStore* real, Log* log, Options options);
  // Begins to load the indices.
  void Start();
  // Runs `done` when each index is there or was given up.
  void WhenReady(std::function<void()> done);

  void Get(FarGet get, std::function<void(Status, FarInfo, uint64_t hash)> done) override;
  // By the index: the version that was packed, without a request.
  void Head(const std::string& uri, Time deadline,
            std::function<void(Result<FarInfo>)> done) override;
  void List(const std::string& prefix, const std::string& token, bool delimited, Time deadline,
            std::function<void(Result<FarPage>)> done) override;
  FarCounters Counters() const override { return real_->Counters(); }
  bool HasPlaces() const override { return !sets_.empty(); }
  std::optional<FarPlace> PlaceOf(const Oid& oid) const override;

  uint64_t max_gap() const { return max_gap_; }

 private:
  using GetDone = std::function<void(Status, FarInfo, uint64_t hash)>;
  struct Place {
    PackedSet* set = nullptr;
    std::shared_ptr<const PackIndex> index;
    PackIndex::Entry entry;
    const PackIndex::Pack& pack() const { return index->packs()[entry.pack]; }
  };
  struct Waiting {
    Place place;
    FarGet get;
    GetDone done;
    Buffer whole{};  // for a part of it: only all of its bytes can be checked
  };
  // One request.
  struct Flight {
    std::vector<Waiting> objects;
    std::vector<FarPiece> pieces;  // of each
  };

  std::optional<Place> Find(const Oid& oid) const;
  std::optional<Place> PlaceFor(const FarGet& get) const;
  void LoadWhatIsDue();
  void Locate(FarGet get, GetDone done);
  void Flush();
  void Send(std::vector<Waiting> objects, uint64_t offset, uint64_t size);
  void Landed(Flight& flight, const Status& status, uint32_t expires_s);
  static uint64_t CutOut(const Waiting& object);
  void Instead(Waiting object, const Status& why);

  Clock* clock_;
  FarStore* real_;
  Log* log_;
  uint64_t max_gap_;
  std::vector<std::unique_ptr<PackedSet>> sets_;
  size_t first_loads_ = 0;                      // that are not over
  std::vector<std::function<void()>> waiting_;  // for those
  std::vector<Waiting> gathered_;
  bool flush_scheduled_ = false;
};

}  // namespace holdfast::packs
