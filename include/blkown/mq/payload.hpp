// SPDX-License-Identifier: BSL-1.0
//
// Payload: the data of a block layer's request: blocks, memory, and the driver's own data.

#ifndef BLKOWN_MQ_PAYLOAD_HPP
#define BLKOWN_MQ_PAYLOAD_HPP

#include <blkown/claim.hpp>
#include <blkown/config.hpp>
#include <blkown/detail/handle_base.hpp>
#include <blkown/detail/poison.hpp>
#include <blkown/ended.hpp>
#include <blkown/idle.hpp>
#include <blkown/mq/bio.hpp>
#include <blkown/mq/detail/fwd.hpp>
#include <blkown/mq/detail/rare_state.hpp>
#include <blkown/mq/detail/relaxed.hpp>
#include <blkown/mq/op.hpp>
#include <blkown/mq/segments.hpp>
#include <blkown/owned.hpp>
#include <blkown/place.hpp>
#include <blkown/request.hpp>
#include <blkown/status.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

template <class D>
class Payload;

namespace detail {

/// What has become of an I/O since it got its tag. One byte, which one store clears.
struct IssueMarks {
  bool was_accepted : 1 = false;  // at least one issue was, and the driver has requeued the request
  bool is_remapped : 1 = false;   // set_sector() has changed the sector
};

/// The block layer's part of a Payload.
template <class D>
struct PayloadState {
  Bio* bio = nullptr;  // null: a private request
  SubmitQueue<D>* submitter = nullptr;
  // Of a request that Issuer::issue_whole or issue_whole_ones has issued: the lane that its tag
  // came from. Else null. Such a request is its bio's only one, and is not traced. A requeue clears
  // the member. The end does not: each function that gives the request another I/O sets it.
  Lane<D>* whole_lane = nullptr;
  // With 8 bytes of the driver's data or none, what is above is in the header's cache line, and a
  // completion that reads none of what follows touches one line of the request.
  HwQueue<D>* hw_queue = nullptr;
  std::uint64_t sector = 0;
  Word sequence = 0;               // numbers the context's first issues (issue_order.hpp)
  std::uint64_t length_bytes = 0;  // not beside `sector`: compilers join such stores by a detour
  // The memory, if the operation has data. Its length is that of the range. The next members use
  // the bytes behind its last one.
  [[no_unique_address]] RequestSegments::Begin memory;
  // Whether a timeout scan has seen the request in flight since it was issued. Atomic, because
  // another context may print the request.
  RelaxedFlag is_seen;
  IssueMarks marks;
  Op op = Op::read;
  IoFlags flags;
  // Of the Claim that is on its way to the submitting context.
  blkown::detail::ClaimOrigin claim_origin{};
  Status status = Status::ok;    // of a private request that has ended
  bool was_refused : 1 = false;  // requeued because it was not sent, or refused as busy
  bool is_reserved : 1 = false;  // of a private request: it has a reserved tag
  bool has_rest : 1 = false;     // the limits have changed, and a rest is issued after the range
  // With 8 bytes of the driver's data or none, the request is two cache lines, and with 72 three.
  // What is used less is in RareState.

  /// Whether the request is issued while the disk is quiesced.
  [[nodiscard]] bool is_urgent() const noexcept { return bio == nullptr && is_reserved; }

  // `rare`: the same request's.

  /// The length of the rest that is issued, with the same tag, after the range has ended.
  [[nodiscard]] std::uint64_t rest_bytes(const RareState<D>& rare) const noexcept {
    return has_rest ? rare.rest_bytes : 0;
  }
  void set_rest(RareState<D>& rare, std::uint64_t bytes) noexcept {
    has_rest = bytes != 0;
    rare.rest_bytes = bytes;
  }

  /// Changes the sector for the driver, once or several times.
  void remap(RareState<D>& rare, std::uint64_t to) noexcept {
    if (bio != nullptr && !marks.is_remapped) {
      std::construct_at(&rare.bio_sector, sector);
      marks.is_remapped = true;
    }
    sector = to;
  }
  /// Undoes remap().
  void end_remap(const RareState<D>& rare) noexcept {
    if (!marks.is_remapped) [[likely]]
      return;
    sector = rare.bio_sector;
    marks.is_remapped = false;
  }

  /// The first sector that the bio's zone_append has written. Stored in the bio and not in
  /// `sector`, which another context may be reading with a pin.
  void set_written_sector(std::uint64_t written) noexcept {
    if (op == Op::zone_append && bio != nullptr) BioAccess::progress(*bio).written_sector = written;
  }

  /// Takes the I/O of a request that waits to be issued again, so that its sector is not remapped
  /// and it is not whole, whatever this request has carried before. Not what is in RareState.
  void take_over(const PayloadState& from) noexcept {
    bio = from.bio;
    submitter = from.submitter;
    hw_queue = from.hw_queue;
    whole_lane = nullptr;
    is_reserved = from.is_reserved;
    has_rest = from.has_rest;
    marks = from.marks;
    sequence = from.sequence;
    set_range(from.op, from.flags, from.sector, from.length_bytes, from.memory);
  }

  void set_range(Op its_op, IoFlags its_flags, std::uint64_t its_sector,
                 std::uint64_t its_length_bytes, RequestSegments::Begin its_memory) noexcept {
    op = its_op;
    flags = its_flags;
    sector = its_sector;
    length_bytes = its_length_bytes;
    memory = its_memory;
  }
};

}  // namespace detail

/// The data of an mq::Request<D>: one part of a bio, which is the whole bio if it keeps the limits,
/// or one private request of the driver. A driver accesses the payload through a handle, like any
/// request's data.
template <class D>
class Payload {
 public:
  /// The operation.
  [[nodiscard]] Op op() const noexcept { return state_.op; }
  /// The bio's flags that the device must follow. FUA is cleared if the device does not support
  /// FUA, and preflush is always cleared. If the disk has a write cache, the block layer issues
  /// flush requests in place of the cleared flags.
  [[nodiscard]] IoFlags flags() const noexcept { return state_.flags; }
  /// The first sector, in units of 512 bytes whatever the block size.
  [[nodiscard]] std::uint64_t sector() const noexcept { return state_.sector; }
  /// The length of the range. 0 for a flush and for operations on zones.
  [[nodiscard]] std::uint64_t length_bytes() const noexcept { return state_.length_bytes; }
  /// The submitter's memory, in pieces that keep the disk's limits; empty if the operation moves no
  /// data. The memory is valid while a handle holds the request or the device has it.
  [[nodiscard]] RequestSegments segments() const noexcept {
    return {state_.memory, has_data(state_.op) ? state_.length_bytes : 0};
  }
  /// Whether the driver submitted the request itself (Op::driver_in, Op::driver_out).
  [[nodiscard]] bool is_private() const noexcept { return state_.bio == nullptr; }
  /// The status that a private request ended with.
  /// Precondition: the request's end callback is running.
  [[nodiscard]] Status status() const noexcept { return state_.status; }
  /// The hardware queue that the request is issued on. With shared tags its index differs from the
  /// tag's queue.
  [[nodiscard]] HwQueue<D>& hw_queue() const noexcept { return *state_.hw_queue; }

  /// Reports the first sector that a zone_append has written, for Bio::written_sector.
  /// Precondition: the driver has not ended the request. A report through a reference that the
  /// driver kept after the end writes into the submitter's bio.
  /// Effects: a requeue discards the report. Without a report, Bio::written_sector is the target.
  /// Other operations ignore the report.
  void set_written_sector(std::uint64_t sector) noexcept { state_.set_written_sector(sector); }

  /// The driver's data. Constructed once, and not reset between I/Os.
  typename D::RequestData driver_data{};

 private:
  friend struct detail::PayloadAccess<D>;

  detail::PayloadState<D> state_;
};

/// A request of the block layer for the driver D.
template <class D>
using Request = blkown::Request<Payload<D>>;

namespace detail {

/// The block layer's access to a payload.
template <class D>
struct PayloadAccess {
  [[nodiscard]] static PayloadState<D>& state(Payload<D>& payload) noexcept {
    return payload.state_;
  }
};

/// Deduces D.
template <class D>
[[nodiscard]] PayloadState<D>& state_of(Payload<D>& payload) noexcept {
  return PayloadAccess<D>::state(payload);
}

/// Changes the sector of the request that the Idle or Owned holds.
template <class Handle>
void remap(const Handle& handle, const Place& where, std::uint64_t sector) noexcept {
  auto& payload = handle.data(where);
  const auto& pool = payload.hw_queue().pool();
  state_of(payload).remap(pool.rare_states().of(handle.queue(), handle.tag()), sector);
}

/// Brings an ended request back to the SubmitQueue that issued it, on any thread.
template <class D>
[[gnu::noinline]] void take_ended(Request<D>& request) noexcept;  // in submit_queue.hpp

}  // namespace detail

/// Changes the sector of a request for its device: the place of a partition, or a spare sector in
/// place of a bad one.
/// Effects: Payload::sector() is `sector` until the request ends or is requeued. A request that is
/// issued again has the bio's sector, so that queue_rq maps each issue in the same way. The bio's
/// own sectors do not change: a zone_append reports its result on the bio's side of the map. A
/// private request, which has no sector of its own, keeps the value.
/// Precondition: the request is not left in an IdleList, because queue_rq gets it as it is then.
/// Source: the kernel's request::__sector, as Linux's Rust drivers set it.
template <class D>
void set_sector(const Idle<blkown::Request<Payload<D>>>& idle, std::uint64_t sector,
                Place where = Place::current()) noexcept {
  detail::remap(idle, where, sector);
}
/// The same for a request that was started.
template <class D>
void set_sector(const Owned<blkown::Request<Payload<D>>>& owned, std::uint64_t sector,
                Place where = Place::current()) noexcept {
  detail::remap(owned, where, sector);
}
/// Deleted: while a Claim exists, others may hold pins, and a table of the requests in flight reads
/// the sector.
template <class D>
void set_sector(const Claim<blkown::Request<Payload<D>>>&, std::uint64_t, Place = {}) = delete;

}  // namespace mq

namespace detail {

/// The sink of TagPool, which makes every TagSet of these requests: brings each ended request to
/// the SubmitQueue that issued it.
template <class D>
struct FixedSink<mq::Request<D>> {
  static void take(mq::Request<D>& request) noexcept { mq::detail::take_ended(request); }
  void operator()(EndedList<mq::Request<D>>&& list) const {
    while (auto ended = list.pop_front()) take(*HandleAccess::take(*ended));
  }
};

/// Of a payload, the driver's data. The block layer's part is used in every state.
template <class D>
struct PoisonedPart<mq::Payload<D>> {
  [[nodiscard]] static std::span<std::byte> of(mq::Payload<D>& payload) noexcept {
    auto* const begin = reinterpret_cast<std::byte*>(&payload.driver_data);
    auto* const end = reinterpret_cast<std::byte*>(&mq::detail::state_of(payload));
    return {begin, end};
  }
};

}  // namespace detail

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
