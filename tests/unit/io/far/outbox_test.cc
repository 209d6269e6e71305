// SPDX-License-Identifier: Apache-2.0
#include "io/far/outbox.h"

#include <gtest/gtest.h>

namespace holdfast::far {
namespace {

class OutboxTest : public testing::Test {
 protected:
  void Add(std::vector<std::function<void()>> batch) { outbox_->Add(batch); }
  void RunPosted() {
    for (auto& run : std::exchange(posted_, {})) run();
  }

  std::vector<std::function<void()>> posted_;
  std::shared_ptr<Outbox> outbox_ = std::make_shared<Outbox>(
      [this](std::function<void()> run) { posted_.push_back(std::move(run)); });
};

TEST_F(OutboxTest, OnePostDeliversWhatCameMeanwhile) {
  int called = 0;
  Add({[&] { ++called; }});
  Add({[&] { ++called; }, [&] { ++called; }});
  EXPECT_EQ(posted_.size(), 1u);
  RunPosted();
  EXPECT_EQ(called, 3);
  Add({[&] { ++called; }});
  EXPECT_EQ(posted_.size(), 1u);
}

// A callback may be the end of the client; those of its batch came nevertheless.
TEST_F(OutboxTest, NothingIsDeliveredOnceItIsClosed) {
  bool called = false;
  Add({[&] { outbox_->Close(); }, [&] { called = true; }});
  RunPosted();
  Add({[&] { called = true; }});
  RunPosted();
  EXPECT_FALSE(called);
}

}  // namespace
}  // namespace holdfast::far
