// SPDX-License-Identifier: Apache-2.0
#include "jobclient/client/stream_placing.h"

#include <gtest/gtest.h>

#include <vector>

namespace holdfast::client {
namespace {

const Time kNow{1'000'000};
const std::vector<NodeId> kAll{1, 2, 3};

TEST(StreamPlacing, OwnMemoryOwnDiskPeersMemoryPeersDisk) {
  StreamPlacing placing(2, 100, 100);
  const Status full = Status::NoSpace("full");
  auto next = [&] { return placing.Next(kAll, kNoNode, 10, kNow); };
  const StreamTarget order[] = {{2, false}, {2, true}, {1, false},
                                {3, false}, {1, true}, {3, true}};
  for (const StreamTarget& target : order) {
    EXPECT_EQ(next(), target);
    placing.Refused(target, full, kNow);
  }
  EXPECT_FALSE(next().has_value());
  EXPECT_NE(placing.Why().find("node 3, disk: full"), std::string::npos) << placing.Why();
  EXPECT_EQ(placing.Next(kAll, kNoNode, 10, kNow + StreamPlacing::kAskAgain),
            (StreamTarget{2, false}));
}

TEST(StreamPlacing, ThePeerWithTheMostRoomLeft) {
  StreamPlacing placing(kNoNode, 100, 0);
  placing.SetRoom({1, false}, 50);
  placing.SetRoom({2, false}, 70);
  placing.SetRoom({3, false}, 60);
  EXPECT_EQ(placing.Next(kAll, kNoNode, 10, kNow)->node, 2);
  EXPECT_EQ(placing.Next(kAll, 2, 10, kNow)->node, 3);  // the second copy is elsewhere
  EXPECT_EQ(placing.Next(std::vector<NodeId>{1}, kNoNode, 10, kNow)->node, 1);
  placing.Failed(2, Status::Timeout("silent"), kNow);
  EXPECT_EQ(placing.Next(kAll, kNoNode, 10, kNow)->node, 3);
  EXPECT_EQ(placing.Next(kAll, kNoNode, 10, kNow + StreamPlacing::kTryAgain)->node, 2);
}

TEST(StreamPlacing, NoMoreIsSentThanHasRoom) {
  StreamPlacing placing(1, 100, 30);
  auto next = [&] { return placing.Next(kAll, kNoNode, 40, kNow); };
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(next(), (StreamTarget{1, false}));
    placing.Sent({1, false}, 40);
  }
  EXPECT_EQ(next(), (StreamTarget{1, true}));  // one goes wherever nothing is on its way
  placing.Sent({1, true}, 40);
  EXPECT_EQ(next(), (StreamTarget{2, false}));
  placing.Arrived({1, false}, 40);
  EXPECT_EQ(next(), (StreamTarget{1, false}));
  placing.SetRoom({1, false}, 60);
  EXPECT_EQ(next(), (StreamTarget{2, false}));
}

TEST(StreamPlacing, ATierWithoutALimitIsNeverAsked) {
  StreamPlacing placing(1, 0, 100);
  EXPECT_EQ(placing.Next(kAll, kNoNode, 10, kNow), (StreamTarget{1, true}));
  EXPECT_EQ(placing.Next(kAll, 1, 10, kNow), (StreamTarget{2, true}));
  EXPECT_FALSE(placing.Next({}, kNoNode, 10, kNow).has_value());
}

}  // namespace
}  // namespace holdfast::client
