// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <thread>
#include <utility>

#include "jobclient/client/parts.h"

namespace holdfast {
namespace {

constexpr Duration kPollEvery = 20ms;
constexpr Duration kAskEvery = 200ms;
constexpr Duration kHoldTimeout = 5s;

JobProgress ProgressFrom(const wire::Progress& p) {
  return {p.kept_objects, p.loads_left, p.loads_done, p.loaded_bytes, p.far_requests, p.far_bytes};
}

}  // namespace

jobclient::JobOptions Client::Parts::JobOptionsFor(const PlanOptions& plan) const {
  jobclient::JobOptions job;
  job.cluster = options.cluster;
  for (const ClientOptions::Node& node : options.nodes)
    job.members.push_back({node.id, node.control});
  job.reader = own_node();
  job.hold = plan.hold;
  job.lease = plan.lease;
  job.priority = plan.priority;
  job.dry_run = plan.dry_run;
  job.objects_per_s = plan.objects_per_s;
  job.read_order = plan.order;
  return job;
}

// What the job plans are the pieces of its list; it is the user who sees objects.
Status PlannedJob::Parts::Cut(ObjectList list, jobclient::JobOptions* job) {
  loop_job->list = std::move(list);
  Result<jobclient::ChunkedList> chunks =
      jobclient::ChunkedList::Make(&loop_job->list, client->ChunkBytes());
  if (!chunks.ok()) return chunks.status();
  loop_job->chunks.emplace(*std::move(chunks));
  const size_t objects = loop_job->list.size(), pieces = loop_job->chunks->pieces().size();
  if (pieces == objects) return {};
  for (const uint32_t position : job->read_order) {
    if (position < objects) continue;
    return Status::Invalid("the reading order names position " + std::to_string(position) +
                           " of a list of " + std::to_string(objects) + " objects");
  }
  job->read_order = loop_job->chunks->OrderOf(job->read_order);
  job->objects_per_s *= static_cast<double>(pieces) / static_cast<double>(objects);
  return {};
}

PlanReport PlannedJob::Parts::Whole(PlanReport report) const {
  report.cut_objects = loop_job->chunks->cut_objects();
  return report;
}

Result<std::unique_ptr<PlannedJob>> Client::Plan(ObjectList list, PlanOptions options) {
  if (list.empty()) return Status::Invalid("the list is empty; name at least one object");
  if (options.lease < 1s || options.hold < options.lease) {
    return Status::Invalid("a lease is at least 1 s, and no longer than the hold");
  }
  HF_RETURN_IF_ERROR(Resolve(&list, options.progress));
  auto parts = std::make_unique<PlannedJob::Parts>();
  parts->client = parts_.get();
  parts->options = std::move(options);
  client::Promised<bool> ready;  // where objects lie far away says who should load them
  parts_->thread->Post([&] { parts_->packed->WhenReady([&ready] { ready.Set(true); }); });
  ready.Wait();
  parts_->thread->Call([&] {
    parts->loop_job = std::make_unique<client::LoopJob>(parts_->env(), parts_->lines.get());
  });
  jobclient::JobOptions job_options = parts_->JobOptionsFor(parts->options);
  const Status cut = parts->Cut(std::move(list), &job_options);
  client::Promised<Result<PlanReport>> planned;
  parts_->thread->Post([&] {
    client::LoopJob& loop_job = *parts->loop_job;
    loop_job.job = std::make_unique<jobclient::Job>(loop_job.env.env(), std::move(job_options));
    if (!cut.ok()) return planned.Set(cut);
    loop_job.job->Plan(&loop_job.chunks->pieces(),
                       [&](Result<PlanReport> report) { planned.Set(std::move(report)); });
  });
  Result<PlanReport> report = planned.Wait();
  std::unique_ptr<PlannedJob> job(
      new PlannedJob(std::move(parts)));  // buries the job if there was an error
  if (!report.ok()) return report.status();
  job->parts_->planned = job->parts_->Whole(*std::move(report));
  job->parts_->options.order = {};
  return job;
}

PlannedJob::PlannedJob(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

PlannedJob::~PlannedJob() {
  parts_->client->thread->Call([this] {
    jobclient::Job& job = *parts_->loop_job->job;
    if (parts_->held) {
      job.Leave();
    } else {
      job.End();
    }
    parts_->client->Bury(std::move(parts_->loop_job));
  });
}

JobId PlannedJob::id() const { return parts_->loop_job->job->id(); }
const ObjectList& PlannedJob::list() const { return parts_->loop_job->list; }
const PlanReport& PlannedJob::planned() const { return parts_->planned; }

PlanReport PlannedJob::Report() const {
  return parts_->Whole(
      parts_->client->thread->Call([this] { return parts_->loop_job->job->Report(); }));
}

JobProgress PlannedJob::Progress() const {
  return parts_->client->thread->Call(
      [this] { return ProgressFrom(parts_->loop_job->job->ClusterProgress()); });
}

bool PlannedJob::WaitForLoads(Duration timeout,
                              const std::function<void(const JobProgress&)>& progress) {
  jobclient::Job& job = *parts_->loop_job->job;
  client::LoopThread& thread = *parts_->client->thread;
  net::EventLoop& loop = *parts_->client->loop;
  const Time started = loop.Now();
  Time asked{INT64_MIN / 2};
  while (true) {
    const Time now = loop.Now();
    if (now - asked >= kAskEvery) {
      thread.Call([&] { job.AskProgress(); });
      asked = now;
      if (progress) progress(Progress());
    }
    const bool done = thread.Call([&] { return job.LoadsEndedSince(started); });
    if (done && progress) progress(Progress());
    if (done) return true;
    if (now - started >= timeout) return false;
    std::this_thread::sleep_for(kPollEvery);
  }
}

Status PlannedJob::Hold() {
  if (parts_->options.dry_run)
    return Status::Invalid("a dry run has promised nothing that could be held");
  if (parts_->released) return Status::Invalid("the job was released; plan it again");
  jobclient::Job& job = *parts_->loop_job->job;
  client::LoopThread& thread = *parts_->client->thread;
  const Time started = parts_->client->loop->Now();
  thread.Call([&] { job.SetLease(parts_->options.hold); });
  parts_->held = true;
  while (!thread.Call([&] { return job.HeardFromAllSince(started); })) {
    if (parts_->client->loop->Now() - started >= kHoldTimeout) {
      return Status::Timeout(
          "not every node confirmed the hold; those that did not keep it for the lease of " +
          FormatDuration(parts_->options.lease));
    }
    std::this_thread::sleep_for(kPollEvery);
  }
  return {};
}

void PlannedJob::Release() {
  if (parts_->released.exchange(true)) return;
  parts_->client->thread->Call([this] { parts_->loop_job->job->End(); });
}

Result<std::unique_ptr<Reader>> PlannedJob::Read(ReaderOptions options) {
  if (parts_->options.dry_run)
    return Status::Invalid("a dry run has no objects to read; plan the job without dry_run");
  const size_t size = parts_->loop_job->list.size();
  if (options.order.empty()) {
    options.order.resize(size);
    for (size_t i = 0; i < size; ++i) options.order[i] = static_cast<uint32_t>(i);
  }
  auto outside = std::find_if(options.order.begin(), options.order.end(),
                              [&](uint32_t p) { return p >= size; });
  if (outside != options.order.end()) {
    return Status::Invalid("the order names position " + std::to_string(*outside) +
                           " of a list of " + std::to_string(size) + " objects");
  }
  if (options.look_ahead_objects == 0)
    return Status::Invalid("look_ahead_objects must be at least 1");
  auto reader = std::make_unique<Reader::Parts>();
  reader->client = parts_->client;
  reader->job = parts_.get();
  reader->options = std::move(options);
  parts_->client->thread->Call([&] { reader->Open(); });
  return std::unique_ptr<Reader>(new Reader(std::move(reader)));
}

}  // namespace holdfast
