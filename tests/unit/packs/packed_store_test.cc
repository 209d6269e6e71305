// SPDX-License-Identifier: Apache-2.0
#include "packs/packed_store.h"

#include "base/ranged_store.h"
#include "packs/pack_format.h"
#include "tests/unit/packs/packed_fixture.h"

namespace holdfast::packs {
namespace {

class PackedStoreTest : public PackedFixture {
 protected:
  void SetUp() override {
    ASSERT_TRUE(Pack().ok());
    Open();
  }
  // The index is on its way when this returns.
  void Open(ReadPrices prices = {.per_gb = 0}) {
    clock_.RunAll();
    far_.Forget();
    log_.lines.clear();
    store_ = std::make_unique<PackedStore>(
        &clock_, &far_, &log_,
        PackedStore::Options{.sets = {kDest}, .prices = prices, .max_index_bytes = kMiB});
    store_->Start();
  }

  struct Got {
    Status status = Status::Timeout("never called back");
    FarInfo info;
    uint64_t hash = 0;
    std::string bytes;
  };
  // In the versions that are there.
  std::vector<Got> Read(const std::vector<int>& numbers, bool with_version = true) {
    std::vector<Got> got(numbers.size());
    for (size_t i = 0; i < numbers.size(); ++i) {
      const std::string uri = UriOf(numbers[i]);
      FarGet get;
      get.uri = uri;
      get.length = BytesOf(numbers[i]).size();
      if (with_version) get.etag = etags_.at(uri);
      got[i].bytes.resize(get.length);
      get.into = std::as_writable_bytes(std::span(got[i].bytes));
      store_->Get(std::move(get), [&got, i](Status status, FarInfo info, uint64_t hash) {
        got[i].status = std::move(status);
        got[i].info = std::move(info);
        got[i].hash = hash;
      });
    }
    clock_.RunAll();
    return got;
  }
  void ExpectRight(const std::vector<int>& numbers, const std::vector<Got>& got) {
    for (size_t i = 0; i < numbers.size(); ++i) {
      ASSERT_TRUE(got[i].status.ok()) << got[i].status.ToString();
      EXPECT_EQ(got[i].bytes, BytesOf(numbers[i]));
      EXPECT_EQ(got[i].hash, Hash64(AsBytes(got[i].bytes)));
      EXPECT_EQ(got[i].info.etag, etags_.at(UriOf(numbers[i])));
    }
  }
  static std::vector<int> All() {
    std::vector<int> all;
    for (int n = 0; n < kObjects; ++n) all.push_back((n * 77) % kObjects);
    return all;
  }
  std::map<std::string, std::string> EtagsNow() const {
    std::map<std::string, std::string> etags;
    for (int n = 0; n < kObjects; ++n) {
      if (far_.objects.contains(UriOf(n))) etags[UriOf(n)] = far_.InfoOf(UriOf(n)).etag;
    }
    return etags;
  }
  std::string PackOf(int n) {
    const PackIndex index = Index();
    return kDest + PackFileName(index.packs()[index.Find(OidOf(UriOf(n)))->pack].name);
  }
  uint64_t PackGets() const {
    uint64_t n = 0;
    for (const auto& [uri, count] : far_.gets) n += uri.ends_with(".pack") ? count : 0;
    return n;
  }
  uint64_t SourceGets() const { return far_.all_gets() - PackGets() - 1; }  // 1: the index

  std::map<std::string, std::string> etags_ = EtagsNow();
  std::unique_ptr<PackedStore> store_;
};

TEST_F(PackedStoreTest, AWholeListCostsOneRequestForEachPack) {
  const std::vector<int> all = All();
  far_.expires_s = 9;
  const std::vector<Got> got = Read(all);
  ExpectRight(all, got);
  EXPECT_EQ(SourceGets(), 0u);
  EXPECT_EQ(PackGets(), Index().packs().size());
  uint64_t requests = 0;
  for (const Got& g : got) {
    requests += g.info.requests;
    EXPECT_EQ(g.info.expires_s, 9u) << "it ends with its pack";
  }
  EXPECT_EQ(requests, PackGets()) << "what is reported is what was spent";
}

TEST_F(PackedStoreTest, WhereBytesAreDearGapsAreNotRead) {
  Open({.per_1000_gets = 0, .per_gb = 1'000'000, .per_hour = 0});
  std::vector<int> some;
  uint64_t wanted = 0;
  for (int n = 0; n < kObjects; n += 5) {
    some.push_back(n);
    wanted += BytesOf(n).size();
  }
  ExpectRight(some, Read(some));
  uint64_t index_bytes = far_.objects[std::string(kDest) + "index"].bytes.size();
  EXPECT_EQ(far_.get_bytes - index_bytes, wanted);
}

TEST_F(PackedStoreTest, WhoeverAsksForAnyVersionGetsThePackedOne) {
  ExpectRight({3, 4}, Read({3, 4}, false));
  std::optional<Result<FarInfo>> info;
  store_->Head(UriOf(3), Time::Max(), [&](Result<FarInfo> i) { info.emplace(std::move(i)); });
  clock_.RunAll();
  ASSERT_TRUE(info.has_value() && info->ok());
  EXPECT_EQ((*info)->etag, etags_.at(UriOf(3)));
  EXPECT_EQ((*info)->size, BytesOf(3).size());
  EXPECT_EQ(far_.heads, 1u) << "of the index";
}

TEST_F(PackedStoreTest, AnotherVersionIsReadAtTheSource) {
  std::string changed = BytesOf(3);
  changed[0] ^= 1;
  far_.Set(UriOf(3), changed);
  etags_ = EtagsNow();
  const std::vector<Got> got = Read({3, 4});
  ASSERT_TRUE(got[0].status.ok()) << got[0].status.ToString();
  EXPECT_EQ(got[0].bytes, changed);
  EXPECT_EQ(far_.gets[UriOf(3)], 1u);
  EXPECT_EQ(far_.gets.count(UriOf(4)), 0u);
}

TEST_F(PackedStoreTest, DamagedBytesAreReadAtTheSourceAndSaid) {
  std::string& pack = far_.objects[PackOf(3)].bytes;
  const size_t at = pack.find(BytesOf(3));
  ASSERT_NE(at, std::string::npos);
  pack[at] ^= 1;
  const std::vector<int> all = All();
  ExpectRight(all, Read(all));
  EXPECT_EQ(SourceGets(), 1u) << "only the damaged one";
  ASSERT_EQ(log_.lines.size(), 1u);
  EXPECT_NE(log_.lines[0].find(PackOf(3)), std::string::npos) << log_.lines[0];
  EXPECT_NE(log_.lines[0].find(UriOf(3)), std::string::npos) << log_.lines[0];
}

TEST_F(PackedStoreTest, OfACutPackOnlyWhatIsMissingIsReadAtTheSource) {
  std::string& pack = far_.objects[PackOf(3)].bytes;
  pack.resize(pack.size() / 2);
  const std::vector<int> all = All();
  ExpectRight(all, Read(all));
  EXPECT_GT(SourceGets(), 0u);
  EXPECT_LT(SourceGets(), 20u);
  EXPECT_EQ(log_.lines.size(), 1u);
}

TEST_F(PackedStoreTest, APackThatIsGoneIsLeftAloneForAWhile) {
  const std::string pack = PackOf(3);
  far_.objects.erase(pack);
  ExpectRight({3}, Read({3}));
  EXPECT_EQ(far_.gets[pack], 1u);
  ExpectRight({3}, Read({3}));
  EXPECT_EQ(far_.gets[pack], 1u) << "it is not asked for again at once";
  EXPECT_EQ(far_.gets[UriOf(3)], 2u);
}

TEST_F(PackedStoreTest, ASetThatWasPackedAgainIsLoadedAgain) {
  ExpectRight({3}, Read({3}));
  const std::string old_pack = PackOf(3);
  std::string changed = BytesOf(3);
  changed[0] ^= 1;
  far_.Set(UriOf(3), changed);
  ASSERT_TRUE(Pack().ok());
  far_.objects.erase(old_pack);
  etags_ = EtagsNow();
  clock_.Pass(PackedSet::kRest);
  // A neighbour that has not changed shows that its pack is gone.
  const PackIndex index = Index();
  const uint32_t pack = index.Find(OidOf(UriOf(3)))->pack;
  int neighbour = 0;
  while (neighbour == 3 || BytesOf(neighbour).empty() ||
         index.Find(OidOf(UriOf(neighbour)))->pack != pack)
    ++neighbour;
  ExpectRight({neighbour}, Read({neighbour}));
  ExpectRight({neighbour}, Read({neighbour}));  // and has the index loaded
  far_.Forget();
  const std::vector<Got> got = Read({3});
  ASSERT_TRUE(got[0].status.ok()) << got[0].status.ToString();
  EXPECT_EQ(got[0].bytes, changed);
  EXPECT_EQ(PackGets(), 1u);
}

TEST_F(PackedStoreTest, WithADamagedIndexEverythingIsReadAtTheSource) {
  far_.objects[std::string(kDest) + "index"].bytes[70] ^= 1;
  Open();
  const std::vector<int> all = All();
  ExpectRight(all, Read(all));
  EXPECT_EQ(PackGets(), 0u);
  ASSERT_EQ(log_.lines.size(), 1u);
  EXPECT_NE(log_.lines[0].find("packs/index"), std::string::npos) << log_.lines[0];
  EXPECT_NE(log_.lines[0].find("damaged"), std::string::npos) << log_.lines[0];
}

TEST_F(PackedStoreTest, AnIndexThatIsNotThereYetIsFoundLater) {
  const FakeFar::Object index = far_.objects[std::string(kDest) + "index"];
  far_.objects.erase(std::string(kDest) + "index");
  Open();
  ExpectRight({3}, Read({3}));
  EXPECT_EQ(far_.gets[UriOf(3)], 1u);
  far_.objects[std::string(kDest) + "index"] = index;
  clock_.Pass(PackedSet::kRest);
  ExpectRight({3}, Read({3}));
  ExpectRight({4}, Read({4}));
  EXPECT_EQ(far_.gets.count(UriOf(4)), 0u);
}

TEST_F(PackedStoreTest, WhatIsNeitherInItsPackNorAtItsSourceIsAnErrorThatNamesBoth) {
  const std::string pack = PackOf(3);
  far_.objects.erase(pack);
  far_.objects.erase(UriOf(3));
  const std::vector<Got> got = Read({3});
  EXPECT_EQ(got[0].status.code(), Code::kNotFound);
  EXPECT_NE(got[0].status.message().find(UriOf(3)), std::string::npos);
  EXPECT_NE(got[0].status.message().find(pack), std::string::npos);
}

TEST_F(PackedStoreTest, WithoutTheSourcePacksAreEnough) {
  for (int n = 0; n < kObjects; ++n) far_.objects.erase(UriOf(n));
  const std::vector<int> all = All();
  ExpectRight(all, Read(all));
}

// --- Ranges --------------------------------------------------------------------------------------

TEST_F(PackedStoreTest, ARangeIsCutOutOfThePackAndChecked) {
  far_.objects.erase(UriOf(3));
  RangedStore ranged(&clock_, store_.get());
  const std::string name = NameOfRange(UriOf(3), {10, 20});
  for (const bool with_version : {true, false}) {
    far_.Forget();
    Got got;
    got.bytes.resize(20);
    FarGet get;
    get.uri = name;
    get.length = 20;
    get.whole = with_version;
    get.into = std::as_writable_bytes(std::span(got.bytes));
    if (with_version) get.etag = EtagOfRange(etags_.at(UriOf(3)), BytesOf(3).size());
    ranged.Get(std::move(get), [&](Status status, FarInfo info, uint64_t hash) {
      got.status = std::move(status);
      got.info = std::move(info);
      got.hash = hash;
    });
    clock_.RunAll();
    ASSERT_TRUE(got.status.ok()) << got.status.ToString();
    EXPECT_EQ(got.bytes, BytesOf(3).substr(10, 20));
    EXPECT_EQ(got.hash, Hash64(AsBytes(got.bytes)));
    EXPECT_EQ(got.info.etag, EtagOfRange(etags_.at(UriOf(3)), BytesOf(3).size()));
    EXPECT_EQ(PackGets(), 1u);
  }
}

TEST_F(PackedStoreTest, ARangeOfDamagedBytesIsReadAtTheSource) {
  std::string& pack = far_.objects[PackOf(3)].bytes;
  pack[pack.find(BytesOf(3))] ^= 1;  // not one of those that are wanted
  RangedStore ranged(&clock_, store_.get());
  std::string bytes(20, ' ');
  std::optional<Status> ended;
  ranged.Get({.uri = NameOfRange(UriOf(3), {10, 20}),
              .etag = EtagOfRange(etags_.at(UriOf(3)), BytesOf(3).size()),
              .length = 20,
              .into = std::as_writable_bytes(std::span(bytes))},
             [&](const Status& status, const FarInfo&, uint64_t) { ended = status; });
  clock_.RunAll();
  ASSERT_TRUE(ended && ended->ok());
  EXPECT_EQ(bytes, BytesOf(3).substr(10, 20));
  EXPECT_EQ(far_.gets[UriOf(3)], 1u);
}

TEST_F(PackedStoreTest, PlacesAreThoseOfThePacks) {
  clock_.RunAll();
  std::map<uint64_t, std::set<uint64_t>> groups;
  for (int n = 0; n < kObjects; ++n) {
    const auto place = store_->PlaceOf(OidOf(UriOf(n)));
    ASSERT_TRUE(place.has_value());
    groups[place->group].insert(place->offset);
  }
  EXPECT_EQ(groups.size(), Index().packs().size());
  EXPECT_FALSE(store_->PlaceOf(OidOf("s3+http://far/b/other")).has_value());
}

}  // namespace
}  // namespace holdfast::packs
