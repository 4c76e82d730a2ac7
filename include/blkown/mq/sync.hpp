// SPDX-License-Identifier: BSL-1.0
//
// I/O and operations that return when they are done, for tools, tests and start-up code.

#ifndef BLKOWN_MQ_SYNC_HPP
#define BLKOWN_MQ_SYNC_HPP

#include <blkown/config.hpp>
#include <blkown/mq/bio.hpp>
#include <blkown/mq/context.hpp>
#include <blkown/mq/control.hpp>
#include <blkown/mq/disk.hpp>
#include <blkown/mq/on_end.hpp>
#include <blkown/mq/runtime.hpp>
#include <blkown/segment.hpp>
#include <blkown/status.hpp>
#include <cstddef>
#include <span>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

namespace detail {

/// Submits a bio on a context from wherever the caller is.
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

inline void set_event(void* event, Bio&) { static_cast<Event*>(event)->set(); }

}  // namespace detail

/// Submits the bio that `make(on_end)` returns on the runtime's first context, and waits for
/// its end.
/// Violation: the runtime has nothing left to run, so that it never ends (the bio is in flight).
/// Precondition: the caller is on none of the runtime's contexts.
template <Runtime Rt, class D, class Make>
[[nodiscard]] Status submit_and_wait(Rt& runtime, Disk<D>& disk, Make make) {
  Event ended;
  Bio bio = make(OnEnd<Bio>{&detail::set_event, &ended});
  detail::Submission<D> submission{disk, bio};
  runtime.context(0).post(submission);
  static_cast<void>(runtime.wait_for(ended));
  return bio.status();
}

/// Fills `memory` from the sector on. Preconditions as above, for all that follow.
template <Runtime Rt, class D>
[[nodiscard]] Status read(Rt& runtime, Disk<D>& disk, std::uint64_t sector,
                          std::span<std::byte> memory) {
  return submit_and_wait(runtime, disk, [&](OnEnd<Bio> on_end) {
    return Bio::read(sector, Segment{memory.data(), memory.size()}, on_end);
  });
}
/// Writes `memory` from the sector on; durable when it returns if flags.fua is set.
template <Runtime Rt, class D>
[[nodiscard]] Status write(Rt& runtime, Disk<D>& disk, std::uint64_t sector,
                           std::span<const std::byte> memory, IoFlags flags = {}) {
  return submit_and_wait(runtime, disk, [&](OnEnd<Bio> on_end) {
    // A device reads what is written to it; the type serves both directions.
    auto* const data = const_cast<std::byte*>(memory.data());
    return Bio::write(sector, Segment{data, memory.size()}, on_end, flags);
  });
}
template <Runtime Rt, class D>
[[nodiscard]] Status flush(Rt& runtime, Disk<D>& disk) {
  return submit_and_wait(runtime, disk, [](OnEnd<Bio> on_end) { return Bio::flush(on_end); });
}
template <Runtime Rt, class D>
[[nodiscard]] Status discard(Rt& runtime, Disk<D>& disk, std::uint64_t sector,
                             std::uint64_t length_bytes) {
  return submit_and_wait(
      runtime, disk, [&](OnEnd<Bio> on_end) { return Bio::discard(sector, length_bytes, on_end); });
}
template <Runtime Rt, class D>
[[nodiscard]] Status write_zeroes(Rt& runtime, Disk<D>& disk, std::uint64_t sector,
                                  std::uint64_t length_bytes) {
  return submit_and_wait(runtime, disk, [&](OnEnd<Bio> on_end) {
    return Bio::write_zeroes(sector, length_bytes, on_end);
  });
}

/// Starts an operation on a disk, `start(Control&)`, and waits until it is done. Its status.
/// Violation: as above.
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

/// Takes a disk down and waits until its last I/O has ended; then it may be destroyed.
template <Runtime Rt, class D>
[[nodiscard]] Status remove(Rt& runtime, Disk<D>& disk) {
  return run_and_wait(runtime, [&](Control& control) { disk.remove(control); });
}

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
