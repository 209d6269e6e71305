// SPDX-License-Identifier: Apache-2.0
#include "jobclient/job.h"

#include <utility>

#include "jobclient/flights.h"
#include "jobclient/job_list.h"
#include "jobclient/leases.h"
#include "jobclient/nodes.h"
#include "jobclient/promises.h"
#include "jobclient/search.h"
#include "wire/codec.h"

namespace holdfast::jobclient {
namespace {

constexpr Duration kFirstStayAway = 100ms;
constexpr uint32_t kMaxDoublings = 8;
constexpr Duration kLeftOut = 2min;  // of calls, after one that was not answered

JobId RandomId(Random* random) {
  JobId id = 0;
  while (id == 0) id = random->Next();
  return id;
}

JobOptions WithId(JobOptions options, Random* random) {
  if (options.job == 0) options.job = RandomId(random);
  return options;
}

bool IsFinal(Code code) {
  return code == Code::kNotFound || code == Code::kDenied || code == Code::kChanged ||
         code == Code::kInvalid;
}

}  // namespace

struct Job::Parts {
  enum class State { kNew, kPreparing, kPlanning, kRunning, kEnded };

  Parts(const Env& e, JobOptions o)
      : env(e),
        options(WithId(std::move(o), e.random)),
        nodes(e, options),
        leases(e, options, options.job, &nodes) {}

  // Step 1, while the list is made ready.
  void Greet(Time until);
  void PrepareSlice();
  void PlanIfReady();
  void Planned();

  // Messages, each to whom it concerns.
  void Handle(PeerId from, Frames frames);
  void On(Node& node, wire::HelloReply&& reply);
  void On(Node& node, wire::Progress&& progress);
  void On(Node& node, wire::NeedManifest&& need);
  void On(Node& node, wire::Bids&& bids);
  void On(Node& node, wire::Ack&& ack);
  void On(Node& node, wire::ErrorReply&& error);
  template <typename Other>
  void On(Node&, Other&&) {}  // not for a job

  // Step 6.
  void Beat();
  void Unanswered(NodeId id);
  void AnswersAgain(Node& node);
  void Away(NodeId id, std::string_view why);
  void Forgot(Node& node);
  void Lost(Node& node, const std::vector<wire::Loss>& losses);
  PlanReport Report() const;

  Env env;
  JobOptions options;
  State state = State::kNew;
  Nodes nodes;
  Leases leases;
  Flights flights;
  std::unique_ptr<JobList> list;
  std::unique_ptr<Promises> promises;
  std::unique_ptr<Search> search;
  bool greeted = false;
  bool prepared = false;
  std::function<void(Result<PlanReport>)> done;
  std::function<void(const wire::Progress&)> observer;
};

Job::Job(const Env& env, JobOptions options)
    : parts_(std::make_unique<Parts>(env, std::move(options))) {
  env.network->OnMessage([parts = parts_.get()](PeerId from, Frames frames) {
    parts->Handle(from, std::move(frames));
  });
}

Job::~Job() {
  parts_->env.network->OnMessage([](PeerId, Frames) {});
  for (const Node& node : parts_->nodes.all()) parts_->env.network->Disconnect(node.peer);
}

// --- Greet and plan ------------------------------------------------------------------------------

void Job::Plan(const ObjectList* list, std::function<void(Result<PlanReport>)> done) {
  Parts& p = *parts_;
  HF_CHECK(p.state == Parts::State::kNew);
  p.state = Parts::State::kPreparing;
  p.done = std::move(done);
  p.list = std::make_unique<JobList>(list, std::move(p.options.read_order));
  p.Greet(p.env.clock->Now() + p.options.hello_timeout);
  p.env.clock->At(p.env.clock->Now(), [&p] { p.PrepareSlice(); });
}

void Job::Parts::Greet(Time until) {
  if (state != State::kPreparing || greeted) return;
  const Time now = env.clock->Now();
  greeted = nodes.AllSettled() || now >= until;
  if (greeted) return PlanIfReady();
  for (const Node& node : nodes.all()) {
    if (!node.here) nodes.SendHello(node, options.job);
  }
  env.clock->At(std::min(until, now + options.resend_after), [this, until] { Greet(until); });
}

void Job::Parts::PrepareSlice() {
  if (state != State::kPreparing) return;
  Result<bool> step = list->Step();
  if (!step.ok()) {
    state = State::kEnded;
    return std::exchange(done, nullptr)(step.status());
  }
  prepared = *step;
  if (prepared) return PlanIfReady();
  env.clock->At(env.clock->Now(), [this] { PrepareSlice(); });
}

void Job::Parts::PlanIfReady() {
  if (!prepared || !greeted || state != State::kPreparing) return;
  state = State::kPlanning;
  promises = std::make_unique<Promises>(&list->manifest());
  search = std::make_unique<Search>(
      env, &options, list.get(), &nodes, promises.get(),
      Search::Hooks{[this](NodeId node) { Unanswered(node); }, [this] { Planned(); }});
  if (!options.dry_run) env.clock->At(env.clock->Now() + leases.period(), [this] { Beat(); });
  search->Begin();
}

void Job::Parts::Planned() {
  if (state != State::kPlanning) return;
  state = State::kRunning;
  std::exchange(done, nullptr)(Report());
}

// --- Messages ------------------------------------------------------------------------------------

void Job::Parts::Handle(PeerId from, Frames frames) {
  Node* node = nodes.OfPeer(from);
  if (node == nullptr || state == State::kNew || state == State::kEnded) return;
  Result<wire::Message> message = wire::Decode(std::move(frames));
  if (!message.ok()) {
    env.log->Warn("node " + std::to_string(node->member.node) +
                  " sent what is no message: " + message.status().ToString());
    return;
  }
  std::visit([&](auto&& m) { On(*node, std::move(m)); }, std::move(*message));
}

void Job::Parts::On(Node& node, wire::HelloReply&& reply) {
  const uint64_t free_bytes = reply.free_bytes;
  const Nodes::Arrival arrival = nodes.TakeHello(node, std::move(reply));
  if (arrival == Nodes::Arrival::kIgnored) return;
  if (state == State::kPreparing) {
    if (!greeted && nodes.AllSettled()) {
      greeted = true;
      PlanIfReady();
    }
    return;
  }
  if (!search->calling()) node.room_bytes = free_bytes;
  if (arrival == Nodes::Arrival::kKnown) return;
  if (arrival == Nodes::Arrival::kRestarted) {
    promises->Suspend(node.member.node);  // until it says what it knows of them
    search->Out(node.member.node);
  }
  // What it holds for this job, if anything, its answer to a heartbeat says.
  if (!options.dry_run) leases.SendHeartbeat(node);
  search->Again();
}

void Job::Parts::On(Node& node, wire::Progress&& progress) {
  const bool known = progress.known;
  const uint64_t tenancy = progress.tenancy;
  std::vector<wire::Loss> losses;
  if (progress.incarnation != node.hello.incarnation) return nodes.SendHello(node, options.job);
  if (promises == nullptr || !leases.Take(node, std::move(progress), &losses)) return;
  nodes.TakeSignOfLife(node, node.hello.incarnation);
  node.progress_at = env.clock->Now();
  if (!node.here) return;  // a reader's failures keep it away for a while
  if (known && tenancy == node.tenancy) {
    if (promises->Resume(node.member.node) > 0) {
      env.log->Info("node " + std::to_string(node.member.node) +
                    " is back with what it had promised");
    }
  } else if (node.tenancy != 0) {
    Forgot(node);
    search->Again();
  }
  Lost(node, losses);
  if (observer) observer(nodes.SumOfProgress());
}

void Job::Parts::On(Node& node, wire::NeedManifest&& need) {
  if (search != nullptr && need.job == options.job) search->OnNeed(node.member.node, need);
}

void Job::Parts::On(Node& node, wire::Bids&& bids) {
  if (search != nullptr && bids.job == options.job)
    search->OnBids(node.member.node, std::move(bids));
}

void Job::Parts::On(Node& node, wire::Ack&& ack) {
  if (search == nullptr || ack.job != options.job) return;
  const bool new_tenancy =
      ack.incarnation == node.hello.incarnation && ack.tenancy != 0 && ack.tenancy != node.tenancy;
  if (new_tenancy) {
    if (node.tenancy != 0) {
      Forgot(node);
      search->Again();
    }
    node.tenancy = ack.tenancy;
  }
  AnswersAgain(node);
  search->OnAck(node.member.node, ack);
}

void Job::Parts::On(Node& node, wire::ErrorReply&& error) {
  env.log->Warn("node " + std::to_string(node.member.node) + " refused a " + error.about + ": " +
                error.status.ToString());
  if (error.about == "Hello") {
    node.refused = true;
    if (state == State::kPreparing && !greeted && nodes.AllSettled()) {
      greeted = true;
      PlanIfReady();
    }
  } else if (search != nullptr && (error.job == options.job || error.about == "Manifest")) {
    search->Out(node.member.node);
  }
}

// --- Keep ----------------------------------------------------------------------------------------

void Job::Parts::Beat() {
  if (state == State::kEnded) return;
  for (NodeId node : leases.Beat()) Away(node, "it answers no heartbeats");
  env.clock->At(env.clock->Now() + leases.period(), [this] { Beat(); });
}

// A node that lives keeps what it has promised. One whose journal is slow or away cannot promise more.
void Job::Parts::Unanswered(NodeId id) {
  Node* node = nodes.Find(id);
  const Time now = env.clock->Now();
  if (now - node->heard_at >= std::min(options.bid_timeout, options.ack_timeout))
    return Away(id, "it does not answer");
  env.log->Warn(
      "node " + std::to_string(id) +
      " lives, but does not answer calls; what it does not promise is asked for elsewhere");
  node->left_out_until = now + kLeftOut;
  env.clock->At(node->left_out_until, [this, node] {
    if (env.clock->Now() >= node->left_out_until) AnswersAgain(*node);
  });
  search->Again();
}

// Or so it is hoped: it may be called.
void Job::Parts::AnswersAgain(Node& node) {
  if (state == State::kEnded || node.left_out_until == Time{}) return;
  node.left_out_until = {};
  if (!promises->Missing().None()) search->Again();
}

void Job::Parts::Away(NodeId id, std::string_view why) {
  Node* node = nodes.Find(id);
  if (node == nullptr || !node->here) return;
  env.log->Warn("node " + std::to_string(id) + " counts as away: " + std::string(why) +
                "; what it promised is asked for elsewhere");
  node->here = false;
  promises->Suspend(id);
  search->Out(id);
  search->Again();
}

// It had given the job up, and begins anew: nothing of what it had promised counts.
void Job::Parts::Forgot(Node& node) {
  if (promises->HasAny(node.member.node)) {
    env.log->Warn("node " + std::to_string(node.member.node) +
                  " no longer knows this job; calling again");
  }
  node.tenancy = 0;
  promises->Suspend(node.member.node);
  promises->Forget(node.member.node);
}

void Job::Parts::Lost(Node& node, const std::vector<wire::Loss>& losses) {
  for (const wire::Loss& loss : losses) {
    if (loss.index >= list->manifest().size()) continue;
    if (!promises->TakeAway(node.member.node, loss.index)) continue;
    search->Lost(loss.index, IsFinal(loss.code));
  }
}

void Job::NodeFailed(NodeId id, std::string_view why) {
  Parts& p = *parts_;
  Node* node = p.nodes.Find(id);
  if (node == nullptr || !node->here || p.state == Parts::State::kEnded) return;
  const Time now = p.env.clock->Now();
  // The first time its next answer brings it back; a node that goes on failing stays away for
  // longer and longer.
  if (now - node->away_until > p.options.lease) node->failures = 0;
  const uint32_t doublings = std::min(node->failures, kMaxDoublings);
  node->away_until = node->failures == 0 ? now : now + kFirstStayAway * (int64_t{1} << doublings);
  ++node->failures;
  p.Away(id, why);
  p.env.clock->At(node->away_until, [&p, node] {
    if (!node->here && p.state != Parts::State::kEnded) p.leases.SendHeartbeat(*node);
  });
}

void Job::PromiseBroken(NodeId node, uint32_t index) {
  if (parts_->promises->TakeAway(node, index)) parts_->search->Lost(index, false);
}

void Job::MarkRead(uint32_t index) { parts_->search->MarkRead(index); }
void Job::Rewind() { parts_->search->Rewind(); }

void Job::End() {
  if (parts_->state == Parts::State::kEnded) return;
  parts_->leases.SendEnd();
  Leave();
}

void Job::Leave() {
  Parts& p = *parts_;
  p.state = Parts::State::kEnded;
  if (p.search != nullptr) p.search->Stop();
}

void Job::AskProgress() {
  Parts& p = *parts_;
  if (p.state == Parts::State::kEnded) return;
  for (const Node& node : p.nodes.all()) {
    if (node.here) p.leases.SendHeartbeat(node);
  }
}

void Job::SetLease(Duration lease) {
  parts_->leases.SetLease(lease);
  AskProgress();
}

bool Job::HeardFromAllSince(Time when) const {
  for (const Node& node : parts_->nodes.all()) {
    const bool concerned = node.here && node.tenancy != 0;  // it has promised something
    if (concerned && node.progress_at < when) return false;
  }
  return true;
}

bool Job::LoadsEndedSince(Time when) const {
  const Search* search = parts_->search.get();
  if (search != nullptr && search->busy()) return false;
  if (search != nullptr) when = std::max(when, search->finished());
  return HeardFromAllSince(when) && ClusterProgress().loads_left == 0;
}

// --- Looking -------------------------------------------------------------------------------------

JobId Job::id() const { return parts_->options.job; }
NodeId Job::reader() const { return parts_->options.reader; }
Flights& Job::flights() { return parts_->flights; }
const planner::Manifest& Job::manifest() const { return parts_->list->manifest(); }
uint32_t Job::IndexOf(size_t position) const { return parts_->list->IndexOf(position); }
NodeId Job::NodeOf(uint32_t index) const { return parts_->promises->NodeOf(index); }

wire::Progress Job::ClusterProgress() const { return parts_->nodes.SumOfProgress(); }
PlanReport Job::Report() const { return parts_->Report(); }

void Job::OnProgress(std::function<void(const wire::Progress&)> observer) {
  parts_->observer = std::move(observer);
}

const std::string* Job::BulkEndpoint(NodeId id) const {
  const Node* node = std::as_const(parts_->nodes).Find(id);
  if (node == nullptr || !node->here || node->hello.bulk_endpoint.empty()) return nullptr;
  return &node->hello.bulk_endpoint;
}

NodeId Job::FetcherOf(uint32_t index) const {
  planner::Picks picks = parts_->search->placement().PicksOf(manifest().oid(index));
  if (BulkEndpoint(picks.home) != nullptr) return picks.home;
  return BulkEndpoint(picks.second) != nullptr ? picks.second : kNoNode;
}

PlanReport Job::Parts::Report() const {
  PlanReport report;
  for (const Node& node : nodes.all()) {
    report.nodes.push_back({.node = node.member.node,
                            .answered = node.hello.incarnation != 0,
                            .incarnation = node.hello.incarnation,
                            .keeps = 0,
                            .loads = 0,
                            .bytes = 0});
  }
  promises->CountInto(options.reader, env.far, &report);
  search->CountInto(&report);
  for (const Node& node : nodes.all()) {
    if (!node.here) continue;
    Duration due{};
    if (node.load_objects > 0) due = node.rate.Finish(node.load_objects, node.load_bytes);
    if (node.near_objects > 0)
      due = std::max(due, node.near_rate.Finish(node.near_objects, node.near_bytes));
    if (due > Duration(0)) report.ready = std::max(report.ready, due + report.planned_in);
  }
  return report;
}

}  // namespace holdfast::jobclient
