// SPDX-License-Identifier: BSL-1.0
//
// Theme: issuing to a device, its refusal, and the stages of an I/O.
//
// Goal: a completion that arrives before publish returns is found. A refused publish gets its right
// back unless another thread took it. The completion of one stage never reaches the next stage.
// Method: the device, or its forger, is a thread of its own. Doorbell and completion queue are
// release/acquire channels.
// Invariants: as in theme pins, and no completion is lost.

#include "fixture.hpp"

namespace issues {

/// A release/acquire channel for one value; 0 is "nothing yet".
struct Channel {
  model::atomic<std::uint64_t> value{0};
  explicit Channel(const char* name) { value.describe(name); }
  void send(std::uint64_t what) { value.store(what, release); }
  [[nodiscard]] std::uint64_t wait() { return value.await_other(0, acquire); }
  [[nodiscard]] std::uint64_t look() { return value.load(acquire); }
};

/// From the doorbell to the completion channel. The device writes the pages in between.
template <bool FromClaim>
struct Doorbell : Device {
  Channel doorbell{"doorbell"};
  Channel completion{"completion queue"};
  model::Data<int> pages{0, "the pages"};
  std::optional<Owned> owned{start()};
  void submits() {
    owned->data().value.set(5);
    pages.set(1);
    const auto ring = [this](const Cookie& c) { doorbell.send(c.value); };
    if constexpr (FromClaim) {
      std::move(*owned).into_claim().publish(ring);
    } else {
      std::move(*owned).publish(ring);
    }
  }
  void device_runs() {
    const std::uint64_t id = doorbell.wait();
    pages.set(pages.get() + 1);
    completion.send(id);
  }
  void reaps() {
    auto claim = set().claim(QueueIndex{0}, completion.wait());
    model::check(claim.has_value(), "a lost completion: the I/O was not visible yet");
    model::check(pages.get() == 2, "the device has written the pages");
    write_and_end(std::move(*claim));
  }
  void finish() { check_all_ended(); }
};
template <bool FromClaim>
using AddDoorbell = Add<Doorbell<FromClaim>, &Doorbell<FromClaim>::submits,
                        &Doorbell<FromClaim>::device_runs, &Doorbell<FromClaim>::reaps>;
const AddDoorbell<false> doorbell{"issues", "doorbell to completion channel"};
const AddDoorbell<true> doorbell_claim{"issues", "doorbell to completion channel, from a Claim"};

/// The same with a mapping pin. The reaper drops the pin, then takes the request for itself.
struct DoorbellMapped : Device {
  Channel doorbell{"doorbell"};
  model::Data<int> pages{0, "the pages"};
  std::optional<Owned> owned{start()};
  std::optional<ARef> mapping;
  void submits() {
    Claim claim = std::move(*owned).into_claim();
    claim.data().value.set(5);
    mapping.emplace(claim.pin());
    pages.set(1);
    std::move(claim).publish([this](const Cookie& c) { doorbell.send(c.value); });
  }
  void completes() {
    auto claim = set().claim(QueueIndex{0}, doorbell.wait());
    model::check(claim.has_value(), "a lost completion: the I/O was not visible yet");
    pages.set(pages.get() + 1);
    mapping.reset();
    auto mine = std::move(*claim).into_owned();
    if (mine) {
      write_and_end(std::move(*mine));
    } else {
      write_and_end(std::move(mine.error()));
    }
  }
  void scans() {
    set().for_each_in_flight(QueueIndex{0},
                             [](ARef pin, const Cookie&) { const ARef mine = std::move(pin); });
  }
  void finish() { check_all_ended(); }
};
const Add<DoorbellMapped, &DoorbellMapped::submits, &DoorbellMapped::completes,
          &DoorbellMapped::scans>
    doorbell_mapped{"issues", "doorbell to completion of a mapped I/O, with a scan"};

/// The claimant of the first stage's completion publishes again (after a short read, for example),
/// against a duplicate of that completion, while the second stage completes.
struct NextStage : Device {
  Channel doorbell{"doorbell"};
  NextStage() { publish(start()); }
  void continues() {
    auto claim = set().claim(QueueIndex{0}, wire());
    if (!claim) return;
    claim->data().value.set(5);
    model::check(claim->next_cookie() == cookie(first + 1), "the next publication's cookie");
    std::move(*claim).publish([this](const Cookie& c) { doorbell.send(c.value); });
  }
  void duplicates() {
    auto claim = set().claim(QueueIndex{0}, wire());
    if (!claim) return;
    model::check(claim->cookie() == cookie(), "a duplicate only gets its own stage");
    write_and_end(std::move(*claim));
  }
  void completes() {
    const std::uint64_t id = doorbell.look();
    if (id == 0) return;
    model::check(id == wire(first + 1), "the second stage's cookie");
    auto claim = set().claim(QueueIndex{0}, id);
    model::check(claim.has_value(), "only this completion has the second stage's cookie");
    write_and_end(std::move(*claim));
  }
  void finish() { sweep(); }
};
const Add<NextStage, &NextStage::continues, &NextStage::duplicates, &NextStage::completes>
    next_stage{"issues", "publish again against a duplicate of the earlier stage"};

/// Requeue against a late completion. The completion may arrive before the requeue or during the
/// next issue. The next issue has another generation, so the completion never gets that issue.
struct RequeueLate : Device {
  RequeueLate() { publish(start()); }
  void requeues_it() {
    auto claim = set().claim(QueueIndex{0}, wire());
    if (!claim) return;
    std::move(*claim).requeue();
    publish(begin_again(take_requeued()));
  }
  void completes_late() {
    auto claim = set().claim(QueueIndex{0}, wire());
    if (!claim) return;
    model::check(claim->cookie() == cookie(), "a late completion gets its own issue only");
    write_and_end(std::move(*claim));
  }
  void completes() {
    auto claim = set().claim(QueueIndex{0}, wire(first + 1));
    if (claim) write_and_end(std::move(*claim));
  }
  void finish() { sweep(); }

 private:
  [[nodiscard]] static Owned begin_again(Idle idle) {
    idle.data().value.set(4);
    return std::move(idle).start();
  }
};
const Add<RequeueLate, &RequeueLate::requeues_it, &RequeueLate::completes_late,
          &RequeueLate::completes>
    requeue_late{"issues", "requeue against a late completion"};

/// Requeue of a Claim with a pin: the last drop returns the I/O, on the thread that drops.
struct RequeuePinned : Device {
  std::optional<ARef> pin;
  RequeuePinned() {
    Claim claim = start().into_claim();
    pin.emplace(claim.pin());
    publish(std::move(claim));
  }
  void requeues_it() {
    auto claim = set().claim(QueueIndex{0}, wire());
    model::check(claim.has_value(), "no other thread claims");
    claim->data().value.set(6);
    std::move(*claim).requeue();
  }
  void drops() { pin.reset(); }
  void finish() {
    model::check(requeues() == 1, "requeued once");
    write_and_end(take_requeued().start());
    check_all_ended();
  }
};
const Add<RequeuePinned, &RequeuePinned::requeues_it, &RequeuePinned::drops> requeue_pinned{
    "issues", "requeue against the last pin's drop"};

/// The device refuses the publication. The submitter ends the I/O if it takes the I/O back.
struct Refusing : Device {
  std::optional<Owned> owned{start()};
  std::uint32_t taken_back = 0;

  void submits() {
    owned->data().value.set(5);
    end_refused(std::move(*owned).publish(&refuse));
  }
  void submits_claim() {
    Claim claim = std::move(*owned).into_claim();
    claim.data().value.set(5);
    const ARef mapping = claim.pin();
    end_refused(std::move(claim).publish(&refuse));
  }
  void forges() {
    auto claim = set().claim(QueueIndex{0}, wire());
    if (claim) write_and_end(std::move(*claim));
  }

 protected:
  static std::expected<void, int> refuse(const Cookie&) { return std::unexpected(5); }

  void end_refused(std::expected<void, blkown::Refused<R, int>> answer) {
    model::check(!answer.has_value(), "refused");
    if (!answer.error().claim) return;
    ++taken_back;
    // Written at once, before another operation acquires.
    answer.error().claim->data().value.set(4);
    auto mine = std::move(*answer.error().claim).into_owned();
    if (mine) {
      write_and_end(std::move(*mine));
    } else {
      write_and_end(std::move(mine.error()));
    }
  }
};

/// The same with a forged completion and a scan.
struct RefusedForged : Refusing {
  void scans() {
    set().for_each_in_flight(QueueIndex{0}, [this](ARef pin, const Cookie& seen) {
      model::check(seen == cookie(), "the scan's cookie");
      const ARef mine = std::move(pin);
    });
  }
  void finish() {
    model::check(ends() == 1, "the submitter or the forger ends it");
    check_all_ended();
  }
};
const Add<RefusedForged, &RefusedForged::submits, &RefusedForged::forges, &RefusedForged::scans>
    refused{"issues", "publish refused, with a forged completion and a scan"};
const Add<RefusedForged, &RefusedForged::submits_claim, &RefusedForged::forges,
          &RefusedForged::scans>
    refused_claim{"issues", "Claim's publish refused, with a forged completion and a scan"};

/// The same with a forged Claim that is released again. The forged Claim may have prevented the
/// submitter from taking the right back. The I/O is then in flight, and a scan or a timeout finds
/// it.
struct RefusedReleased : Refusing {
  void forges_and_releases() {
    auto claim = set().claim(QueueIndex{0}, wire());
    if (!claim) return;
    claim->data().value.set(7);
    std::move(*claim).release();
  }
  void finish() {
    model::check(ends() == taken_back, "no other thread ends it");
    sweep();
  }
};
const Add<RefusedReleased, &RefusedReleased::submits, &RefusedReleased::forges_and_releases>
    refused_released{"issues", "publish refused, with a forged Claim that is released again"};

/// The tag is reused: the forged completion ends the I/O. The next I/Os of the tag are not the
/// refused one, even if a narrow cookie gives them the same generation.
struct RefusedReused : Refusing {
  void forges_and_reuses() {
    auto claim = set().claim(QueueIndex{0}, wire());
    if (!claim) return;
    write_and_end(std::move(*claim));
    for (int i = 0; i != 2; ++i) {
      Owned next = start();
      publish(std::move(next));
      if (i == 1) continue;
      auto mine = set().tag_to_owned(QueueIndex{0}, wire(first + 1));
      model::check(mine.has_value(), "no other thread knows the reused tag's cookie");
      write_and_end(std::move(*mine));
    }
  }
  void finish() {
    // Either the refused I/O was taken back and no other began, or the last of three is parked.
    model::check(taken_back == (lives() == 1 ? 1 : 0), "taken back unless forged");
    model::check(ends() == (lives() == 1 ? 1 : 2), "the reused tag's I/O is not ended by it");
    sweep();
  }
};
const Add<RefusedReused, &RefusedReused::submits, &RefusedReused::forges_and_reuses> refused_reused{
    "issues", "publish refused, with the tag reused"};

}  // namespace issues
