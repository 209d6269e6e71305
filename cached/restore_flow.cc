// SPDX-License-Identifier: Apache-2.0
#include "cached/restore_flow.h"

#include <algorithm>
#include <utility>

#include "base/hash.h"
#include "base/uri.h"

namespace holdfast::cached {

// --- 1. Replay -----------------------------------------------------------------------------------

void RestoreFlow::Begin(Journal* journal, std::function<void(Status)> done) {
  done_ = std::move(done);
  const entry::Owner owner{context_->options.node, 0, Hash64(AsBytes(context_->options.cluster))};
  journal->Replay(
      [this, owner](uint64_t, ByteView record) {
        if (wrong_.ok()) wrong_ = replay_.Add(record, owner);
      },
      [this](const Status& status) { Replayed(status.ok() ? wrong_ : status); });
}

void RestoreFlow::Replayed(const Status& status) {
  life_ = replay_.lives() + 1;
  if (!status.ok()) return std::exchange(done_, nullptr)(status);
  replay_.Finish();
  // No number of a loss that an earlier life has told comes again: a job that has not heard of the
  // restart yet says what it has seen of those.
  commitments_->CountLossesFrom(uint64_t{life_} << 40);
  AwaitDisk();
}

// --- 2. AwaitDisk --------------------------------------------------------------------------------

void RestoreFlow::AwaitDisk() {
  if (!replay_.jobs().empty() && context_->disk != nullptr && context_->disk->recovering()) {
    context_->env.clock->At(context_->Now() + kDiskPoll, [this] { AwaitDisk(); });
    return;
  }
  TakeUp();
  for (const auto& [digest, list] : lists_) {
    if (list.manifest != nullptr) manifests_->Unuse(list.manifest->digest());
  }
  replay_ = {};
  lists_.clear();
  std::exchange(done_, nullptr)({});
}

// What nobody knows of a machine that was started again is how long that took: nothing is counted.
Duration RestoreFlow::LeftOf(const entry::Promise& promise) const {
  if (promise.boot != context_->options.boot) return promise.left;
  const Duration since_boot = (context_->Now() - Time{}) + context_->options.boot_ahead;
  return promise.left - std::max(since_boot - promise.since_boot, Duration(0));
}

void RestoreFlow::TakeUp() {
  loader_->NotBefore(context_->Now() + kUntilGreeted);
  for (auto& [id, job] : replay_.jobs()) {
    std::erase_if(job.calls,
                  [this](const auto& call) { return LeftOf(call.second) <= Duration(0); });
    for (const auto& [number, promise] : job.calls) MakeList(promise.digest);
    if (job.calls.empty()) continue;
    if (TakeUpJob(id, job)) {
      ++counters_.jobs;
    } else {
      ++counters_.void_jobs;
    }
  }
  counters_.lost_objects = commitments_->promises_broken();
  if (replay_.records() == 0 || counters_.jobs + counters_.void_jobs == 0) return;
  context_->env.log->Info(
      "promises: " + FormatCount(counters_.objects) + " objects to " + FormatCount(counters_.jobs) +
      " jobs are taken up from an earlier start; " + FormatCount(commitments_->pending_objects()) +
      " of them are to be loaded, " + FormatCount(counters_.lost_objects) + " are lost" +
      (counters_.void_jobs == 0
           ? ""
           : "; there is no room for those to " + FormatCount(counters_.void_jobs) + " jobs"));
}

// --- 3. List -------------------------------------------------------------------------------------

// Of what is still promised to somebody.
void RestoreFlow::MakeList(const ManifestDigest& digest) {
  auto [it, fresh] = lists_.try_emplace(digest);
  if (!fresh) return;
  Listed& list = it->second;
  const PromiseReplay::List& from = replay_.lists().at(digest);
  list.from = &from;
  Bitmap promised(from.count);
  for (const auto& [id, job] : replay_.jobs()) {
    for (const auto& [number, promise] : job.calls) {
      if (promise.digest != digest || LeftOf(promise) <= Duration(0)) continue;
      for (uint32_t index : promise.indices) promised.Set(index);
    }
  }
  list.excerpt = {digest, from.count};
  std::vector<planner::ManifestEntry> entries;
  for (const PromiseReplay::Object& object : from.objects) {
    if (object.index >= from.count || !promised.Get(object.index)) continue;
    // A list is in the order of its OIDs, and so is what is made of a part of it.
    if (!entries.empty() && !(entries.back().oid < object.described.oid)) return;
    list.excerpt.indices.push_back(object.index);
    entries.push_back(object.described);
  }
  Result<planner::Manifest> manifest = planner::Manifest::Build(std::move(entries));
  if (!manifest.ok()) return;
  const ManifestDigest made = manifest->digest();
  if (manifests_->Add(*std::move(manifest)).ok()) {
    manifests_->Use(made);  // until all is taken up: no other list may take its place
    list.manifest = manifests_->Find(made);
  }
}

// --- 4. Job --------------------------------------------------------------------------------------

bool RestoreFlow::TakeUpJob(JobId id, const PromiseReplay::Job& job) {
  const bool lists = std::all_of(job.calls.begin(), job.calls.end(), [this](const auto& call) {
    return lists_.at(call.second.digest).manifest != nullptr;
  });
  if (!lists || commitments_->size() + job.calls.size() > Commitments::kMaxCommitments)
    return false;
  if (!commitments_->Reopen(id, job.tenancy, job.lease).ok()) return false;
  for (const auto& [number, promise] : job.calls) TakeUpPromise(promise);
  return true;
}

// --- 5. Promise ----------------------------------------------------------------------------------

std::vector<const PromiseReplay::Named*> RestoreFlow::NamesOf(const Listed& list) const {
  std::vector<const PromiseReplay::Named*> names(list.manifest->size());
  auto next = list.from->names.begin();
  for (uint32_t i = 0; i < list.manifest->size(); ++i) {
    const uint32_t index = list.excerpt.indices[i];
    while (next != list.from->names.end() && next->index < index) ++next;
    if (next == list.from->names.end()) break;
    if (next->index != index || OidOf(list.from->NameOf(*next)) != list.manifest->oid(i)) continue;
    names[i] = &*next;
  }
  return names;
}

void RestoreFlow::TakeUpPromise(const entry::Promise& promise) {
  const Listed& list = lists_.at(promise.digest);
  const Duration left = std::min(LeftOf(promise), context_->options.max_hold);
  Commitment& commitment =
      commitments_->Recreate(promise.job, promise.call, list.manifest, list.excerpt,
                             promise.name_allowance, context_->Now() + left);
  commitment.priority = promise.priority;
  const std::vector<const PromiseReplay::Named*> names = NamesOf(list);
  Bitmap promised(list.manifest->size()), loadable(list.manifest->size());
  for (uint32_t index : promise.indices) promised.Set(commitment.FromIndexInList(index));
  promised.ForEach([&](size_t i) {
    const auto index = static_cast<uint32_t>(i);
    const bool on_disk =
        context_->disk != nullptr &&
        context_->disk->Has(list.manifest->oid(index), list.manifest->version(index));
    if (names[i] != nullptr || on_disk) loadable.Set(i);
  });
  counters_.objects += promised.Count();
  commitments_->Readmit(commitment, promised, loadable);
  Load(commitment, names, *list.from);
}

// --- 6. Load -------------------------------------------------------------------------------------

void RestoreFlow::Load(const Commitment& commitment,
                       const std::vector<const PromiseReplay::Named*>& names,
                       const PromiseReplay::List& list) {
  LoadBatch batch{.job = commitment.job,
                  .call = commitment.call,
                  .priority = commitment.priority,
                  .manifest = commitment.manifest,
                  .indices = {},
                  .name_ends = {},
                  .names = {},
                  .etag_ends = {},
                  .etags = {},
                  .need_by = {},
                  .received = context_->Now(),
                  .order = {}};
  std::string name_text, etag_text;
  std::vector<uint32_t> name_ends, etag_ends, need_by;
  commitment.pending.ForEach([&](size_t i) {
    batch.indices.push_back(static_cast<uint32_t>(i));
    if (const PromiseReplay::Named* named = names[i]) {
      name_text += list.NameOf(*named);
      etag_text += list.EtagOf(*named);
    }
    name_ends.push_back(static_cast<uint32_t>(name_text.size()));
    etag_ends.push_back(static_cast<uint32_t>(etag_text.size()));
    need_by.push_back(names[i] == nullptr ? 0 : names[i]->need_by_ms);
  });
  if (batch.indices.empty()) return;
  batch.name_ends = Buffer::CopyOf(std::as_bytes(std::span(name_ends)));
  batch.names = Buffer::CopyOf(AsBytes(name_text));
  batch.etag_ends = Buffer::CopyOf(std::as_bytes(std::span(etag_ends)));
  batch.etags = Buffer::CopyOf(AsBytes(etag_text));
  batch.need_by = Buffer::CopyOf(std::as_bytes(std::span(need_by)));
  batch.Sort(*context_->env.far);
  loader_->Enqueue(std::move(batch));
}

}  // namespace holdfast::cached
