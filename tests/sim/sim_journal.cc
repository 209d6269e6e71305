// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/sim_journal.h"

#include <algorithm>
#include <utility>

namespace holdfast::sim {

SimJournal::SimJournal(World* world, ProcessId process, std::shared_ptr<JournalImage> image)
    : world_(world),
      process_(process),
      image_(std::move(image)),
      life_(image_->Open()),
      random_(world->Stream("journal " + world->NameOf(process))) {}

Status SimJournal::Failed() const {
  return Status::Unavailable("writing the journal: Input/output error");
}

void SimJournal::Append(ByteView record, std::function<void(Status, uint64_t)> done) {
  if (!replayed_) world_->Violate("journal", "a record is appended before what is there was read");
  failed_ = failed_ || world_->faults().Fires(Fault::kJournalFails);
  const uint64_t space = JournalImage::SpaceOf(record.size());
  const bool full = image_->used() + on_its_way_ + space > image_->capacity();
  if (full)
    world_->Violate("journal", "the journal is full: whoever writes it has not given space back");
  Duration delay = 20us + Duration(static_cast<int64_t>(random_.Exponential(60)));
  if (world_->faults().Fires(Fault::kJournalSlow)) delay += Duration(random_.Below(6'000'000));
  written_ = std::max(written_, world_->now() + delay);
  // What arrives while a sync is under way waits for the next one.
  const Time sync = written_ + Duration(20 + random_.Below(60));
  synced_ = std::max(synced_, sync);
  const uint64_t sequence = image_->NextSequence();
  JournalImage::Record kept{sequence, {record.begin(), record.end()}};
  // Of what a failing device was given, some is there all the same.
  if (!failed_ || random_.Chance(0.3)) {
    on_its_way_ += space;
    world_->At(written_, kWorld, [image = image_, life = life_, kept = std::move(kept)] {
      image->Arrive(life, kept);
    });
  }
  if (failed_) {
    world_->At(synced_, process_, [this, done = std::move(done)] { done(Failed(), 0); });
    return;
  }
  world_->At(synced_, kWorld, [image = image_, life = life_, sequence] {
    if (life == image->life()) image->Sync(sequence);
  });
  world_->At(synced_, process_, [this, sequence, space, done = std::move(done)] {
    on_its_way_ -= space;
    done({}, sequence);
  });
}

Status SimJournal::Truncate(uint64_t before) {
  if (failed_) return Failed();
  image_->Truncate(before);
  return {};
}

void SimJournal::Replay(std::function<void(uint64_t, ByteView)> each,
                        std::function<void(Status)> done) {
  replayed_ = true;
  world_->After(100us + Duration(random_.Below(20'000)), process_,
                [this, each = std::move(each), done = std::move(done)] {
                  for (const JournalImage::Record& record : image_->records())
                    each(record.sequence, record.bytes);
                  // What was read must not be lost when what is written after it is kept.
                  if (!image_->records().empty()) image_->Sync(image_->records().back().sequence);
                  done({});
                });
}

}  // namespace holdfast::sim
