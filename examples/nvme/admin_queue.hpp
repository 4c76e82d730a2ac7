// SPDX-License-Identifier: BSL-1.0
//
// AdminQueue: the admin commands of a controller, with tags of their own.
//
// start() sends a command and returns. Its callback runs once, in the context that takes the
// completion. execute() waits for the end: it takes completions itself, so that it works before
// interrupts do.
//
// A command that the controller does not complete stays in flight, with its tag and its memory,
// until abandon() gets the proof that the controller has stopped. That holds for an execute() whose
// time is over, too: it only gives up waiting.

#ifndef EXAMPLES_NVME_ADMIN_QUEUE_HPP
#define EXAMPLES_NVME_ADMIN_QUEUE_HPP

#include <atomic>
#include <blkown/blkown.hpp>
#include <blkown/dma/proof.hpp>
#include <blkown/nvme/status.hpp>
#include <cstdint>
#include <mutex>
#include <optional>
#include <utility>

#include "completion_gate.hpp"
#include "platform.hpp"
#include "queue_pair.hpp"

namespace nvme_driver {

using blkown::nvme::StatusCode;
using blkown::nvme::StatusField;

/// The end of an admin command.
struct AdminResult {
  StatusField status = StatusField::of(StatusCode::aborted_by_host);
  std::uint32_t value = 0;  ///< The completion's first word.
};

/// What is called at the end of an admin command. The default does nothing.
struct OnAdminEnd {
  void (*function)(void* argument, const AdminResult& result) = nullptr;
  void* argument = nullptr;
};

/// The data of an admin command's request.
struct AdminCommand {
  OnAdminEnd on_end;
  AdminResult result;
};

/// The admin queue of a controller. `Lock` is that of the submissions, with lock() and unlock():
/// std::mutex, or a kernel's spin lock.
template <Registers R, class Lock>
class AdminQueue {
 public:
  using Rq = blkown::Request<AdminCommand>;
  using Tags = blkown::TagSet<Rq>;

  /// The most commands in flight.
  static constexpr std::uint32_t depth = 16;
  /// The entries of each ring. More than commands, because only completions say what was fetched.
  static constexpr std::uint32_t entries = 2 * depth;

  /// Allocates the tags. Nothing is allocated later.
  [[nodiscard]] static auto create_tags(
      std::optional<blkown::Generation> first_generation = {}) noexcept {
    return Tags::create({.depth = depth,
                         .layout = blkown::CookieLayout::nvme(),
                         .first_generation = first_generation},
                        blkown::EndSink<Rq>{&on_ended, nullptr});
  }

  /// Precondition: both rings have `entries` entries, and `tags` come from create_tags().
  AdminQueue(R& registers, const QueuePairConfig& config, Tags&& tags) noexcept
      : pair_{registers, config}, tags_{std::move(tags)}, cache_{tags_.tag_cache(queue, 0)} {}

  /// Sends a command. Returns whether `on_end` was or will be called: false, if no tag is free, or
  /// the queue is closed.
  /// Effects: `on_end` may be called within this call, and may start commands.
  /// Context: any, interrupts included if `Lock` is safe there.
  bool start(const SubmissionEntry& entry, OnAdminEnd on_end) noexcept {
    std::optional<blkown::Claim<Rq>> refused;
    {
      const std::lock_guard guard{lock_};
      if (!is_open_) return false;
      auto idle = tags_.allocate(queue, cache_);
      if (!idle.has_value()) return false;
      idle->data() = {.on_end = on_end, .result = {}};
      auto published = pair_.publish(std::move(*idle).start().into_claim(), entry);
      if (published.has_value()) {
        pair_.ring_doorbell();
      } else {
        refused = std::move(published.error().claim);
      }
    }
    if (refused.has_value()) std::move(*refused).end(blkown::Status::device_resource);
    return true;
  }

  /// Sends a command and waits for its end. None: it did not end in time and is still in flight, or
  /// start() has refused it. Stop the controller then.
  /// Context: may wait. Not within a callback of this queue.
  template <Platform P>
  [[nodiscard]] std::optional<AdminResult> execute(P& platform, const SubmissionEntry& entry,
                                                   std::uint64_t timeout_ms) noexcept {
    Waiter waiter;
    if (!start(entry, {&Waiter::note, &waiter})) return std::nullopt;
    wait_until(platform, timeout_ms, [&] {
      poll();
      return waiter.is_done.load();
    });
    // The waiter is about to disappear. If its command ends at this moment, its callback finishes.
    while (!waiter.is_done.load()) {
      if (forget(waiter)) return std::nullopt;
      platform.pause();
    }
    return waiter.result;
  }

  /// Takes the completions.
  /// Context: any, interrupts included.
  void poll() noexcept {
    gate_.enter([&] {
      pair_.poll([&](const CompletionEntry& entry) {
        auto claim = tags_.claim(queue, entry.command_id);
        if (!claim.has_value()) return refused_.store(refused_.load() + 1);
        claim->data().result = {.status = entry.status(), .value = entry.dw0};
        std::move(*claim).end(blkown::nvme::to_status(entry.status()));
      });
    });
  }

  /// Whether poll() would take a completion.
  /// Precondition: no other context takes completions.
  [[nodiscard]] bool has_completion() const noexcept { return pair_.has_completion(); }

  /// Ends all commands with aborted_by_host, empties the rings, and closes the queue: a command
  /// that another context starts before open() would be in a ring that the controller never reads.
  /// Precondition: `proof` shows that the controller has stopped.
  void abandon(const blkown::dma::EndProof&) noexcept {
    set_open(false);
    tags_.for_each_in_flight(queue, [](const blkown::ARef<Rq>& pin, const blkown::Cookie& cookie) {
      auto claim = blkown::claim(pin, cookie);
      if (claim.has_value()) std::move(*claim).end(blkown::Status::aborted);
    });
    while (!gate_.try_close([&] { pair_.reset(); })) {
    }
  }

  /// Lets commands start again after abandon().
  /// Precondition: the controller is enabled with this queue.
  void open() noexcept { set_open(true); }

  /// The number of completions whose id was of no command in flight.
  [[nodiscard]] std::uint64_t refused_count() const noexcept { return refused_.load(); }
  [[nodiscard]] const QueuePairConfig& config() const noexcept { return pair_.config(); }

 private:
  static constexpr blkown::QueueIndex queue{0};

  /// The caller of execute(). Its callback may run on another thread.
  struct Waiter {
    static void note(void* self, const AdminResult& result) {
      static_cast<Waiter*>(self)->result = result;
      static_cast<Waiter*>(self)->is_done.store(true);
    }
    AdminResult result;
    std::atomic<bool> is_done{false};
  };

  static void on_ended(void*, blkown::EndedList<Rq>&& list) {
    while (auto ended = list.pop_front()) {
      const AdminCommand command = ended->data();
      // First the tag, so that the callback can start the next command with it.
      std::move(*ended).release();
      if (command.on_end.function != nullptr) {
        command.on_end.function(command.on_end.argument, command.result);
      }
    }
  }

  void set_open(bool is_open) noexcept {
    const std::lock_guard guard{lock_};
    is_open_ = is_open;
  }

  /// Removes the waiter from its command, which stays in flight. False: the command is ending, or
  /// another context takes completions. No completion is taken meanwhile, because it would be
  /// refused while the claim exists.
  [[nodiscard]] bool forget(const Waiter& waiter) noexcept {
    bool is_forgotten = false;
    const bool is_inside = gate_.try_close([&] {
      tags_.for_each_in_flight(queue,
                               [&](const blkown::ARef<Rq>& pin, const blkown::Cookie& cookie) {
                                 auto claim = blkown::claim(pin, cookie);
                                 if (!claim.has_value()) return;
                                 if (claim->data().on_end.argument == &waiter) {
                                   claim->data().on_end = {};
                                   is_forgotten = true;
                                 }
                                 std::move(*claim).release();
                               });
    });
    if (is_inside) poll();  // for an interrupt that came meanwhile
    return is_forgotten;
  }

  QueuePair<R> pair_;
  Tags tags_;
  blkown::TagCache cache_;  // of capacity 0, under the lock
  Lock lock_;
  bool is_open_ = true;  // under the lock
  CompletionGate gate_;
  std::atomic<std::uint64_t> refused_{0};  // written by the context inside the gate
};

}  // namespace nvme_driver

#endif
