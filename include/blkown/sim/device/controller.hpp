// SPDX-License-Identifier: BSL-1.0
//
// Controller: a simulated device with submission and completion rings.

#ifndef BLKOWN_SIM_DEVICE_CONTROLLER_HPP
#define BLKOWN_SIM_DEVICE_CONTROLLER_HPP

#include <bit>
#include <blkown/config.hpp>
#include <blkown/detail/user_list.hpp>
#include <blkown/dma/device.hpp>
#include <blkown/dma/proof.hpp>
#include <blkown/sim/device/controller_config.hpp>
#include <blkown/sim/device/controller_engine.hpp>
#include <blkown/sim/device/controller_hooks.hpp>
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

/// An NVMe-like controller: pairs of rings in the driver's memory, doorbells, completions with a
/// phase bit, commands that end in any order. The controller accesses all memory, the rings
/// included, through the IOMMU. A FaultPlan decides its faults. A controller executes commands only
/// within step().
/// Synchronization: a mutex serializes the calls.
/// Context: any thread.
class Controller {
 public:
  using Entry = SubmissionEntry;  ///< Of a submission ring.

  /// Makes a stopped controller, and sets the IOMMU's map hook.
  /// Precondition: the arguments outlive the controller. No fault plan: no faults.
  Controller(const ControllerConfig& config, Iommu& iommu, dma::Device<Iommu>& device, Media& media,
             FaultPlan* faults = nullptr, const ControllerHooks& hooks = {})
      : iommu_{iommu},
        device_{device},
        engine_{config, iommu, media, faults},
        hooks_{hooks},
        iommu_user_{&iommu.users(), "a sim::Controller"},
        device_user_{&dma::detail::DeviceAccess::state(device).users(), "a sim::Controller"},
        media_user_{&media.users(), "a sim::Controller"} {
    iommu.set_map_hook({&on_map, this});
  }
  Controller(const Controller&) = delete;
  Controller& operator=(const Controller&) = delete;
  /// Violation: object_in_use, if an Oracle or a ControllerPump uses the controller.
  ~Controller() {
    users_.check_unused("destruction of sim::Controller", "sim::Controller",
                        "destroy that object first");
    iommu_.set_map_hook({});
  }

  /// Sets the hooks.
  /// Precondition: the controller was not started.
  void set_hooks(const ControllerHooks& hooks) noexcept { hooks_ = hooks; }

  /// Sets the observer of the controller's events, or none.
  /// Precondition: the controller is stopped, or the observer is null.
  void set_observer(ControllerObserver* observer) {
    const std::lock_guard guard{mutex_};
    engine_.set_observer(observer);
  }

  // --- the driver's side ------------------------------------------------------------------------

  /// The configuration.
  [[nodiscard]] const ControllerConfig& config() const noexcept { return engine_.config(); }
  /// The number of queues that the observer's events may name.
  [[nodiscard]] std::uint32_t queue_count() const noexcept { return config().queue_pairs; }

  /// Gives the controller a pair of rings.
  /// Precondition: the controller is stopped, as it is when it is made.
  void create_queue_pair(std::uint32_t queue, const QueueMemory& memory) {
    const std::lock_guard guard{mutex_};
    engine_.create_queue_pair(queue, memory);
  }
  /// Makes the controller fetch commands. The rings begin at index 0, with phase 1.
  /// Precondition: the driver has zeroed the completion rings.
  void start() {
    const std::lock_guard guard{mutex_};
    engine_.start();
  }
  /// Stops the controller. It gives up all commands, which will not complete, and accesses no
  /// memory until it is started. Returns the proof.
  [[nodiscard]] dma::EndProof stop() {
    const std::lock_guard guard{mutex_};
    engine_.stop();
    return device_.declare_stopped();
  }
  /// Whether the controller has failed since its last start.
  [[nodiscard]] bool has_failed() {
    const std::lock_guard guard{mutex_};
    return engine_.has_failed();
  }

  /// The submission doorbell: the entries before the index `tail` are valid. Returns false if the
  /// controller refuses the latest entry: the driver then reuses its place in the ring.
  [[nodiscard]] bool ring_submission(std::uint32_t queue, std::uint32_t tail) {
    Lock lock{*this};
    return engine_.ring_submission(queue, tail);
  }
  /// The completion doorbell: the driver has read the entries before the index `head`.
  void ring_completion(std::uint32_t queue, std::uint32_t head) {
    const std::lock_guard guard{mutex_};
    engine_.ring_completion(queue, head);
  }

  // --- execution --------------------------------------------------------------------------------

  /// Performs one action that is due: fetches a command, executes a command, or sends a completion.
  /// Returns false if no action is due.
  bool step(std::uint64_t now_ns) {
    Lock lock{*this};
    return engine_.step(now_ns);
  }
  /// The time at which the next action is due, which may be in the past. None: no action is
  /// planned.
  [[nodiscard]] std::optional<std::uint64_t> next_ns() {
    const std::lock_guard guard{mutex_};
    return engine_.next_ns();
  }

  // --- for the harness --------------------------------------------------------------------------

  /// Makes the controller disown a command that it has, or has not fetched yet, because the driver
  /// has accepted a false completion of the command. Returns the commands that match the cookie and
  /// were not disowned before.
  /// Effects: accesses to the memory of a disowned command are forbidden (Iommu::Access). A
  /// disowned command without memory is not executed.
  [[nodiscard]] std::vector<SubmissionEntry> disown(std::uint32_t queue, std::uint64_t cookie) {
    const std::lock_guard guard{mutex_};
    return engine_.disown({queue, cookie});
  }
  /// The number of doorbells, fetches, executions and completions since the controller was made.
  [[nodiscard]] std::uint64_t events() {
    const std::lock_guard guard{mutex_};
    return engine_.events();
  }
  /// The objects of the harness that use the controller.
  [[nodiscard]] blkown::detail::UserList& users() noexcept { return users_; }
  /// The number of commands that were fetched and not completed.
  [[nodiscard]] std::size_t command_count() {
    const std::lock_guard guard{mutex_};
    return engine_.command_count();
  }

 private:
  /// Holds the lock. Its destructor unlocks, and then calls the pending hooks.
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
  blkown::detail::UserList users_;
  blkown::detail::User iommu_user_;
  blkown::detail::User device_user_;
  blkown::detail::User media_user_;
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
