// SPDX-License-Identifier: Apache-2.0
// The messages of spill-over.
#include <gtest/gtest.h>

#include "tests/unit/wire/codec_checks.h"
#include "tests/unit/wire/samples.h"

namespace holdfast::wire {
namespace {

TEST(SpillCodec, FieldsSurvive) {
  SpillOffer offer = RoundTrip(SpillOffer{1, 2, 3});
  EXPECT_EQ(offer.id, 1u);
  EXPECT_EQ(offer.bytes, 2u);
  EXPECT_EQ(offer.objects, 3u);
  SpillBid bid = RoundTrip(SpillBid{1, 2, true});
  EXPECT_EQ(bid.id, 1u);
  EXPECT_EQ(bid.bytes, 2u);
  EXPECT_TRUE(bid.on_disk);
  SpillGive got = RoundTrip(FullGive()), want = FullGive();
  EXPECT_EQ(got.id, 1u);
  EXPECT_TRUE(SameBytes(got.oids, want.oids));
  EXPECT_TRUE(SameBytes(got.versions, want.versions));
  EXPECT_TRUE(SameBytes(got.sizes, want.sizes));
  EXPECT_TRUE(SameBytes(got.ages, want.ages));
  EXPECT_TRUE(SameBytes(got.name_ends, want.name_ends));
  EXPECT_TRUE(SameBytes(got.names, want.names));
  EXPECT_TRUE(SameBytes(got.etag_ends, want.etag_ends));
  EXPECT_TRUE(SameBytes(got.etags, want.etags));
  SpillTaken taken = RoundTrip(SpillTaken{1, 2, 3, 4, 5});
  EXPECT_EQ(taken.objects, 2u);
  EXPECT_EQ(taken.bytes, 3u);
  EXPECT_EQ(taken.guest_bytes, 4u);
  EXPECT_EQ(taken.guest_disk_bytes, 5u);
  Lodged lodged = RoundTrip(Lodged{ColumnOf<uint64_t>({1, 2}), ColumnOf<uint64_t>({3})});
  EXPECT_EQ(ColumnView<uint64_t>(lodged.oids.view())[1], 2u);
  EXPECT_EQ(ColumnView<uint64_t>(lodged.versions.view())[0], 3u);
}

TEST(SpillCodec, AGiveWhoseColumnsDoNotFitIsCorrupt) {
  SpillGive give = FullGive();
  give.sizes = ColumnOf<uint64_t>({7});
  ExpectCorrupt(Refused(std::move(give)), "sizes");
  give = FullGive();
  give.ages = ColumnOf<uint32_t>({7, 8, 9});
  ExpectCorrupt(Refused(std::move(give)), "ages");
  give = FullGive();
  give.name_ends = ColumnOf<uint32_t>({9, 17});
  ExpectCorrupt(Refused(std::move(give)), "name_ends");
  give = FullGive();
  give.etag_ends = ColumnOf<uint32_t>({4});
  ExpectCorrupt(Refused(std::move(give)), "etag_ends");
  ExpectCorrupt(Refused(Lodged{ColumnOf<uint64_t>({1, 2}), {}}), "versions");
}

}  // namespace
}  // namespace holdfast::wire
