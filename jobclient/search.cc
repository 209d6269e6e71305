// SPDX-License-Identifier: Apache-2.0
#include "jobclient/search.h"

#include <algorithm>
#include <utility>

namespace holdfast::jobclient {
namespace {

constexpr Duration kSoon =
    50ms;  // losses come in groups, and a node that only hiccuped is back by then
constexpr int64_t kRestFactor = 10;

}  // namespace

Search::Search(const Env& env, const JobOptions* options, const JobList* list, Nodes* nodes,
               Promises* promises, Hooks hooks)
    : env_(env),
      options_(options),
      list_(list),
      nodes_(nodes),
      promises_(promises),
      hooks_(std::move(hooks)),
      context_{.env = env,
               .options = options,
               .job = options->job,
               .list = list,
               .placement = &placement_,
               .nodes = nodes,
               .promises = promises,
               .unanswered = [this](NodeId node) { hooks_.unanswered(node); }},
      read_(list->manifest().size()),
      lost_once_(list->manifest().size()),
      hopeless_(list->manifest().size()) {}

void Search::Begin() { Start(); }

void Search::Again() {
  if (stopped_ || options_->dry_run) return;
  if (calling() || !planned_) {
    again_ = true;
    return;
  }
  if (std::exchange(scheduled_, true)) return;
  // Until then the nodes say how much room they have now.
  for (const Node& node : nodes_->all()) {
    if (node.here) nodes_->SendHello(node, options_->job);
  }
  env_.clock->At(std::max(env_.clock->Now() + kSoon, rest_until_), [this] {
    scheduled_ = false;
    if (!stopped_ && !calling()) Start();
  });
}

void Search::Start() {
  started_ = env_.clock->Now();
  round_number_ = 0;
  // Ranking every slot takes milliseconds. The nodes are in the order of their ids on both sides.
  std::vector<planner::NodeWeight> weights = nodes_->Weights();
  if (weights != placement_.weights())
    placement_ = planner::Placement(std::move(weights), env_.far);
  Bitmap wanted = Wanted();
  if (wanted.None() || !nodes_->AnyHere()) return Finish();
  StartRound(std::move(wanted));
}

Bitmap Search::Wanted() const {
  Bitmap wanted = promises_->Missing();
  Bitmap too_large = TooLarge();
  for (size_t w = 0; w < wanted.words(); ++w) {
    wanted.set_word(w, wanted.word(w) & ~(read_.word(w) | hopeless_.word(w) | too_large.word(w)));
  }
  return wanted;
}

Bitmap Search::TooLarge() const {
  const planner::Manifest& manifest = list_->manifest();
  const uint64_t most = nodes_->MaxObjectBytes();
  Bitmap too_large(manifest.size());
  for (uint32_t i = 0; i < manifest.size(); ++i) {
    if (manifest.object_bytes(i) > most) too_large.Set(i);
  }
  return too_large;
}

void Search::StartRound(Bitmap asked) {
  const uint32_t call = ++call_;
  ++round_number_;
  auto later = [this, call](Time when, CallRound::Step step) {
    env_.clock->At(when, [this, call, step] {
      if (round_ != nullptr && round_->call() == call) ((*round_).*step)();
    });
  };
  auto done = [this, call] {
    env_.clock->At(env_.clock->Now(), [this, call] { FinishRound(call); });
  };
  round_ = std::make_unique<CallRound>(
      &context_,
      CallRound::Task{
          .call = call, .round = round_number_, .asked = std::move(asked), .read = read_count_},
      std::move(later), std::move(done));
  round_->Start();
}

void Search::FinishRound(uint32_t call) {
  if (round_ == nullptr || round_->call() != call) return;
  CallRound::Outcome outcome = round_->TakeOutcome();
  round_ = nullptr;
  calls_ += outcome.sent ? 1 : 0;
  bids_ += outcome.bids;
  manifest_bytes_ += outcome.manifest_bytes_sent;
  least_hold_ = std::min(least_hold_, outcome.least_hold);
  const bool changed = outcome.promised > 0 || outcome.refused;
  const bool more = changed && !outcome.remaining.None() && round_number_ < options_->max_rounds &&
                    !options_->dry_run && nodes_->AnyHere();
  if (!more) return Finish();
  StartRound(std::move(outcome.remaining));
}

void Search::Finish() {
  const Time now = finished_ = env_.clock->Now();
  rest_until_ = now + (now - started_) * kRestFactor;
  if (!std::exchange(planned_, true)) {
    planned_in_ = now - started_;
    hooks_.planned();
  }
  if (std::exchange(again_, false)) Again();
}

void Search::Lost(uint32_t index, bool hopeless) {
  if (hopeless || lost_once_.Get(index)) {
    hopeless_.Set(index);
    return;
  }
  lost_once_.Set(index);
  Again();
}

void Search::MarkRead(uint32_t index) {
  if (read_.Get(index)) return;
  read_.Set(index);
  ++read_count_;
}

void Search::Rewind() {
  const size_t objects = list_->manifest().size();
  read_ = lost_once_ = hopeless_ = Bitmap(objects);
  read_count_ = 0;
}

void Search::Stop() {
  stopped_ = true;
  round_ = nullptr;
}

void Search::OnNeed(NodeId node, const wire::NeedManifest& need) {
  if (round_ != nullptr && need.call == round_->call()) round_->OnNeed(node, need);
}

void Search::OnBids(NodeId node, wire::Bids bids) {
  if (round_ != nullptr && bids.call == round_->call()) round_->OnBids(node, std::move(bids));
}

void Search::OnAck(NodeId node, const wire::Ack& ack) {
  if (round_ != nullptr && ack.call == round_->call()) round_->OnAck(node, ack);
}

void Search::Out(NodeId node) {
  if (round_ != nullptr) round_->Out(node);
}

void Search::CountInto(PlanReport* report) const {
  report->calls = calls_;
  report->bids = bids_;
  report->manifest_bytes_sent = manifest_bytes_;
  report->planned_in = planned_in_;
  report->held_for = least_hold_ == Duration::max() ? Duration(0) : least_hold_;
  report->too_large_objects = TooLarge().Count();
}

}  // namespace holdfast::jobclient
