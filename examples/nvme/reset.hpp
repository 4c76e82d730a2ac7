// SPDX-License-Identifier: BSL-1.0
//
// ResetSequence: stops all disks of a controller, has the controller reset, and lets the disks go
// on.
//
//   begin      the first caller wins. Every disk is quiesced: no queue_rq runs any more.
//   restart    called on one context when all are quiet. The driver stops the controller, gives up
//              what was in flight, and starts the controller.
//   unquiesce  every disk that was quiesced goes on. Then the reset is over.
//
// A disk that is removed during a reset ends its operations at once. It is destroyed when
// is_running() is false.
//
// A disk that is being created cannot be quiesced, and is refused while a reset is running. The
// creator of a disk holds a Deferral. A reset that is asked for then begins at the Deferral's end,
// and quiesces the disk, too.

#ifndef EXAMPLES_NVME_RESET_HPP
#define EXAMPLES_NVME_RESET_HPP

#include <atomic>
#include <blkown/mq/mq.hpp>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace nvme_driver {

/// The resets of a controller with disks of the driver D.
template <class D>
class ResetSequence {
 public:
  using Disk = blkown::mq::Disk<D>;

  /// `restart(argument)` resets the controller. `needs_another(argument)` is asked behind it
  /// whether something has happened meanwhile that only a further reset mends.
  ResetSequence(void (*restart)(void*), bool (*needs_another)(void*), void* argument) noexcept
      : restart_{restart}, needs_another_{needs_another}, argument_{argument} {}

  /// While it exists, no reset begins.
  class [[nodiscard]] Deferral {
   public:
    Deferral(Deferral&& other) noexcept : sequence_{std::exchange(other.sequence_, nullptr)} {}
    Deferral& operator=(Deferral&&) = delete;
    /// Begins the reset that was asked for meanwhile.
    ~Deferral() {
      if (sequence_ != nullptr) sequence_->end_deferral();
    }

   private:
    friend class ResetSequence;
    explicit Deferral(ResetSequence& sequence) noexcept : sequence_{&sequence} {}

    ResetSequence* sequence_;
  };
  /// None: a reset is running, or another Deferral exists.
  /// Context: any.
  [[nodiscard]] std::optional<Deferral> defer() {
    const std::lock_guard guard{mutex_};
    std::uint32_t none = 0;
    if (!requests_.compare_exchange_strong(none, 1)) return std::nullopt;
    is_deferred_ = true;
    forget_gone();
    return Deferral{*this};
  }

  /// Counts a hardware queue of a disk that is put into use. Its first one adds the disk. False: a
  /// reset is running, and the disk is not part of it.
  [[nodiscard]] bool attach(Disk& disk) {
    const std::lock_guard guard{mutex_};
    for (const auto& member : members_) {
      if (member->disk != &disk || member->is_gone()) continue;
      ++member->open_queues;
      return true;
    }
    if (is_running() && !is_deferred_) return false;
    if (!is_running()) forget_gone();
    members_.push_back(std::make_unique<Member>(*this, disk));
    return true;
  }
  /// Counts a queue that is taken out of use. A disk without queues is being removed: true, and
  /// later resets leave the disk out. A disk with fewer queues than before is still reset.
  bool detach(const Disk& disk) {
    const std::lock_guard guard{mutex_};
    for (const auto& member : members_) {
      if (member->disk == &disk && !member->is_gone()) return --member->open_queues == 0;
    }
    return false;
  }

  /// Calls `visit(Disk&)` for each disk.
  template <class Visit>
  void for_each(Visit visit) {
    const std::lock_guard guard{mutex_};
    for (const auto& member : members_) {
      if (!member->is_gone()) visit(*member->disk);
    }
  }

  /// Begins a reset, at the end of a Deferral if there is one. If one is running, the call is part
  /// of it until the controller was reset, and later begins another one at its end.
  /// Context: any.
  void begin() {
    if (requests_.fetch_add(1) != 0) return;
    step(Phase::quiescing);
  }
  /// Also while resets are deferred.
  [[nodiscard]] bool is_running() const noexcept { return requests_.load() != 0; }
  /// The number of disks that are known, those that have left during a reset included.
  [[nodiscard]] std::size_t size() {
    const std::lock_guard guard{mutex_};
    return members_.size();
  }

 private:
  enum class Phase : std::uint8_t { quiescing, unquiescing };

  struct Member {
    Member(ResetSequence& its_sequence, Disk& its_disk)
        : disk{&its_disk}, control{{&on_control, &its_sequence}} {}
    [[nodiscard]] bool is_gone() const noexcept { return open_queues == 0; }

    Disk* disk;
    std::uint32_t open_queues = 1;
    bool is_quiesced = false;
    blkown::mq::Control control;
  };

  static void on_control(void* self, blkown::mq::Control&) {
    static_cast<ResetSequence*>(self)->one_done();
  }

  void end_deferral() {
    {
      const std::lock_guard guard{mutex_};
      is_deferred_ = false;
    }
    if (requests_.fetch_sub(1) != 1) step(Phase::quiescing);
  }

  /// Precondition: the mutex is held, and no operation of a reset is running.
  void forget_gone() {
    std::erase_if(members_, [](const auto& member) { return member->is_gone(); });
  }

  /// Starts a phase. An operation may end within the call that starts it.
  void step(Phase phase) {
    phase_ = phase;
    pending_.store(1);  // this function's own
    {
      const std::lock_guard guard{mutex_};
      if (phase == Phase::quiescing) forget_gone();
      for (const auto& member : members_) {
        const bool is_due = phase == Phase::quiescing ? !member->is_gone() : member->is_quiesced;
        if (!is_due) continue;
        pending_.fetch_add(1);
        member->is_quiesced = phase == Phase::quiescing;
        if (phase == Phase::quiescing) {
          member->disk->quiesce(member->control);
        } else {
          member->disk->unquiesce(member->control);
        }
      }
    }
    one_done();
  }
  void one_done() {
    if (pending_.fetch_sub(1) != 1) return;
    if (phase_ == Phase::unquiescing) {
      const std::uint32_t served = served_;
      if (requests_.fetch_sub(served) != served) step(Phase::quiescing);
      return;
    }
    restart_(argument_);
    served_ = requests_.load();
    // Asked behind the load: who notes it after this question begins a reset of his own.
    if (needs_another_(argument_)) --served_;
    step(Phase::unquiescing);
  }

  void (*restart_)(void*);
  bool (*needs_another_)(void*);
  void* argument_;
  std::mutex mutex_;  // of the members
  std::vector<std::unique_ptr<Member>> members_;
  bool is_deferred_ = false;                // guarded by the mutex
  std::atomic<std::uint32_t> requests_{0};  // a Deferral; of the running reset and of the next one
  std::atomic<std::uint32_t> pending_{0};
  Phase phase_ = Phase::quiescing;  // ordered by pending_
  std::uint32_t served_ = 0;        // requests of the running reset; ordered by pending_
};

}  // namespace nvme_driver

#endif
