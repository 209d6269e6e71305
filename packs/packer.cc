// SPDX-License-Identifier: Apache-2.0
#include "packs/packer.h"

#include <set>
#include <utility>

#include "base/hash.h"
#include "base/uri.h"

namespace holdfast::packs {

Packer::Packer(Clock* clock, FarStore* far, FarWriter* writer, Options options)
    : clock_(clock), far_(far), options_(std::move(options)) {
  world_ = {.clock = clock,
            .far = far,
            .writer = writer,
            .dest = options_.dest,
            .there =
                [this](const std::string& uri) {
                  const auto it = there_.find(uri);
                  return it == there_.end() ? nullptr : &it->second;
                },
            .progress =
                [this](uint64_t objects, uint64_t bytes) {
                  done_objects_ += objects;
                  done_bytes_ += bytes;
                  if (options_.progress) options_.progress(done_objects_, done_bytes_);
                }};
}

void Packer::Start(std::vector<FarEntry> given, Plan plan,
                   std::function<void(Result<Report>)> done) {
  given_ = std::move(given);
  plan_ = std::move(plan);
  done_ = std::move(done);
  List("");
}

void Packer::End(const Status& status) {
  auto done = std::exchange(done_, nullptr);
  if (!status.ok()) return done(status);
  done(std::move(report_));
}

// --- What is there -------------------------------------------------------------------------------

void Packer::List(const std::string& token) {
  far_->List(options_.dest, token, false, clock_->Now() + PackJob::kDeadline,
             [this](const Result<FarPage>& page) { OnPage(page); });
}

void Packer::OnPage(const Result<FarPage>& page) {
  // A directory that is not there yet has nothing in it.
  if (!page.ok() && page.status().code() == Code::kNotFound && there_.empty()) return Fill();
  if (!page.ok()) return End(page.status());
  for (const FarEntry& entry : page->entries) there_.emplace(entry.uri, entry.info);
  if (!page->next.empty()) return List(page->next);
  Fill();
}

// --- Packs ---------------------------------------------------------------------------------------

void Packer::Fill() {
  while (next_ < plan_.packs.size() && failed_.ok() && jobs_.size() < kAtOnce) {
    const PackPlan& pack = plan_.packs[next_];
    if (!jobs_.empty() && bytes_under_way_ + 2 * pack.bytes > kAtOnceBytes) break;
    std::vector<FarEntry> objects;
    for (uint32_t position : pack.objects) objects.push_back(given_[position]);
    const size_t number = next_++;
    bytes_under_way_ += 2 * pack.bytes;
    auto job = std::make_unique<PackJob>(
        &world_, std::move(objects), [this, number](Result<PackJob::Outcome> outcome) {
          // Not from inside the job, which ends here.
          auto kept = std::make_shared<Result<PackJob::Outcome>>(std::move(outcome));
          clock_->At(clock_->Now(), [this, number, kept] { OnPack(number, std::move(*kept)); });
        });
    PackJob* started = job.get();
    jobs_.emplace(number, std::move(job));
    started->Start();
  }
  if (!jobs_.empty()) return;
  if (!failed_.ok()) return End(failed_);
  WriteIndex();
}

void Packer::OnPack(size_t number, Result<PackJob::Outcome> outcome) {
  jobs_.erase(number);
  bytes_under_way_ -= 2 * plan_.packs[number].bytes;
  if (!outcome.ok()) {
    if (failed_.ok()) failed_ = outcome.status();
    return Fill();
  }
  report_.changed += outcome->changed;
  report_.left_out += outcome->left_out.size();
  for (Status& why : outcome->left_out) {
    if (report_.why_left_out.size() < kMaxShown) report_.why_left_out.push_back(std::move(why));
  }
  if (!outcome->objects.empty()) {
    ++(outcome->found ? report_.packs_found : report_.packs_written);
    report_.objects += outcome->objects.size();
    report_.bytes += outcome->bytes;
    uint32_t offset = 0;
    for (PackedObject& object : outcome->objects) {
      rows_.push_back({.oid = OidOf(object.name),
                       .pack = static_cast<uint32_t>(packs_.size()),
                       .offset = offset,
                       .size = static_cast<uint32_t>(object.size),
                       .hash = object.hash,
                       .etag = std::move(object.etag)});
      offset += rows_.back().size;
    }
    packs_.push_back({outcome->name, outcome->bytes});
  }
  Fill();
}

// --- The index -----------------------------------------------------------------------------------

void Packer::WriteIndex() {
  if (rows_.empty()) return End(Status::NotFound("no object is left that could be packed"));
  std::set<std::string> named;
  for (const PackIndex::Pack& pack : packs_) named.insert(options_.dest + PackFileName(pack.name));
  for (const auto& [uri, info] : there_) {
    if (uri.ends_with(".pack") && !named.contains(uri)) ++report_.packs_unnamed;
  }
  index_ = PackIndex::Encode(packs_, std::move(rows_));
  index_hash_ = Hash64(index_.view());
  report_.index_bytes = index_.size();
  world_.writer->Put({options_.dest + std::string(kIndexFileName), index_.view(),
                      clock_->Now() + PackJob::kDeadline},
                     [this](const Result<FarInfo>& info) {
                       if (!info.ok()) return End(info.status());
                       ReadIndexBack();
                     });
}

void Packer::ReadIndexBack() {
  FarGet get;
  get.uri = options_.dest + std::string(kIndexFileName);
  get.length = index_.size();
  get.into = index_.span();
  get.deadline = clock_->Now() + PackJob::kDeadline;
  far_->Get(std::move(get), [this](const Status& status, const FarInfo&, uint64_t hash) {
    if (status.ok() && hash != index_hash_) {
      return End(Status::Corrupt(options_.dest + std::string(kIndexFileName) +
                                 ": what was written reads back as something else"));
    }
    End(status);
  });
}

}  // namespace holdfast::packs
