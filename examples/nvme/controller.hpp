// SPDX-License-Identifier: BSL-1.0
//
// Controller: brings an NVMe controller up and down, and sends its admin commands.
//
//   create     allocates the admin rings and the buffers. The controller notices nothing.
//   start      disables the controller, enables it with the admin queue, identifies it, asks for
//              I/O queues, and arms the asynchronous events. Also after stop().
//   queues     create_queue_pair() for each I/O queue, with an interrupt vector or for polling.
//   stop       disables the controller and waits until it says so. Only then the proof exists with
//              which memory is unmapped and freed. The controller has forgotten its queues.
//   shut_down  lets the controller make its cache durable before the power goes, and then stops it.
//
// A controller that does not stop, or whose registers read as all ones because it was removed,
// gives no proof by itself: the platform has to cut it off (Platform). If that fails, too, the
// memory stays where it is, mapped and allocated.

#ifndef EXAMPLES_NVME_CONTROLLER_HPP
#define EXAMPLES_NVME_CONTROLLER_HPP

#include <algorithm>
#include <atomic>
#include <blkown/dma/dma.hpp>
#include <blkown/nvme/nvme.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <memory>
#include <new>
#include <optional>
#include <utility>

#include "admin_queue.hpp"
#include "async_events.hpp"
#include "controller_info.hpp"
#include "controller_registers.hpp"

namespace nvme_driver {

/// What the owner of a controller chooses.
struct ControllerConfig {
  std::uint16_t io_queues = 1;             ///< Wanted. The controller may grant fewer.
  std::uint32_t admin_timeout_ms = 5'000;  ///< For one admin command.
  std::uint32_t shutdown_timeout_ms = 10'000;
  std::uint64_t register_bytes = 0;  ///< The length of BAR 0. 0: unknown, no doorbell is checked.
  /// The generation of the first admin command's id. Default: an unpredictable one.
  std::optional<blkown::Generation> first_generation{};
  /// Called for an asynchronous event after its log page was read, on the context that takes the
  /// completions.
  void (*on_event)(void* argument, blkown::nvme::AsyncEvent event) = nullptr;
  void* on_event_argument = nullptr;
};

/// An NVMe controller.
/// Precondition: the registers, the device and the platform outlive the object. stop() has given
/// the proof before the object is destroyed, and free() has taken it; else dma::Device::drain frees
/// the memory.
/// Context: start(), stop() and the commands about queues and namespaces wait, and are called on
/// one context at a time. interrupt() and abort() are called on any.
template <Registers R, blkown::dma::Backend B, Platform P, class Lock>
class Controller {
 public:
  using Result = std::expected<void, ControllerError>;
  using EndProof = blkown::dma::EndProof;

  /// Errors: gone, unsupported, memory.
  [[nodiscard]] static std::expected<std::unique_ptr<Controller>, ControllerError> create(
      R& registers, blkown::dma::Device<B>& device, P& platform, const ControllerConfig& config) {
    const ControllerRegisters<R, P> state{registers, platform};
    if (const auto usable = state.check(); !usable.has_value()) return failed(usable.error());
    // At least one I/O queue.
    if (state.queue_pairs_within(config.register_bytes) < 2) {
      return failed({ControllerStep::unsupported, {}});
    }
    auto memory = Memory::allocate(device, memory_bytes);
    auto tags = Admin::create_tags(config.first_generation);
    if (!memory.has_value() || !tags.has_value()) return failed({ControllerStep::memory, {}});
    std::unique_ptr<Controller> made{new (std::nothrow) Controller{
        registers, device, platform, config, *std::move(memory), *std::move(tags)}};
    if (made == nullptr) return failed({ControllerStep::memory, {}});
    return made;
  }

  Controller(const Controller&) = delete;
  Controller& operator=(const Controller&) = delete;

  /// What the controller can do. Valid after start().
  [[nodiscard]] const ControllerInfo& info() const noexcept { return info_; }
  [[nodiscard]] const ControllerRegisters<R, P>& state() const noexcept { return state_; }
  [[nodiscard]] R& registers() const noexcept { return registers_; }
  [[nodiscard]] blkown::dma::Device<B>& device() const noexcept { return device_; }
  [[nodiscard]] P& platform() const noexcept { return platform_; }

  // --- up and down ------------------------------------------------------------------------------

  /// Brings the controller up.
  /// Precondition: that of stop(), also after a reset by others, such as a function-level reset.
  /// Effects: the controller forgets the I/O queues of before. Admin commands of before end with
  /// aborted_by_host.
  /// Errors: any ControllerStep; memory, after free(). Call stop() then: the controller may be
  /// using the driver's memory.
  [[nodiscard]] Result start() {
    if (is_freed_) return failed({ControllerStep::memory, {}});
    if (auto disabled = state_.disable(); !disabled.has_value()) return disabled;
    // Without a stop() before, the rings still have the commands of before.
    admin_.abandon(device_.declare_stopped());
    if (auto enabled = state_.enable(admin_.config()); !enabled.has_value()) return enabled;
    admin_.open();
    if (auto known = identify(); !known.has_value()) return known;
    if (auto granted = set_queue_count(); !granted.has_value()) return granted;
    return events_.arm() ? Result{} : failed({ControllerStep::events, {}});
  }

  /// Stops the controller. None: neither the controller nor the platform confirms that it reaches
  /// no memory. Nothing may be unmapped then.
  /// Precondition: no context is between activating a mapping and publishing its I/O.
  /// Effects: ends all admin commands with aborted_by_host. None starts until start().
  [[nodiscard]] std::optional<EndProof> stop() {
    if (!state_.disable().has_value() && !platform_.cut_off()) return std::nullopt;
    const EndProof proof = device_.declare_stopped();
    if (!is_freed_) admin_.abandon(proof);
    return proof;
  }

  /// Lets the controller make its cache durable, and stops it. The proof is that of stop().
  /// Effects: a controller that does not report the end of its shutdown in time is stopped all the
  /// same.
  [[nodiscard]] std::optional<EndProof> shut_down() {
    static_cast<void>(state_.shut_down(config_.shutdown_timeout_ms));
    return stop();
  }

  /// Frees the rings and buffers, unless they are free. False: the proof is not of a stop of this
  /// device.
  /// Precondition: no interrupt of the admin queue comes any more.
  [[nodiscard]] bool free(const EndProof& proof) {
    if (is_freed_) return true;
    auto freed = std::move(memory_).free(proof);
    if (!freed.has_value()) memory_ = std::move(freed.error());
    is_freed_ = freed.has_value();
    return is_freed_;
  }

  // --- queues and namespaces --------------------------------------------------------------------

  /// Creates a completion queue and its submission queue, with this interrupt vector, or polled.
  /// Errors: create_queue.
  [[nodiscard]] Result create_queue_pair(const QueuePairConfig& queue,
                                         std::optional<std::uint16_t> vector) {
    const auto completions =
        execute(ControllerStep::create_queue,
                SubmissionEntry::create_io_cq({.queue = queue.id,
                                               .entries = queue.completion_entries,
                                               .iova = queue.completions.iova,
                                               .vector = vector.value_or(0),
                                               .interrupts_enabled = vector.has_value()}));
    if (!completions.has_value()) return failed(completions.error());
    const auto submissions =
        execute(ControllerStep::create_queue,
                SubmissionEntry::create_io_sq({.queue = queue.id,
                                               .entries = queue.submission_entries,
                                               .iova = queue.submissions.iova,
                                               .completion_queue = queue.id}));
    return submissions.has_value() ? Result{} : failed(submissions.error());
  }

  /// Deletes a submission queue and its completion queue. The controller ends the commands that it
  /// has before it ends this one.
  /// Errors: delete_queue.
  [[nodiscard]] Result delete_queue_pair(std::uint16_t id) {
    for (const auto& entry :
         {SubmissionEntry::delete_io_sq(id), SubmissionEntry::delete_io_cq(id)}) {
      const auto deleted = execute(ControllerStep::delete_queue, entry);
      if (!deleted.has_value()) return failed(deleted.error());
    }
    return {};
  }

  /// Calls `visit(const NamespaceInfo&)` for each active namespace, also for those that this driver
  /// cannot serve (NamespaceInfo::is_usable()): at most ControllerInfo::namespace_count times.
  /// Errors: identify; namespace_list if the controller lists identifiers that do not rise, or that
  /// are greater than the greatest one that it has.
  template <class Visit>
  [[nodiscard]] Result for_each_namespace(Visit visit) {
    for (std::uint32_t after = 0;;) {
      const auto listed = execute(ControllerStep::identify,
                                  identify_entry(blkown::nvme::Cns::active_namespace_list, after));
      if (!listed.has_value()) return failed(listed.error());
      // A list has the identifiers above the one that was asked for, and ends with 0 if it is the
      // last one.
      const auto list = data_as<blkown::nvme::ActiveNamespaceList>();
      for (const std::uint32_t nsid : list.nsids) {
        if (nsid == 0) return {};
        if (nsid <= after || nsid > info_.namespace_count) {
          return failed({ControllerStep::namespace_list, {}});
        }
        after = nsid;
        const auto found = execute(ControllerStep::identify,
                                   identify_entry(blkown::nvme::Cns::identify_namespace, nsid));
        if (!found.has_value()) return failed(found.error());
        visit(namespace_info(nsid, data_as<blkown::nvme::IdentifyNamespace>()));
      }
      if (after == info_.namespace_count) return {};
    }
  }

  /// Sends an admin command and waits for its end. None: it did not end in time and has its memory
  /// until stop(), or no tag was free.
  [[nodiscard]] std::optional<AdminResult> execute(const SubmissionEntry& entry) {
    return admin_.execute(platform_, entry, config_.admin_timeout_ms);
  }

  // --- while I/O runs ---------------------------------------------------------------------------

  /// Takes the completions of admin commands.
  /// Context: any, interrupts included.
  void interrupt() noexcept { admin_.poll(); }
  /// Whether interrupt() would take a completion.
  /// Precondition: no other context takes completions.
  [[nodiscard]] bool has_admin_completion() const noexcept { return admin_.has_completion(); }

  /// Asks the controller to abort a command, which then ends with its own completion, or does not.
  /// The controller's answer proves nothing. False: no abort was sent, because the controller has
  /// as many as it takes or is stopped, or no tag is free.
  /// Context: any.
  bool abort(std::uint16_t queue_id, std::uint16_t command_id) noexcept {
    if (aborts_.fetch_add(1) < info_.max_aborts &&
        admin_.start(SubmissionEntry::abort(queue_id, command_id), {&on_abort_end, this})) {
      return true;
    }
    aborts_.fetch_sub(1);
    return false;
  }

 private:
  using Admin = AdminQueue<R, Lock>;
  using Memory = blkown::dma::Coherent<B>;

  // The parts of the memory: a page for each ring, one for the data of a command that is waited
  // for, and one for the log page of an event.
  static constexpr std::size_t submissions_at = 0;
  static constexpr std::size_t completions_at = page_bytes;
  static constexpr std::size_t data_at = 2 * page_bytes;
  static constexpr std::size_t log_at = 3 * page_bytes;
  static constexpr std::size_t memory_bytes = 4 * page_bytes;

  Controller(R& registers, blkown::dma::Device<B>& device, P& platform,
             const ControllerConfig& config, Memory&& memory, typename Admin::Tags&& tags)
      : registers_{registers},
        device_{device},
        platform_{platform},
        config_{config},
        state_{registers, platform},
        memory_{std::move(memory)},
        admin_{registers, admin_config(), std::move(tags)},
        events_{admin_, part(log_at).iova, {config.on_event, config.on_event_argument}} {}

  [[nodiscard]] static std::unexpected<ControllerError> failed(
      const ControllerError& error) noexcept {
    return std::unexpected(error);
  }
  [[nodiscard]] RingMemory part(std::size_t at) const {
    return {memory_.data() + at, memory_.segment().iova + at};
  }
  [[nodiscard]] QueuePairConfig admin_config() const {
    QueuePairConfig config{.id = 0,
                           .submission_entries = Admin::entries,
                           .completion_entries = Admin::entries,
                           .submissions = part(submissions_at),
                           .completions = part(completions_at)};
    state_.set_doorbells(config);
    return config;
  }

  /// Sends an admin command and waits for it.
  [[nodiscard]] std::expected<AdminResult, ControllerError> execute(ControllerStep step,
                                                                    const SubmissionEntry& entry) {
    const auto result = execute(entry);
    if (!result.has_value()) return failed({step, {}});
    if (!result->status.is_success()) return failed({step, result->status});
    return *result;
  }

  // --- identify ---------------------------------------------------------------------------------

  [[nodiscard]] SubmissionEntry identify_entry(blkown::nvme::Cns cns, std::uint32_t nsid) const {
    SubmissionEntry entry = SubmissionEntry::identify(cns, nsid);
    entry.prp1 = part(data_at).iova;
    return entry;
  }
  /// A copy of what the controller has written, which it cannot change while it is looked at.
  template <class T>
  [[nodiscard]] T data_as() const {
    T data;
    static_assert(sizeof data <= page_bytes);
    std::memcpy(&data, part(data_at).data, sizeof data);
    return data;
  }

  [[nodiscard]] Result identify() {
    const auto known = execute(ControllerStep::identify,
                               identify_entry(blkown::nvme::Cns::identify_controller, 0));
    if (!known.has_value()) return failed(known.error());
    const auto data = data_as<blkown::nvme::IdentifyController>();
    info_.max_transfer_bytes = data.max_transfer_bytes(state_.cap().min_page_bytes());
    info_.max_queue_entries = state_.cap().max_queue_entries();
    // At most half of the tags: the others are for events and for commands that are waited for.
    info_.namespace_count = std::min(data.namespace_count.get(), blkown::nvme::all_namespaces - 1);
    info_.max_aborts = std::min(data.max_aborts(), Admin::depth / 2);
    info_.has_write_cache = data.has_volatile_write_cache();
    info_.has_discard = data.supports_io(blkown::nvme::oncs::dataset_management);
    info_.has_write_zeroes = data.supports_io(blkown::nvme::oncs::write_zeroes);
    info_.has_firmware_update = data.supports_admin(blkown::nvme::oacs::firmware);
    events_.set_error_log_entries(data.error_log_entries + 1U);
    info_.firmware_granularity_bytes = data.firmware_granularity_bytes();
    return {};
  }

  [[nodiscard]] Result set_queue_count() {
    using blkown::nvme::NumberOfQueues;
    const auto wanted = NumberOfQueues::of(config_.io_queues, config_.io_queues);
    const auto granted = execute(
        ControllerStep::queue_count,
        SubmissionEntry::set_features(blkown::nvme::FeatureId::number_of_queues, wanted.value));
    if (!granted.has_value()) return failed(granted.error());
    const NumberOfQueues count{granted->value};
    const auto least = std::min(count.submission_queues(), count.completion_queues());
    const std::uint32_t reachable = state_.queue_pairs_within(config_.register_bytes) - 1;
    info_.io_queues = static_cast<std::uint16_t>(
        std::min({std::uint32_t{least}, std::uint32_t{config_.io_queues}, reachable}));
    return {};
  }

  static void on_abort_end(void* self, const AdminResult&) {
    static_cast<Controller*>(self)->aborts_.fetch_sub(1);
  }

  R& registers_;
  blkown::dma::Device<B>& device_;
  P& platform_;
  ControllerConfig config_;
  ControllerRegisters<R, P> state_;
  ControllerInfo info_;
  Memory memory_;
  bool is_freed_ = false;
  Admin admin_;
  AsyncEvents<Admin> events_;
  std::atomic<std::uint32_t> aborts_{0};
};

}  // namespace nvme_driver

#endif
