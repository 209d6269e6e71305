// SPDX-License-Identifier: Apache-2.0
#include "jobclient/client/stream_opening.h"

#include <utility>

#include "wire/codec.h"
#include "wire/stream_entry.h"

namespace holdfast::client {

void StreamOpening::Start(const Env& env, ClusterView* cluster, wire::StreamOpen open, Done done) {
  std::shared_ptr<StreamOpening> opening(
      new StreamOpening(env, cluster, std::move(open), std::move(done)));
  cluster->WhenGreeted([opening] {
    const std::vector<NodeId> members = opening->cluster_->Members();
    opening->nodes_ = wire::CataloguesOf(opening->open_.name, members);
    if (opening->nodes_.empty()) {
      return opening->done_(
          Status::Unavailable("a stream needs nodes; the configuration has none"));
    }
    opening->Ask();
  });
}

void StreamOpening::Ask() {
  cluster_->Ask(
      nodes_[at_],
      [this](uint64_t id) -> wire::Message {
        open_.id = id;
        return open_;
      },
      env_.clock->Now() + kAnswerTime,
      [self = shared_from_this()](Result<wire::Message> answer) {
        self->OnAnswer(std::move(answer));
      });
}

void StreamOpening::OnAnswer(Result<wire::Message> answer) {
  const auto* reply = answer.ok() ? std::get_if<wire::StreamReply>(&*answer) : nullptr;
  if (reply == nullptr) {
    if (++tries_ < kTries) return Ask();
    ++silent_;
    return Next();
  }
  if (reply->status.ok()) {
    if (opened_.catalogues.empty()) opened_.terms = reply->terms;
    open_.terms = opened_.terms;
    opened_.catalogues.push_back(nodes_[at_]);
    return Next();
  }
  const bool taken = reply->status.code() == Code::kInvalid;
  if (taken && open_.create) return Taken(reply->status);
  refused_ = reply->status;
  Next();
}

// Whoever was first has the name; what was opened for us elsewhere is nobody's.
void StreamOpening::Taken(const Status& why) {
  for (NodeId node : opened_.catalogues) {
    cluster_->Ask(
        node,
        [this](uint64_t id) -> wire::Message {
          return wire::StreamDrop{.id = id, .name = {}, .stream = open_.terms.stream};
        },
        env_.clock->Now() + kAnswerTime, [](const Result<wire::Message>&) {});
  }
  done_(why);
}

void StreamOpening::Next() {
  tries_ = 0;
  if (++at_ < nodes_.size()) return Ask();
  Finish();
}

void StreamOpening::Finish() {
  if (!opened_.catalogues.empty()) return done_(opened_);
  const bool known = !refused_.ok() && (silent_ == 0 || refused_.code() != Code::kNotFound);
  if (known) return done_(refused_);
  std::string nodes;
  for (NodeId node : nodes_) nodes += (nodes.empty() ? "" : " and ") + std::to_string(node);
  done_(Status::Unavailable("node " + nodes + ", which would know the stream " + open_.name +
                            ", does not answer"));
}

}  // namespace holdfast::client
