// SPDX-License-Identifier: BSL-1.0
//
// Controller: a simulated device with submission and completion rings.

#ifndef BLKOWN_SIM_DEVICE_CONTROLLER_HPP
#define BLKOWN_SIM_DEVICE_CONTROLLER_HPP

#include <bit>
#include <blkown/config.hpp>
#include <blkown/dma/device.hpp>
#include <blkown/dma/proof.hpp>
#include <blkown/sim/device/controller_config.hpp>
#include <blkown/sim/device/controller_engine.hpp>
#include <blkown/sim/device/controller_observer.hpp>
#include <blkown/sim/device/fault_plan.hpp>
#include <blkown/sim/device/iommu.hpp>
#include <blkown/sim/device/media.hpp>
#include <blkown/sim/device/pending_calls.hpp>
#include <blkown/sim/device/queue_pair.hpp>
#include <blkown/sim/device/ring.hpp>
#include <blkown/tag.hpp>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// How a controller calls out. Not with its lock; any of them may call the controller again.
struct ControllerHooks {
  void* argument = nullptr;
  /// Completions were posted on the queue. Also from within a doorbell or a dma::map, as an
  /// interrupt on another processor would come. Null: the driver polls.
  void (*interrupt)(void* argument, std::uint32_t queue) = nullptr;
  /// The controller has failed: it does nothing more until it is stopped and started.
  void (*failed)(void* argument) = nullptr;
  /// There is something for step() to do, where there was nothing.
  void (*wake)(void* argument) = nullptr;
};

/// An NVMe-like controller: pairs of rings in the driver's memory, doorbells, completions with a
/// phase bit, commands that end in any order. It reaches memory through the IOMMU alone, the rings
/// too. Whoever runs it calls step(); what goes wrong, a FaultPlan says.
///
/// Any context.
class Controller {
 public:
  /// All of them outlive the controller. It watches the IOMMU's maps.
  Controller(const ControllerConfig& config, Iommu& iommu, dma::Device<Iommu>& device, Media& media,
             FaultPlan* faults = nullptr, const ControllerHooks& hooks = {})
      : iommu_{iommu}, device_{device}, engine_{config, iommu, media, faults}, hooks_{hooks} {
    iommu.set_map_hook({&on_map, this});
  }
  Controller(const Controller&) = delete;
  Controller& operator=(const Controller&) = delete;
  ~Controller() { iommu_.set_map_hook({}); }

  /// Before it is started.
  void set_hooks(const ControllerHooks& hooks) noexcept { hooks_ = hooks; }

  /// Before it is started. Null: nothing is reported.
  void set_observer(ControllerObserver* observer) {
    const std::lock_guard guard{mutex_};
    engine_.set_observer(observer);
  }

  // --- the driver's side ------------------------------------------------------------------------

  [[nodiscard]] const ControllerConfig& config() const noexcept { return engine_.config(); }

  /// Gives the controller a pair of rings.
  /// Precondition: the controller is stopped, as it is when it is made.
  void create_queue_pair(std::uint32_t queue, const QueueMemory& memory) {
    const std::lock_guard guard{mutex_};
    engine_.create_queue_pair(queue, memory);
  }
  /// It begins to take commands; rings begin at index 0, with phase 1. The driver has zeroed the
  /// completion rings.
  void start() {
    const std::lock_guard guard{mutex_};
    engine_.start();
  }
  /// It gives up all it has, and touches no memory any more: the proof. Commands that it had will
  /// not complete.
  [[nodiscard]] dma::EndProof stop() {
    const std::lock_guard guard{mutex_};
    engine_.stop();
    return device_.declare_stopped();
  }
  [[nodiscard]] bool has_failed() {
    const std::lock_guard guard{mutex_};
    return engine_.has_failed();
  }

  /// The doorbell: entries up to `tail` are there. False: the device does not take the latest of
  /// them; the driver puts another in its place.
  [[nodiscard]] bool ring_submission(std::uint32_t queue, std::uint32_t tail) {
    Lock lock{*this};
    return engine_.ring_submission(queue, tail);
  }
  /// The doorbell: entries before `head` have been read.
  void ring_completion(std::uint32_t queue, std::uint32_t head) {
    const std::lock_guard guard{mutex_};
    engine_.ring_completion(queue, head);
  }

  // --- whoever runs it --------------------------------------------------------------------------

  /// Does one thing that is due: fetches a command, executes one, sends a completion. False if
  /// there is none.
  bool step(std::uint64_t now_ns) {
    Lock lock{*this};
    return engine_.step(now_ns);
  }
  /// When step() has something to do: a time that may be over, or none.
  [[nodiscard]] std::optional<std::uint64_t> next_ns() {
    const std::lock_guard guard{mutex_};
    return engine_.next_ns();
  }

  // --- looking on -------------------------------------------------------------------------------

  /// Makes the controller disown a command that it has, or has not fetched yet: the driver takes
  /// the command for done, because it accepted a false completion. Returns the commands that match
  /// the cookie; empty if there are none that were not disowned before.
  /// Effects: accesses to the memory of a disowned command are forbidden (Iommu::Access). A
  /// disowned command without memory is not executed.
  [[nodiscard]] std::vector<SubmissionEntry> disown(std::uint32_t queue, std::uint64_t cookie) {
    const std::lock_guard guard{mutex_};
    return engine_.disown({queue, cookie});
  }
  /// Doorbells, fetches, executions, completions.
  [[nodiscard]] std::uint64_t events() {
    const std::lock_guard guard{mutex_};
    return engine_.events();
  }
  /// Commands that were fetched and not said to be done.
  [[nodiscard]] std::size_t command_count() {
    const std::lock_guard guard{mutex_};
    return engine_.command_count();
  }

 private:
  /// Holds the lock, and calls out when it has let go.
  struct Lock {
    explicit Lock(Controller& owner) : controller{owner} { controller.mutex_.lock(); }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;
    ~Lock() {
      const detail::PendingCalls calls = std::exchange(controller.engine_.pending_calls, {});
      controller.mutex_.unlock();
      controller.call_out(calls);
    }
    Controller& controller;
  };

  static bool on_map(void* self, const Cookie& cookie) {
    Lock lock{*static_cast<Controller*>(self)};
    return lock.controller.engine_.on_map(cookie);
  }

  void call_out(const detail::PendingCalls& calls) {
    for (std::uint64_t left = calls.interrupts; left != 0; left &= left - 1) {
      const auto queue = static_cast<std::uint32_t>(std::countr_zero(left));
      if (hooks_.interrupt != nullptr) hooks_.interrupt(hooks_.argument, queue);
    }
    if (calls.has_failed && hooks_.failed != nullptr) hooks_.failed(hooks_.argument);
    if (calls.has_work && hooks_.wake != nullptr) hooks_.wake(hooks_.argument);
  }

  Iommu& iommu_;
  dma::Device<Iommu>& device_;
  std::mutex mutex_;
  detail::ControllerEngine engine_;
  ControllerHooks hooks_;
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
