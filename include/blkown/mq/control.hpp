// SPDX-License-Identifier: BSL-1.0
//
// Control: one operation on a disk as a whole, in which every context takes part.

#ifndef BLKOWN_MQ_CONTROL_HPP
#define BLKOWN_MQ_CONTROL_HPP

#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/mq/detail/fwd.hpp>
#include <blkown/mq/detail/relaxed.hpp>
#include <blkown/mq/limits.hpp>
#include <blkown/mq/on_end.hpp>
#include <blkown/place.hpp>
#include <blkown/status.hpp>
#include <cstdint>
#include <optional>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

/// An operation on a disk: freeze, thaw, quiesce, unquiesce, set_queue_count, set_limits or remove.
/// The caller owns the object, which stays in place until its end callback is called on one of the
/// disk's contexts. The callback may start the Control again or destroy it. The operations of a
/// disk are carried out one at a time, in the order in which they were started. There is one
/// exception: while an operation waits for requests, quiesce and unquiesce pass it by. No operation
/// waits for a later one. The functions of Disk state the condition for which each operation waits.
/// Operations that are started after a removal has begun end with Status::offline: another removal
/// when the disk is removed, the others after a run of every context. All end before the removal's
/// callback. An operation that is started after that ends within the call that starts it.
class Control {
 public:
  /// Makes an operation that is not running. `on_end` is called at the end of each run.
  explicit Control(OnEnd<Control> on_end) noexcept : on_end_{on_end} {}
  Control(const Control&) = delete;
  Control& operator=(const Control&) = delete;
  /// Violation: object_in_use, if the operation is running.
  ~Control() {
    if (is_running()) violate_destroyed();
  }

  /// The result of the operation: Status::ok; offline, if a removal has begun; the status with
  /// which init_hctx refused a queue; or invalid, if set_limits refused limits.
  [[nodiscard]] Status status() const noexcept { return status_; }
  /// The limit for which set_limits ended with Status::invalid, else none.
  [[nodiscard]] const std::optional<DiskError>& error() const noexcept { return error_; }
  /// Whether the operation was started and its end callback has not been called.
  [[nodiscard]] bool is_running() const noexcept { return is_running_.is_set(); }

 private:
  template <class D>
  friend class Disk;
  template <class D>
  friend class detail::ControlPart;
  template <class D>
  friend class detail::Controls;

  enum class Kind : std::uint8_t { freeze, thaw, quiesce, unquiesce, queue_count, limits, remove };
  /// The part that every context has to do next (detail/controls.hpp).
  enum class Step : std::uint8_t { freeze, thaw, quiesce, unquiesce, remove, pass, leave };

  [[noreturn, gnu::cold, gnu::noinline]] void violate_destroyed() const {
    blkown::detail::violate(
        Violation::object_in_use,
        Incident::of("destruction of mq::Control", Place{})
            .with("a Control of disk '{subject}' was destroyed while its operation is running",
                  "keep it until its end callback is called")
            .about(disk_name_));
  }

  OnEnd<Control> on_end_;
  Control* next_ = nullptr;
  Place place_{};  // of the call that started the operation
  const char* disk_name_ = "";
  std::uint32_t queue_count_ = 0;
  QueueLimits limits_;
  std::optional<DiskError> error_;
  Kind kind_ = Kind::freeze;
  Status status_ = Status::ok;
  detail::RelaxedFlag is_running_;
};

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
