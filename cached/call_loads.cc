// SPDX-License-Identifier: Apache-2.0
// Of a call's flow what comes between a confirm that was admitted and its loads: the journal has it,
// the job is told, the loads are queued.
#include <algorithm>
#include <utility>

#include "cached/call_flow.h"

namespace holdfast::cached {

using wire::Refusal;

// --- 3. Confirm: written and acknowledged --------------------------------------------------------

// Without a journal, or when nothing was promised, it is acknowledged at once.
void CallFlow::Write(const Commitment& commitment, size_t number, const LoadBatch& batch) {
  Chunk& chunk = chunks_[number];
  const uint32_t first = static_cast<uint32_t>(number) * wire::kChunkObjects;
  const auto count = static_cast<uint32_t>(chunk.promised.size());
  if (!planning_->log->on() || chunk.promised.None()) {
    chunk.promised = Bitmap();
    return SendAck(chunk.peer, first, count, chunk);
  }
  std::vector<entry::Name> names;
  for (size_t n = 0; n < batch.indices.size(); ++n) {
    if (commitment.pending.Get(batch.indices[n]))
      names.push_back(batch.EntryOf(n, context_->Now()));
  }
  const uint64_t ticket = chunk.ticket = planning_->log->NextTicket();
  planning_->log->Promise(commitment, first, chunk.promised, std::move(names),
                          [planning = planning_, job = call_.job, call = call_.call, number,
                           ticket](const Status& written) {
                            CallFlow* flow = planning->find(job, call);
                            if (flow != nullptr) flow->OnWritten(number, ticket, written);
                          });
}

void CallFlow::OnWritten(size_t number, uint64_t ticket, const Status& written) {
  if (number >= chunks_.size() || chunks_[number].ticket != ticket) return;
  Chunk& chunk = chunks_[number];
  const uint32_t first = static_cast<uint32_t>(number) * wire::kChunkObjects;
  chunk.ticket = 0;
  const Bitmap promised = std::exchange(chunk.promised, Bitmap());
  if (!written.ok()) {
    if (Commitment* commitment = planning_->commitments->Find(call_.job, call_.call))
      planning_->commitments->Withdraw(*commitment, first, promised);
    chunk.refused.OrAt(0, promised);
    chunk.why = Refusal::kNoRoom;
  }
  SendAck(chunk.peer, first, static_cast<uint32_t>(promised.size()), chunk);
  if (AllSettled()) StartLoads();
}

// --- 4. Load -------------------------------------------------------------------------------------

LoadBatch CallFlow::BatchOf(wire::Confirm confirm) const {
  LoadBatch batch{.job = call_.job,
                  .call = call_.call,
                  .priority = call_.priority,
                  .manifest = manifest_,
                  .indices = {},
                  .name_ends = std::move(confirm.name_ends),
                  .names = std::move(confirm.names),
                  .etag_ends = std::move(confirm.etag_ends),
                  .etags = std::move(confirm.etags),
                  .need_by = std::move(confirm.need_by),
                  .received = context_->Now(),
                  .order = {}};
  // Names are counted by the bits of `load`; the refused ones stay in the batch and are skipped
  // when their turn comes, because no commitment waits for them.
  Bitmap::FromBytes(confirm.load.view(), confirm.count).ForEach([&](size_t i) {
    batch.indices.push_back(confirm.first + static_cast<uint32_t>(i));
  });
  batch.Sort(*context_->env.far);
  return batch;
}

void CallFlow::KeepLoads(LoadBatch batch) {
  const Commitment* commitment = planning_->commitments->Find(call_.job, call_.call);
  const bool any = commitment != nullptr &&
                   std::any_of(batch.indices.begin(), batch.indices.end(),
                               [&](uint32_t index) { return commitment->pending.Get(index); });
  if (!any) return;
  memory_bytes_ += batch.memory_bytes();
  loads_.push_back(std::move(batch));
}

void CallFlow::NamesOf(const Commitment& commitment, uint32_t first, uint32_t last,
                       std::vector<entry::Name>* names) const {
  if (commitment.manifest != manifest_) return;
  for (const LoadBatch& batch : loads_) {
    for (size_t n = 0; n < batch.indices.size(); ++n) {
      const uint32_t index = batch.indices[n];
      if (index >= first && index < last && commitment.pending.Get(index))
        names->push_back(batch.EntryOf(n, context_->Now()));
    }
  }
}

bool CallFlow::AllSettled() const {
  return !chunks_.empty() && std::all_of(chunks_.begin(), chunks_.end(), [](const Chunk& chunk) {
    return chunk.settled && chunk.ticket == 0;
  });
}

void CallFlow::StartLoads() {
  bool wanted = planning_->commitments->Find(call_.job, call_.call) != nullptr;
  for (LoadBatch& batch : std::exchange(loads_, {})) {
    if (wanted) planning_->loader->Enqueue(std::move(batch));
  }
  memory_bytes_ = OwnBytes();
}

}  // namespace holdfast::cached
