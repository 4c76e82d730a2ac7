// SPDX-License-Identifier: BSL-1.0
//
// I/O and operations that wait for their end, for tools, tests and start-up code.

#ifndef BLKOWN_MQ_SYNC_HPP
#define BLKOWN_MQ_SYNC_HPP

#include <blkown/config.hpp>
#include <blkown/mq/bio.hpp>
#include <blkown/mq/context.hpp>
#include <blkown/mq/control.hpp>
#include <blkown/mq/disk.hpp>
#include <blkown/mq/on_end.hpp>
#include <blkown/mq/op.hpp>
#include <blkown/mq/runtime.hpp>
#include <blkown/segment.hpp>
#include <blkown/status.hpp>
#include <cstddef>
#include <cstdint>
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

}  // namespace detail

/// Submits the bio that `make(on_end)` returns on the runtime's first context, and waits for its
/// end. Returns the bio's status.
/// Precondition: the caller runs on none of the runtime's contexts.
/// Violation: the runtime has nothing left to run before the bio has ended.
/// Context: may sleep.
template <Runtime Rt, class D, class Make>
[[nodiscard]] Status submit_and_wait(Rt& runtime, Disk<D>& disk, Make make) {
  Event ended;
  Bio bio = make(OnEnd<Bio>{&detail::set_event, &ended});
  detail::Submission<D> submission{disk, bio};
  runtime.context(0).post(submission);
  static_cast<void>(runtime.wait_for(ended));
  return bio.status();
}

/// Reads from `sector` on into `memory`, and waits. The labels of submit_and_wait apply to this
/// function and to the functions below.
template <Runtime Rt, class D>
[[nodiscard]] Status read(Rt& runtime, Disk<D>& disk, std::uint64_t sector,
                          std::span<std::byte> memory) {
  return submit_and_wait(runtime, disk, [&](OnEnd<Bio> on_end) {
    return Bio::read(sector, Segment{memory.data(), memory.size()}, on_end);
  });
}
/// Writes `memory` from `sector` on, and waits. With flags.fua the data is durable on return.
template <Runtime Rt, class D>
[[nodiscard]] Status write(Rt& runtime, Disk<D>& disk, std::uint64_t sector,
                           std::span<const std::byte> memory, IoFlags flags = {}) {
  return submit_and_wait(runtime, disk, [&](OnEnd<Bio> on_end) {
    // A Segment serves both directions, so its memory is not const. A write does not change the
    // memory.
    auto* const data = const_cast<std::byte*>(memory.data());
    return Bio::write(sector, Segment{data, memory.size()}, on_end, flags);
  });
}
/// Makes all writes that ended before this call durable, and waits.
template <Runtime Rt, class D>
[[nodiscard]] Status flush(Rt& runtime, Disk<D>& disk) {
  return submit_and_wait(runtime, disk, [](OnEnd<Bio> on_end) { return Bio::flush(on_end); });
}
/// Discards `length_bytes` from `sector` on, and waits.
template <Runtime Rt, class D>
[[nodiscard]] Status discard(Rt& runtime, Disk<D>& disk, std::uint64_t sector,
                             std::uint64_t length_bytes) {
  return submit_and_wait(
      runtime, disk, [&](OnEnd<Bio> on_end) { return Bio::discard(sector, length_bytes, on_end); });
}
/// Writes zeroes to `length_bytes` from `sector` on, and waits.
template <Runtime Rt, class D>
[[nodiscard]] Status write_zeroes(Rt& runtime, Disk<D>& disk, std::uint64_t sector,
                                  std::uint64_t length_bytes) {
  return submit_and_wait(runtime, disk, [&](OnEnd<Bio> on_end) {
    return Bio::write_zeroes(sector, length_bytes, on_end);
  });
}

/// Starts an operation on a disk with `start(Control&)`, and waits until the operation is done.
/// Returns the operation's status.
/// Precondition: the caller runs on none of the runtime's contexts.
/// Violation: the runtime has nothing left to run before the operation is done.
/// Context: may sleep.
template <Runtime Rt, class Start>
[[nodiscard]] Status run_and_wait(Rt& runtime, Start start) {
  struct Done {
    Event happened;
    Status status = Status::ok;
  } done;
  Control control{{[](void* its, Control& ended) {
                     auto& result = *static_cast<Done*>(its);
                     result.status = ended.status();
                     result.happened.set();
                   },
                   &done}};
  start(control);
  static_cast<void>(runtime.wait_for(done.happened));
  return done.status;
}

/// Removes a disk, and waits until its last I/O has ended. The disk may be destroyed afterwards.
/// The labels of run_and_wait apply.
template <Runtime Rt, class D>
[[nodiscard]] Status remove(Rt& runtime, Disk<D>& disk) {
  return run_and_wait(runtime, [&](Control& control) { disk.remove(control); });
}

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
