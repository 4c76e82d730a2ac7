// SPDX-License-Identifier: BSL-1.0
//
// I/O and operations that wait for their end, for tools, tests and start-up code.

#ifndef BLKOWN_MQ_SYNC_HPP
#define BLKOWN_MQ_SYNC_HPP

#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/detail/saturating.hpp>
#include <blkown/mq/bio.hpp>
#include <blkown/mq/context.hpp>
#include <blkown/mq/control.hpp>
#include <blkown/mq/disk.hpp>
#include <blkown/mq/on_end.hpp>
#include <blkown/mq/op.hpp>
#include <blkown/mq/runtime.hpp>
#include <blkown/place.hpp>
#include <blkown/segment.hpp>
#include <blkown/status.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <expected>
#include <span>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

namespace detail {

/// A Work that submits a bio on the context that runs it.
template <class D>
struct Submission : Work {
  Submission(Disk<D>& its_disk, Bio& its_bio)
      : Work{[](void* its, Work&) {
               auto& self = *static_cast<Submission*>(its);
               self.disk.submit(self.bio);
             },
             this},
        disk{its_disk},
        bio{its_bio} {}
  Disk<D>& disk;
  Bio& bio;
};

/// The end callback of a bio: sets the Event.
inline void set_event(void* event, Bio&) { static_cast<Event*>(event)->set(); }

/// Who waits, and when that is reported.
struct Waiter {
  const char* operation;
  std::uint32_t report_after_ms;
  Place where;
};

/// Reports that the waiter waits for a long time, and prints what the disk has in use.
template <class D>
[[gnu::cold, gnu::noinline]] void report_long_wait(Disk<D>& disk, const Waiter& waiter) {
  if (blkown::detail::report_handler == nullptr) return;
  blkown::detail::report(Report::long_wait,
                         Incident::of(waiter.operation, waiter.where)
                             .with("a call on disk '{subject}' has waited for {count|ms|ms}")
                             .about(disk.config().name, waiter.report_after_ms));
#ifndef BLKOWN_NO_STDIO
  disk.print_in_flight(stderr);
#endif
}

/// Checks that the caller may wait for the disk.
/// Violation: wrong_context, as for check_may_wait(); and the same for the disk's contexts, if
/// those are another runtime's.
template <Runtime Rt, class D>
void check_may_wait_for(Rt& runtime, const Disk<D>& disk, const Waiter& waiter) {
  check_may_wait(runtime, waiter.operation, waiter.where);
  check_thread_may_wait([&](const Context& context) { return disk.is_on(context); },
                        waiter.operation, waiter.where);
  if (disk.is_calling_out()) [[unlikely]]
    violate_wait_in_disk(waiter.operation, disk.config().name, waiter.where);
}

/// Waits for the event, and calls `report` once if that takes `report_after_ms`, unless that is 0.
/// Returns false if the runtime has nothing left to run before the event.
template <Runtime Rt, class Report>
bool wait_and_report(Rt& runtime, Event& event, std::uint32_t report_after_ms, Report report) {
  if (report_after_ms != 0) {
    constexpr std::uint64_t ns_per_ms = 1'000'000;
    const std::uint64_t deadline_ns =
        blkown::detail::saturating_add(runtime.now_ns(), report_after_ms * ns_per_ms);
    if (runtime.wait_until(event, deadline_ns)) return true;
    // Before the deadline: nothing is left to run.
    if (runtime.now_ns() >= deadline_ns) report();
  }
  return runtime.wait_for(event);
}

/// Waits for an event of a disk.
template <Runtime Rt, class D>
void wait_for_disk(Rt& runtime, Disk<D>& disk, Event& event, const Waiter& waiter) {
  static_cast<void>(wait_and_report(runtime, event, waiter.report_after_ms,
                                    [&] { report_long_wait(disk, waiter); }));
}

/// Returns the bio, which has ended.
template <Runtime Rt, class D, class Make>
[[nodiscard]] Bio end_of(Rt& runtime, Disk<D>& disk, Make make, const Waiter& waiter) {
  check_may_wait_for(runtime, disk, waiter);
  Event ended;
  Bio bio = make(OnEnd<Bio>{&set_event, &ended});
  Submission<D> submission{disk, bio};
  runtime.context(0).post(submission);
  wait_for_disk(runtime, disk, ended, waiter);
  return bio;
}
template <Runtime Rt, class D, class Make>
[[nodiscard]] Status submit_and_wait(Rt& runtime, Disk<D>& disk, Make make, const Waiter& waiter) {
  return end_of(runtime, disk, make, waiter).status();
}

/// The result of a control operation that a caller waits for.
struct ControlEnd {
  /// The Control's callback.
  static void on_end(void* its, Control& control) {
    auto& end = *static_cast<ControlEnd*>(its);
    end.status = control.status();
    end.happened.set();
  }
  Event happened;
  Status status = Status::ok;
};

template <Runtime Rt, class D, class Start>
[[nodiscard]] Status run_and_wait(Rt& runtime, Disk<D>& disk, Start start, const Waiter& waiter) {
  check_may_wait_for(runtime, disk, waiter);
  ControlEnd end;
  Control control{{&ControlEnd::on_end, &end}};
  start(control);
  wait_for_disk(runtime, disk, end.happened, waiter);
  return end.status;
}

}  // namespace detail

/// The default of `report_after_ms`.
inline constexpr std::uint32_t default_report_after_ms = 10'000;

/// Submits the bio that `make(on_end)` returns on the runtime's first context, and waits for its
/// end. Returns the bio's status.
/// Precondition: `runtime` has the disk's contexts. The caller runs none of them, or runs one of a
/// runtime without threads of its own, such as a LoopRuntime, in a Work, in a timer's function or
/// in a Control's callback.
/// Effects: when it has waited for `report_after_ms`, the call reports that once
/// (Report::long_wait), prints the table of Disk::print_in_flight to stderr if a report handler is
/// installed, and waits on. 0: it never reports.
/// Violation: wrong_context, if the caller's thread is one of the runtime's or of the disk's
/// (ContextHooks::has_own_thread), also while that thread runs a context of another runtime.
/// Violation: wrong_context, if the caller is in a hook or in the end callback of a bio or of a
/// private request, of this disk or of another disk on a context of the runtime. Every context of
/// the runtime counts, not only the first.
/// Violation: object_in_use, if the runtime has nothing left to run before the bio has ended.
/// Context: may sleep.
template <Runtime Rt, class D, class Make>
[[nodiscard]] Status submit_and_wait(Rt& runtime, Disk<D>& disk, Make make,
                                     std::uint32_t report_after_ms = default_report_after_ms,
                                     Place where = Place::current()) {
  return detail::submit_and_wait(runtime, disk, make,
                                 {"mq::submit_and_wait", report_after_ms, where});
}

/// Reads from `sector` on into `memory`, and waits. The labels of submit_and_wait apply to this
/// function and to the functions below.
template <Runtime Rt, class D>
[[nodiscard]] Status read(Rt& runtime, Disk<D>& disk, std::uint64_t sector,
                          std::span<std::byte> memory,
                          std::uint32_t report_after_ms = default_report_after_ms,
                          Place where = Place::current()) {
  return detail::submit_and_wait(runtime, disk,
                                 [&](OnEnd<Bio> on_end) {
                                   return Bio::read(sector, Segment{memory.data(), memory.size()},
                                                    on_end);
                                 },
                                 {"mq::read", report_after_ms, where});
}
/// Writes `memory` from `sector` on, and waits. With flags.fua the data is durable on return.
template <Runtime Rt, class D>
[[nodiscard]] Status write(Rt& runtime, Disk<D>& disk, std::uint64_t sector,
                           std::span<const std::byte> memory, IoFlags flags = {},
                           std::uint32_t report_after_ms = default_report_after_ms,
                           Place where = Place::current()) {
  return detail::submit_and_wait(runtime, disk,
                                 [&](OnEnd<Bio> on_end) {
                                   // A Segment serves both directions, so its memory is not const.
                                   // A write does not change the memory.
                                   auto* const data = const_cast<std::byte*>(memory.data());
                                   return Bio::write(sector, Segment{data, memory.size()}, on_end,
                                                     flags);
                                 },
                                 {"mq::write", report_after_ms, where});
}
/// Makes all writes that ended before this call durable, and waits.
template <Runtime Rt, class D>
[[nodiscard]] Status flush(Rt& runtime, Disk<D>& disk,
                           std::uint32_t report_after_ms = default_report_after_ms,
                           Place where = Place::current()) {
  return detail::submit_and_wait(runtime, disk,
                                 [](OnEnd<Bio> on_end) { return Bio::flush(on_end); },
                                 {"mq::flush", report_after_ms, where});
}
/// Discards `length_bytes` from `sector` on, and waits.
template <Runtime Rt, class D>
[[nodiscard]] Status discard(Rt& runtime, Disk<D>& disk, std::uint64_t sector,
                             std::uint64_t length_bytes,
                             std::uint32_t report_after_ms = default_report_after_ms,
                             Place where = Place::current()) {
  return detail::submit_and_wait(
      runtime, disk, [&](OnEnd<Bio> on_end) { return Bio::discard(sector, length_bytes, on_end); },
      {"mq::discard", report_after_ms, where});
}
/// Writes zeroes to `length_bytes` from `sector` on, and waits.
template <Runtime Rt, class D>
[[nodiscard]] Status write_zeroes(Rt& runtime, Disk<D>& disk, std::uint64_t sector,
                                  std::uint64_t length_bytes,
                                  std::uint32_t report_after_ms = default_report_after_ms,
                                  Place where = Place::current()) {
  return detail::submit_and_wait(
      runtime, disk,
      [&](OnEnd<Bio> on_end) { return Bio::write_zeroes(sector, length_bytes, on_end); },
      {"mq::write_zeroes", report_after_ms, where});
}

/// Appends `memory` to the zone that begins at `zone_sector`, and waits. Returns the first sector
/// written, or the bio's status.
template <Runtime Rt, class D>
[[nodiscard]] std::expected<std::uint64_t, Status> zone_append(
    Rt& runtime, Disk<D>& disk, std::uint64_t zone_sector, std::span<const std::byte> memory,
    IoFlags flags = {}, std::uint32_t report_after_ms = default_report_after_ms,
    Place where = Place::current()) {
  auto* const data = const_cast<std::byte*>(memory.data());  // as in write()
  const Segment segment{data, memory.size()};
  const Bio bio =
      detail::end_of(runtime, disk,
                     [&](OnEnd<Bio> on_end) {
                       return Bio::zone_append(zone_sector, std::span{&segment, 1}, on_end, flags);
                     },
                     {"mq::zone_append", report_after_ms, where});
  if (bio.status() != Status::ok) return std::unexpected(bio.status());
  return bio.written_sector();
}
/// Opens, closes, finishes or resets the zone that begins at `zone_sector`, or resets all zones,
/// and waits.
/// Precondition: is_zone_management(op).
template <Runtime Rt, class D>
[[nodiscard]] Status zone(Rt& runtime, Disk<D>& disk, Op op, std::uint64_t zone_sector,
                          std::uint32_t report_after_ms = default_report_after_ms,
                          Place where = Place::current()) {
  return detail::submit_and_wait(
      runtime, disk, [&](OnEnd<Bio> on_end) { return Bio::zone(op, zone_sector, on_end); },
      {"mq::zone", report_after_ms, where});
}

/// Starts an operation with `start(Control&)`, and waits until the operation is done. Returns the
/// operation's status. Makes no report, because it knows no disk.
/// Precondition: as for submit_and_wait.
/// Violation: wrong_context, as for submit_and_wait. A disk on another runtime is not seen.
/// Context: may sleep.
template <Runtime Rt, class Start>
[[nodiscard]] Status run_and_wait(Rt& runtime, Start start, Place where = Place::current()) {
  detail::check_may_wait(runtime, "mq::run_and_wait", where);
  detail::ControlEnd end;
  Control control{{&detail::ControlEnd::on_end, &end}};
  start(control);
  static_cast<void>(runtime.wait_for(end.happened));
  return end.status;
}
/// The same for an operation on `disk`, with the report of submit_and_wait.
template <Runtime Rt, class D, class Start>
[[nodiscard]] Status run_and_wait(Rt& runtime, Disk<D>& disk, Start start,
                                  std::uint32_t report_after_ms = default_report_after_ms,
                                  Place where = Place::current()) {
  return detail::run_and_wait(runtime, disk, start, {"mq::run_and_wait", report_after_ms, where});
}

/// Removes a disk, and waits until its last I/O has ended. The disk may be destroyed afterwards.
/// The labels of submit_and_wait apply.
template <Runtime Rt, class D>
[[nodiscard]] Status remove(Rt& runtime, Disk<D>& disk,
                            std::uint32_t report_after_ms = default_report_after_ms,
                            Place where = Place::current()) {
  return detail::run_and_wait(runtime, disk, [&](Control& control) { disk.remove(control); },
                              {"mq::remove", report_after_ms, where});
}

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
