// SPDX-License-Identifier: Apache-2.0
#include "io/far/far_store.h"

#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "io/far/directory_store.h"
#include "io/far/http_store.h"
#include "io/far/spending.h"

namespace holdfast::far {
namespace {

constexpr uint64_t kMaxObject = uint64_t{1}
                                << 62;  // far above S3's 5 TiB, and sums do not overflow

Time MonotonicNow() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return {now.tv_sec * 1'000'000 + now.tv_nsec / 1000};
}

// What goes into a header must not end it.
bool IsHeaderText(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 127; });
}

bool IsFile(const FarName& name) { return name.scheme == FarScheme::kFile; }

}  // namespace

Status CheckS3Endpoint(const std::string& endpoint) {
  if (endpoint.empty()) return Status();
  return CanonicalPrefix("s3://bucket", endpoint).status();
}

Status CheckCaBundle(const std::string& path) {
  if (path.empty() || access(path.c_str(), R_OK) == 0) return Status();
  return Status::Invalid("the CA bundle \"" + path +
                         "\" cannot be read: give far.ca_bundle or AWS_CA_BUNDLE a PEM file that "
                         "exists");
}

Status CheckOptions(const FarOptions& options) {
  HF_RETURN_IF_ERROR(CheckS3Endpoint(options.s3.endpoint));
  const Credentials& keys = options.s3.credentials;
  if (!IsHeaderText(keys.access_key) || !IsHeaderText(keys.session_token) ||
      !IsHeaderText(options.s3.region)) {
    return Status::Invalid(
        "the S3 access key, session token or region has a space or a character that no key has");
  }
  if (!keys.anonymous() && keys.secret_key.empty()) {
    return Status::Invalid("an S3 access key was given without its secret key");
  }
  HF_RETURN_IF_ERROR(CheckCaBundle(options.ca_bundle));
  const FarLimits& limits = options.limits;
  if (limits.min_connections == 0 || limits.min_connections > limits.max_connections) {
    return Status::Invalid("the far store's connections must be: 1 <= least <= most");
  }
  if (limits.http_threads == 0 || limits.http_threads > limits.max_connections) {
    return Status::Invalid("the far store's threads must be: 1 <= threads <= most connections");
  }
  if (options.timeouts.max_attempts == 0) {
    return Status::Invalid("the far store needs at least one attempt per call");
  }
  return Status();
}

Result<std::unique_ptr<FarClient>> FarClient::Open(FarOptions options, Post post) {
  HF_RETURN_IF_ERROR(CheckOptions(options));
  if (options.s3.region.empty()) options.s3.region = kDefaultRegion;
  if (!options.now) options.now = MonotonicNow;
  std::unique_ptr<FarClient> client(new FarClient(std::move(options), std::move(post)));
  Outbox* outbox = client->outbox_.get();
  Result<std::unique_ptr<DirectoryStore>> directories =
      DirectoryStore::Open(client->options_, outbox, client->spending_.get());
  if (!directories.ok()) return directories.status();
  client->directories_ = std::move(*directories);
  for (uint32_t i = 0; i < client->options_.limits.http_threads; ++i) {
    Result<std::unique_ptr<HttpStore>> http =
        HttpStore::Open(client->options_, i, outbox, client->spending_.get());
    if (!http.ok()) return http.status();
    client->http_.push_back(std::move(*http));
  }
  return client;
}

FarClient::FarClient(FarOptions options, Post post)
    : options_(std::move(options)),
      spending_(std::make_unique<Spending>(options_.prices)),
      outbox_(std::make_shared<Outbox>(std::move(post))) {}

FarClient::~FarClient() { outbox_->Close(); }

void FarClient::Refuse(std::function<void()> answer) {
  spending_->CountError();
  std::vector<std::function<void()>> batch;
  batch.push_back(std::move(answer));
  outbox_->Add(batch);
}

Status FarClient::CheckRoom() const {
  uint64_t calls = directories_->calls();
  for (const auto& http : http_) calls += http->calls();
  if (calls < options_.limits.max_calls) return Status();
  return Status::NoSpace("the far store has " + FormatCount(options_.limits.max_calls) +
                         " calls under way, which is its limit");
}

Result<FarName> FarClient::Accept(const FarGet& get) const {
  HF_RETURN_IF_ERROR(CheckRoom());
  HF_CHECK(get.pieces != nullptr ? !get.whole : get.into.size() >= get.length);
  if (!IsSendableETag(get.etag)) {
    return Status::Invalid(get.uri + ": its ETag has characters that cannot be sent");
  }
  const bool empty = get.whole ? get.offset > 0 && get.offset >= get.length : get.length == 0;
  if (empty || get.offset > kMaxObject || get.length > kMaxObject) {
    return Status::Invalid(get.uri + ": a range must have at least one byte and lie within 2^62");
  }
  return ParseCanonical(get.uri);
}

void FarClient::Get(FarGet get, std::function<void(Status, FarInfo, uint64_t hash)> done) {
  Result<FarName> name = Accept(get);
  if (!name.ok()) {
    return Refuse([done = std::move(done), status = name.status()] { done(status, {}, 0); });
  }
  if (IsFile(*name))
    return directories_->Get(std::move(name->path), std::move(get), std::move(done));
  auto call = std::make_unique<HttpCall>();
  call->kind = Ask::Kind::kGet;
  call->get = std::move(get);
  call->on_get = std::move(done);
  call->name = std::move(*name);
  LeastBusy().Submit(std::move(call));
}

void FarClient::Head(const std::string& uri, Time deadline,
                     std::function<void(Result<FarInfo>)> done) {
  const Status room = CheckRoom();
  Result<FarName> name = room.ok() ? ParseCanonical(uri) : room;
  if (!name.ok()) return Refuse([done = std::move(done), status = name.status()] { done(status); });
  if (IsFile(*name)) return directories_->Head(std::move(name->path), deadline, std::move(done));
  auto call = std::make_unique<HttpCall>();
  call->kind = Ask::Kind::kHead;
  call->get.uri = uri;
  call->get.deadline = deadline;
  call->on_head = std::move(done);
  call->name = std::move(*name);
  LeastBusy().Submit(std::move(call));
}

void FarClient::List(const std::string& prefix, const std::string& token, bool delimited,
                     Time deadline, std::function<void(Result<FarPage>)> done) {
  const Status room = CheckRoom();
  Result<FarName> name = room.ok() ? ParsePrefix(prefix) : room;
  if (name.ok() && !IsFile(*name) && name->bucket.empty()) {
    name = Status::Invalid(prefix +
                           ": a web server has no listing; write its objects into a list file");
  }
  if (!name.ok()) return Refuse([done = std::move(done), status = name.status()] { done(status); });
  if (IsFile(*name)) {
    return directories_->List(std::move(name->path), token, delimited, deadline, std::move(done));
  }
  auto call = std::make_unique<HttpCall>();
  call->kind = Ask::Kind::kList;
  call->get.uri = prefix;
  call->get.deadline = deadline;
  call->list = {.token = token, .delimited = delimited};
  call->on_list = std::move(done);
  call->name = std::move(*name);
  LeastBusy().Submit(std::move(call));
}

void FarClient::Put(FarPut put, std::function<void(Result<FarInfo>)> done) {
  const Status room = CheckRoom();
  Result<FarName> name = room.ok() ? ParseCanonical(put.uri) : room;
  if (name.ok() && !IsFile(*name) && name->bucket.empty()) {
    name = Status::Invalid(put.uri + ": a web server cannot be written to; use S3 or a directory");
  }
  if (!name.ok()) return Refuse([done = std::move(done), status = name.status()] { done(status); });
  if (IsFile(*name)) return directories_->Put(std::move(name->path), put, std::move(done));
  auto call = std::make_unique<HttpCall>();
  call->kind = Ask::Kind::kPut;
  call->get.uri = std::move(put.uri);
  call->get.deadline = put.deadline;
  call->put = put.bytes;
  call->on_head = std::move(done);
  call->name = std::move(*name);
  LeastBusy().Submit(std::move(call));
}

HttpStore& FarClient::LeastBusy() {
  return **std::min_element(http_.begin(), http_.end(),
                            [](const auto& a, const auto& b) { return a->calls() < b->calls(); });
}

FarCounters FarClient::Counters() const { return spending_->Read(); }

}  // namespace holdfast::far
