// SPDX-License-Identifier: Apache-2.0
#include "jobclient/client/cluster_view.h"

#include <algorithm>
#include <utility>

#include "wire/codec.h"

namespace holdfast::client {

using jobclient::Node;

namespace {

template <typename... Answers>
std::optional<uint64_t> IdOf(const wire::Message& message) {
  std::optional<uint64_t> id;
  (void)((std::holds_alternative<Answers>(message) && (id = std::get<Answers>(message).id)) || ...);
  return id;
}

// The number of the question that this answers; nullopt for any other message.
std::optional<uint64_t> AnsweredBy(const wire::Message& message) {
  return IdOf<wire::StatusReply, wire::DropReply, wire::SnapshotReply, wire::LogReply,
              wire::StreamReply, wire::StreamAppended, wire::StreamKept, wire::StreamDropped,
              wire::StreamListed>(message);
}

}  // namespace

ClusterView::ClusterView(const Env& env, const jobclient::JobOptions& options)
    : env_(env), nodes_(env, options), started_(env.clock->Now()) {
  env_.network->OnMessage(
      [this](PeerId from, Frames frames) { OnMessage(from, std::move(frames)); });
  Greet();
}

void ClusterView::Greet() {
  greeted_ = env_.clock->Now();
  for (const Node& node : nodes_.all()) nodes_.SendHello(node, 0);
}

bool ClusterView::Greeted() const {
  return nodes_.AllSettled() || env_.clock->Now() - started_ >= kFirstAnswer;
}

void ClusterView::OnMessage(PeerId from, Frames frames) {
  Node* node = nodes_.OfPeer(from);
  Result<wire::Message> message = wire::Decode(std::move(frames));
  if (node == nullptr) return;
  if (!message.ok()) {
    // Another release: nobody need wait for it.
    node->refused = message.status().code() == Code::kInvalid;
    env_.log->Warn("node " + std::to_string(node->member.node) +
                   " sent what is no message: " + message.status().ToString());
    return;
  }
  if (auto* hello = std::get_if<wire::HelloReply>(&*message)) {
    const uint64_t before = node->hello.capacity_bytes;
    if (nodes_.TakeHello(*node, std::move(*hello)) == jobclient::Nodes::Arrival::kIgnored) return;
    if (node->hello.capacity_bytes != before) placement_.reset();
  } else if (const std::optional<uint64_t> id = AnsweredBy(*message)) {
    Answer(node->member.node, *id, std::move(*message));
  } else if (auto* progress = std::get_if<wire::Progress>(&*message)) {
    TakeEnd(node->member.node, *progress);
  } else if (auto* error = std::get_if<wire::ErrorReply>(&*message)) {
    if (error->about == "Hello") node->refused = true;
    env_.log->Warn("node " + std::to_string(node->member.node) + " refused a " + error->about +
                   ": " + error->status.ToString());
    TakeRefusal(node->member.node, *error);
  }
}

// --- Whom to ask for an object -------------------------------------------------------------------

void ClusterView::WhenGreeted(std::function<void()> done) {
  if (env_.clock->Now() - greeted_ >= kGreetAgain) Greet();
  if (Greeted()) return done();
  env_.clock->At(env_.clock->Now() + 5ms, [this, done = std::move(done)] { WhenGreeted(done); });
}

void ClusterView::WhomToAsk(const Oid& oid, std::function<void(std::vector<NodeId>)> done) {
  WhenGreeted([this, oid, done = std::move(done)] { done(Candidates(oid)); });
}

std::vector<NodeId> ClusterView::Candidates(const Oid& oid) {
  if (!placement_) placement_.emplace(nodes_.Weights(), env_.far);
  planner::Picks picks = placement_->PicksOf(oid);
  std::vector<NodeId> candidates;
  for (NodeId pick : {picks.home, picks.second}) {
    if (BulkEndpoint(pick) != nullptr) candidates.push_back(pick);
  }
  if (!candidates.empty()) return candidates;
  for (const Node& node : nodes_.all()) {
    if (BulkEndpoint(node.member.node) != nullptr) return {node.member.node};
  }
  return candidates;
}

std::vector<NodeId> ClusterView::Here() const {
  std::vector<NodeId> here;
  for (const Node& node : nodes_.all()) {
    if (node.here) here.push_back(node.member.node);
  }
  return here;
}

uint64_t ClusterView::MostThatAllPromise() const {
  uint64_t most = 0;
  for (const Node& node : nodes_.all()) {
    if (!node.here) continue;
    const uint64_t promises = node.hello.max_object_bytes;
    most = most == 0 ? promises : std::min(most, promises);
  }
  return most;
}

const std::string* ClusterView::BulkEndpoint(NodeId id) const {
  const Node* node = nodes_.Find(id);
  if (node == nullptr || !node->here || node->hello.bulk_endpoint.empty()) return nullptr;
  return &node->hello.bulk_endpoint;
}

const wire::HelloReply* ClusterView::HelloOf(NodeId id) const {
  const Node* node = nodes_.Find(id);
  return node == nullptr || node->hello.incarnation == 0 ? nullptr : &node->hello;
}

std::vector<NodeId> ClusterView::Members() const {
  std::vector<NodeId> members;
  for (const Node& node : nodes_.all()) members.push_back(node.member.node);
  return members;
}

void ClusterView::Failed(NodeId id) {
  if (Node* node = nodes_.Find(id); node != nullptr) node->here = false;
}

// --- Questions -----------------------------------------------------------------------------------

void ClusterView::Ask(NodeId id, std::function<wire::Message(uint64_t)> question, Time deadline,
                      std::function<void(Result<wire::Message>)> done) {
  const Node* node = nodes_.Find(id);
  if (node == nullptr) {
    std::string known;
    for (const Node& n : nodes_.all())
      known.append(known.empty() ? "" : ", ").append(std::to_string(n.member.node));
    return done(Status::NotFound("there is no node " + std::to_string(id) +
                                 " in the configuration; it has " +
                                 (known.empty() ? "none" : known)));
  }
  // It may have been the greeting that was wrong. The node answers in order: its refusal comes first.
  if (node->refused) nodes_.SendHello(*node, 0);
  const uint64_t number = next_id_++;
  wire::Message message = question(number);
  questions_.emplace(number, Question{id, wire::NameOf(message), std::move(done)});
  env_.network->Send({node->peer}, wire::Encode(std::move(message)));
  env_.clock->At(deadline, [this, number, id] {
    Answer(id, number,
           Status::Timeout("node " + std::to_string(id) + " at " +
                           nodes_.Find(id)->member.control_endpoint +
                           " does not answer; is it running?"));
  });
}

void ClusterView::Answer(NodeId from, uint64_t id, Result<wire::Message> answer) {
  auto it = questions_.find(id);
  if (it == questions_.end() || it->second.node != from) return;
  questions_.extract(it).mapped().done(std::move(answer));
}

// It does not say which one; of several of a kind the first is the likeliest. Who refuses a greeting
// refuses all.
void ClusterView::TakeRefusal(NodeId from, const wire::ErrorReply& error) {
  std::vector<uint64_t> refused;
  for (const auto& [id, question] : questions_) {
    const bool meant = error.about == "Hello" || (question.about == error.about && refused.empty());
    if (question.node == from && meant) refused.push_back(id);
  }
  for (uint64_t id : refused) {
    // What it says after that does not count, and who tries again does not try all the time.
    env_.clock->At(env_.clock->Now() + kRefusedPause,
                   [done = std::move(questions_.extract(id).mapped().done), status = error.status] {
                     done(status);
                   });
  }
}

void ClusterView::EndJob(JobId job, Time deadline, std::function<void(size_t, size_t)> done) {
  const uint64_t id = next_id_++;
  Ending& ending = endings_[id];
  ending.job = job;
  ending.done = std::move(done);
  for (const Node& node : nodes_.all()) {
    ending.confirmed[node.member.node] = false;
    env_.network->Send({node.peer}, wire::Encode(wire::EndJob{.job = job}));
    // Its answer says whether the node still knows the job.
    env_.network->Send({node.peer}, wire::Encode(wire::Heartbeat{.job = job, .lease = {}}));
  }
  env_.clock->At(deadline, [this, id] { FinishEnding(id); });
  if (nodes_.all().empty()) env_.clock->At(env_.clock->Now(), [this, id] { FinishEnding(id); });
}

void ClusterView::TakeEnd(NodeId node, const wire::Progress& progress) {
  std::vector<uint64_t> over;
  for (auto& [id, ending] : endings_) {
    if (ending.job != progress.job || progress.known) continue;
    ending.confirmed[node] = true;
    const bool all = std::all_of(ending.confirmed.begin(), ending.confirmed.end(),
                                 [](const auto& one) { return one.second; });
    if (all) over.push_back(id);
  }
  for (uint64_t id : over) FinishEnding(id);
}

void ClusterView::FinishEnding(uint64_t id) {
  auto ending = endings_.extract(id);
  if (ending.empty()) return;
  size_t confirmed = 0;
  for (const auto& [node, done] : ending.mapped().confirmed) confirmed += done ? 1 : 0;
  ending.mapped().done(confirmed, ending.mapped().confirmed.size());
}

}  // namespace holdfast::client
