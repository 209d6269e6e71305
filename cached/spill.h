// SPDX-License-Identifier: Apache-2.0
// All that a node has to do with spill-over (docs/decisions/0019):
//
//   (the disk lets go)     lifts.h       takes it up into memory again, while peers have room
//   (memory lets go)       spill_out.h   offers it to peers, and gives it to those that bid
//   SpillBid, SpillTaken   ...
//   SpillOffer, SpillGive  guests.h      takes in what others let go of
//   Lodged                 lodgings.h    remembers as a home where it went
#pragma once

#include <functional>
#include <utility>

#include "cached/guests.h"
#include "cached/home.h"
#include "cached/lifts.h"
#include "cached/spill_out.h"

namespace holdfast::cached {

class Spill {
 public:
  Spill(const Context* context, Membership* membership, Home* home, Commitments* commitments,
        const planner::Calendar* calendar, std::function<bool()> busy)
      : context_(context),
        membership_(membership),
        home_(home),
        out_(context, membership),
        guests_(context, membership, commitments, calendar, std::move(busy)),
        lifts_(context, commitments) {}
  // The tiers outlive it.
  ~Spill() {
    context_->tier->SetOutlet({});
    if (context_->disk != nullptr) context_->disk->SetOutlet({});
  }
  Spill(const Spill&) = delete;

  // From now on what leaves memory is offered, if the options say so.
  void Start() {
    if (!context_->options.spill_peers || membership_->peers().empty()) return;
    context_->tier->SetOutlet(
        {.room = [this] { return out_.Room(); },
         .take = [this](std::vector<store::LeavingRecord> records,
                        std::function<void()> done) { out_.Take(std::move(records), done); }});
    if (context_->disk == nullptr) return;
    context_->disk->SetOutlet(
        {.room = [this] { return out_.Room(); },
         .take =
             [this](std::vector<disk::Entry> records, std::function<void(const Bitmap&)> done) {
               lifts_.Take(std::move(records), std::move(done));
             }});
  }

  void On(PeerId from, const wire::SpillOffer& offer) { guests_.OnOffer(from, offer); }
  void On(PeerId from, const wire::SpillGive& give) { guests_.OnGive(from, give); }
  void On(PeerId from, const wire::SpillBid& bid) { out_.OnBid(from, bid); }
  void On(PeerId from, const wire::SpillTaken& taken) { out_.OnTaken(from, taken); }
  void On(PeerId from, const wire::Lodged& lodged) {
    home_->OnLodged(membership_->NodeOf(from), lodged);
  }
  void Expire() { guests_.Expire(); }

  const SpillOut& out() const { return out_; }
  const Guests& guests() const { return guests_; }
  const Lifts& lifts() const { return lifts_; }
  size_t under_way() const { return out_.under_way() + guests_.under_way() + lifts_.under_way(); }
  uint64_t memory_bytes() const { return out_.memory_bytes() + guests_.memory_bytes(); }

 private:
  const Context* context_;
  Membership* membership_;
  Home* home_;
  SpillOut out_;
  Guests guests_;
  Lifts lifts_;
};

}  // namespace holdfast::cached
