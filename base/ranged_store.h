// SPDX-License-Identifier: Apache-2.0
// A far store in front of another one that knows ranges of objects by their names (base/range_name.h).
// What is asked of a range is asked of the whole:
//
//   Get    those of its bytes, If-Match the whole's ETag; the whole has the size that was planned
//   Head   the whole's; the range's size is in its name, and its ETag is made of the whole's version
//
// All else goes to the store behind as it is. That one must not know any range by itself.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/env.h"
#include "base/range_name.h"

namespace holdfast {

// What a Head of a range says, by that of the whole. kInvalid where it goes past the end. `name` is a
// range's.
Result<FarInfo> InfoOfRange(std::string_view name, const FarInfo& whole);

class RangedStore : public FarStore {
 public:
  // Both outlive the store; callbacks of `real` must not run any more once it is gone.
  RangedStore(Clock* clock, FarStore* real) : clock_(clock), real_(real) {}

  // Beside what FarStore says: kInvalid for a range that goes past the end of an object whose version
  // was not given, and for an ETag that is no range's; kChanged where the whole is not as large as its
  // version says. Pieces of a range are kInvalid: nobody needs them.
  void Get(FarGet get, std::function<void(Status, FarInfo, uint64_t hash)> done) override;
  void Head(const std::string& uri, Time deadline,
            std::function<void(Result<FarInfo>)> done) override;
  void List(const std::string& prefix, const std::string& token, bool delimited, Time deadline,
            std::function<void(Result<FarPage>)> done) override {
    real_->List(prefix, token, delimited, deadline, std::move(done));
  }
  FarCounters Counters() const override { return real_->Counters(); }
  bool HasPlaces() const override { return real_->HasPlaces(); }
  std::optional<FarPlace> PlaceOf(const Oid& oid) const override { return real_->PlaceOf(oid); }

 private:
  using GetDone = std::function<void(Status, FarInfo, uint64_t hash)>;
  void GetPart(FarGet part, std::string name, ByteRange range, GetDone done);
  void GetPacked(FarGet part, std::string name, ByteRange range, GetDone done);
  void AskSize(std::string whole, Time deadline, std::string name, ByteRange range, Status why,
               GetDone done);

  Clock* clock_;
  FarStore* real_;
};

}  // namespace holdfast
