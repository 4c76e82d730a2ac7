// SPDX-License-Identifier: BSL-1.0
//
// SecondParty: what others than the driver do to a disk: an administrator, a file system, a power
// manager.
//
// At random moments the party quiesces or freezes the disk for a while, stops and starts hardware
// queues, kicks requeued requests, and changes the limits of requests, between one block and the
// limits that the disk was made with. On request it changes the number of queues, and resets the
// device as an administrator does. The driver's own resets go on at the same time, so the disk
// is often quiesced by two parties, and the driver resets its device while a freeze waits for the
// requests.

#ifndef BLKOWN_SIM_HARNESS_SECOND_PARTY_HPP
#define BLKOWN_SIM_HARNESS_SECOND_PARTY_HPP

#include <algorithm>
#include <blkown/config.hpp>
#include <blkown/mq/context.hpp>
#include <blkown/mq/control.hpp>
#include <blkown/mq/detail/split.hpp>
#include <blkown/mq/disk.hpp>
#include <blkown/mq/limits.hpp>
#include <blkown/mq/op.hpp>
#include <blkown/mq/timer.hpp>
#include <blkown/mq/trace.hpp>
#include <blkown/sim/device/random.hpp>
#include <blkown/status.hpp>
#include <blkown/tag.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// What a SecondParty does on request.
struct PartyDuties {
  bool changes_queue_count = false;
  void (*reset)(void* argument) = nullptr;  ///< Resets the device. Null: the party does not.
  void* argument = nullptr;
};

/// Operates on a disk of the driver D beside the driver.
///
/// Context: the thread of the world. The party is destroyed after the disk's removal, when it is
/// idle.
template <class D>
class SecondParty {
 public:
  /// The party's alarms run on `context`.
  SecondParty(std::uint64_t seed, mq::Disk<D>& disk, mq::Context& context,
              const PartyDuties& duties = {})
      : random_{seed ^ 0x5EC0'4D9A'2717'0000U},
        duty_random_{seed ^ 0x5EC0'4D9A'2717'0001U},
        disk_{disk},
        context_{context},
        duties_{duties} {}

  /// Possibly does something. Called after each step of the world.
  void act() {
    act_on_request();
    if (!random_.chance(1, 300)) return;
    switch (random_.below(7)) {
      case 0:
      case 1: return hold(false);
      case 2: return stop_queue();
      case 3: return hold(true);
      case 4:
      case 5: return change_limits();
      default: disk_.kick_requeued();
    }
  }

  /// Whether the party has no operation or work in flight. Its alarms may be armed: the destructor
  /// cancels them.
  [[nodiscard]] bool is_idle() const noexcept {
    return !control_.is_running() && !limits_control_.is_running() &&
           !queue_control_.is_running() && !reset_.is_queued();
  }
  /// Whether the party's quiesce or freeze is in force: queue_rq must not be called for bios.
  [[nodiscard]] bool holds_disk() const noexcept { return state_ == State::holding; }
  /// What is wrong with a call of queue_rq (the step TraceStep::issued), within the call. Null:
  /// nothing. All parties that have quiesced or frozen the disk must have undone that, and the
  /// limits do not change while a request is issued.
  [[nodiscard]] const char* judge_issue(const mq::TraceEvent& event) const {
    if (!mq::is_private(event.op) && holds_disk()) {
      return "queue_rq was called while another party has the disk quiesced or frozen";
    }
    if (!mq::has_range(event.op)) return nullptr;
    const mq::QueueLimits limits = disk_.limits();
    const std::uint64_t length_sectors = event.length_bytes / mq::sector_bytes;
    const std::uint64_t last = event.sector + length_sectors - 1;
    const std::uint64_t chunk = limits.chunk_sectors;
    if (length_sectors > mq::detail::max_sectors_of(event.op, limits) ||
        (chunk != 0 && event.sector / chunk != last / chunk)) {
      return "queue_rq was called for a request beyond the disk's limits";
    }
    return nullptr;
  }

 private:
  enum class State : std::uint8_t { idle, beginning, holding, undoing };

  /// With numbers of its own, so that the other actions stay the same.
  void act_on_request() {
    if (duties_.changes_queue_count && duty_random_.chance(1, 1000)) change_queue_count();
    // On the context, as a driver's other calls.
    if (duties_.reset != nullptr && duty_random_.chance(1, 1000) && !reset_.is_queued()) {
      context_.post(reset_);
    }
  }
  /// No queue stays stopped, because the queue may be one of those that leave.
  void change_queue_count() {
    if (stopped_ != nullptr || queue_control_.is_running()) return;
    const std::uint64_t max_count = disk_.config().normal_queues;
    disk_.set_queue_count(queue_control_,
                          1 + static_cast<std::uint32_t>(duty_random_.below(max_count)));
  }

  void hold(bool freezes) {
    if (state_ != State::idle) return;
    state_ = State::beginning;
    freezes_ = freezes;
    freezes ? disk_.freeze(control_) : disk_.quiesce(control_);
  }
  static void on_control(void* self, mq::Control& control) {
    auto& party = *static_cast<SecondParty*>(self);
    const bool begins = party.state_ == State::beginning && control.status() == Status::ok;
    party.state_ = begins ? State::holding : State::idle;
    if (begins) party.undo_.arm(party.context_, party.random_.below(max_hold_ns));
  }
  void undo() {
    state_ = State::undoing;
    freezes_ ? disk_.thaw(control_) : disk_.unquiesce(control_);
  }

  void stop_queue() {
    if (stopped_ != nullptr || queue_control_.is_running()) return;
    const auto index = static_cast<std::uint32_t>(random_.below(disk_.hw_queue_count()));
    stopped_ = &disk_.hw_queue(QueueIndex{index});
    stopped_->stop();
    start_.arm(context_, random_.below(max_hold_ns));
  }
  void start_queue() {
    stopped_->start();
    stopped_ = nullptr;
  }

  /// A change waits for the requests of the driver. A hold that has begun before does not end with
  /// the change.
  void change_limits() {
    if (limits_control_.is_running()) return;
    mq::QueueLimits limits = disk_.config().limits;
    const std::uint32_t block_sectors = disk_.config().logical_block_bytes / mq::sector_bytes;
    limits.max_sectors = up_to(limits.max_sectors, block_sectors);
    limits.max_segments = up_to(limits.max_segments, 1);
    limits.max_discard_sectors = up_to(limits.max_discard_sectors, block_sectors);
    limits.max_write_zeroes_sectors = up_to(limits.max_write_zeroes_sectors, block_sectors);
    limits.max_zone_append_sectors =
        std::min<std::uint64_t>(limits.max_zone_append_sectors, limits.max_sectors);
    // The chunks of a zoned disk are its zones.
    if (random_.chance(1, 2) && !disk_.config().zoned) {
      limits.chunk_sectors = std::uint64_t{block_sectors} << random_.below(4);
    }
    disk_.set_limits(limits_control_, limits);
  }
  /// A limit of one to `max` / `unit` units; 0 stays 0.
  template <class Limit>
  [[nodiscard]] Limit up_to(Limit max, std::uint32_t unit) {
    return max == 0 ? max : static_cast<Limit>((1 + random_.below(max / unit)) * unit);
  }

  static constexpr std::uint64_t max_hold_ns = 500'000;

  Random random_;
  Random duty_random_;
  mq::Disk<D>& disk_;
  mq::Context& context_;
  PartyDuties duties_;
  State state_ = State::idle;
  bool freezes_ = false;
  mq::HwQueue<D>* stopped_ = nullptr;
  mq::Control control_{{&on_control, this}};
  mq::Control limits_control_{{[](void*, mq::Control&) {}, nullptr}};
  mq::Control queue_control_{{[](void*, mq::Control&) {}, nullptr}};
  mq::Work reset_{[](void* self, mq::Work&) {
                    const PartyDuties& its = static_cast<SecondParty*>(self)->duties_;
                    its.reset(its.argument);
                  },
                  this};
  mq::Alarm undo_{[](void* self, mq::Alarm&) { static_cast<SecondParty*>(self)->undo(); }, this};
  mq::Alarm start_{[](void* self, mq::Alarm&) { static_cast<SecondParty*>(self)->start_queue(); },
                   this};
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
