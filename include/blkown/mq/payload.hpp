// SPDX-License-Identifier: BSL-1.0
//
// What a request of the block layer carries: which blocks, which memory, and the driver's own data.

#ifndef BLKOWN_MQ_PAYLOAD_HPP
#define BLKOWN_MQ_PAYLOAD_HPP

#include <blkown/config.hpp>
#include <blkown/mq/bio.hpp>
#include <blkown/mq/detail/fwd.hpp>
#include <blkown/mq/detail/relaxed.hpp>
#include <blkown/mq/detail/split.hpp>
#include <blkown/mq/on_end.hpp>
#include <blkown/mq/op.hpp>
#include <blkown/request.hpp>
#include <blkown/status.hpp>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

/// The data of an mq::Request<D>: one part of a bio (the whole of it, if it obeys the limits), or a
/// command of the driver's own. Reached through a handle, like any request's data.
template <class D>
class Payload {
 public:
  [[nodiscard]] Op op() const noexcept { return op_; }
  /// Of the bio's flags those that the device is to follow: what it cannot do natively (FUA) and
  /// what is done by other requests (preflush) is not among them.
  [[nodiscard]] IoFlags flags() const noexcept { return flags_; }
  /// The first sector (of 512 bytes, whatever the block size).
  [[nodiscard]] std::uint64_t sector() const noexcept { return sector_; }
  [[nodiscard]] std::uint64_t length_bytes() const noexcept { return length_bytes_; }
  /// The submitter's memory, in pieces that obey the disk's limits. Empty where no data moves.
  /// It may be read and written while a handle holds the request, or the device has it.
  [[nodiscard]] RequestSegments segments() const noexcept { return segments_; }
  /// Whether the driver submitted it itself (Op::driver_in, Op::driver_out).
  [[nodiscard]] bool is_private() const noexcept { return bio_ == nullptr; }
  /// The status that a private request ended with. Precondition: its OnEnd is being called.
  [[nodiscard]] Status status() const noexcept { return status_; }
  /// The hardware queue that it is issued on. With shared tags this is not the tag's queue.
  [[nodiscard]] HwQueue<D>& hw_queue() const noexcept { return *hw_queue_; }

  /// Where a zone_append has gone: the driver says so before it ends the request, and the bio's
  /// submitter reads it from Bio::sector.
  void set_written_sector(std::uint64_t sector) noexcept { written_sector_ = sector; }

  /// The driver's own; built once, not reset between I/Os.
  typename D::RequestData driver_data{};

 private:
  friend struct detail::PayloadAccess<D>;

  Bio* bio_ = nullptr;
  detail::SubmitQueue<D>* submitter_ = nullptr;
  HwQueue<D>* hw_queue_ = nullptr;
  std::uint64_t sector_ = 0;
  std::uint64_t length_bytes_ = 0;
  // Not in sector_'s place, which whoever holds a pin may be reading for a table.
  std::uint64_t written_sector_ = 0;
  RequestSegments segments_;
  OnEnd<Payload> on_private_end_;
  std::uint32_t timeout_ms_ = 0;  // 0: the disk's
  // Milliseconds of the submitting context's clock, 0 until a scan has seen the request in flight.
  // Atomic, because a request that a scan has pinned can be published anew meanwhile.
  detail::RelaxedTime deadline_ms_;
  Op op_ = Op::read;
  IoFlags flags_;
  Status status_ = Status::ok;  // of a private request that has ended
  bool needs_no_kick_ = false;  // requeued because it was not taken, not because it shall wait
  // Of the Claim on its way to the submitting context.
  blkown::detail::ClaimOrigin claim_origin_{};
};

/// A request of the block layer for the driver D.
template <class D>
using Request = blkown::Request<Payload<D>>;

namespace detail {

template <class D>
struct PayloadAccess {
  using P = Payload<D>;

  static Bio*& bio(P& payload) noexcept { return payload.bio_; }
  static SubmitQueue<D>*& submitter(P& payload) noexcept { return payload.submitter_; }
  static HwQueue<D>*& hw_queue(P& payload) noexcept { return payload.hw_queue_; }
  static std::uint32_t& timeout_ms(P& payload) noexcept { return payload.timeout_ms_; }
  static auto& claim_origin(P& payload) noexcept { return payload.claim_origin_; }
  static bool& needs_no_kick(P& payload) noexcept { return payload.needs_no_kick_; }
  static std::uint64_t written_sector(P& payload) noexcept { return payload.written_sector_; }
  static auto& deadline_ms(P& payload) noexcept { return payload.deadline_ms_; }
  /// Fills in a table's row. Precondition: the request is pinned.
  template <class R, class Row>
  static void describe(R& request, std::uint32_t timeout_ms, std::uint64_t now_ns,
                       Row& row) noexcept {
    P& payload = RequestTraits<R>::data(request);
    row.is_known = true;
    row.op = payload.op_;
    row.sector = payload.sector_;
    row.length_bytes = payload.length_bytes_;
    const std::uint32_t due_ms = payload.deadline_ms_.read_ms();
    const std::uint32_t allowed_ms = payload.timeout_ms_ != 0 ? payload.timeout_ms_ : timeout_ms;
    const auto now_ms = static_cast<std::uint32_t>(now_ns / 1'000'000);
    const auto left_ms = static_cast<std::int32_t>(due_ms - now_ms);
    if (due_ms == 0) return;
    row.has_age = true;
    row.age_ms = static_cast<std::uint32_t>(static_cast<std::int32_t>(allowed_ms) - left_ms);
  }
  static void end_private(P& payload, Status status) noexcept {
    payload.status_ = status;
    payload.on_private_end_(payload);
  }
  static void set_private_end(P& payload, OnEnd<P> on_end) noexcept {
    payload.on_private_end_ = on_end;
  }
  static void set_range(P& payload, Op op, IoFlags flags, std::uint64_t sector,
                        std::uint64_t length_bytes, RequestSegments segments) noexcept {
    payload.op_ = op;
    payload.flags_ = flags;
    payload.sector_ = sector;
    payload.written_sector_ = sector;
    payload.length_bytes_ = length_bytes;
    payload.segments_ = segments;
  }
};

}  // namespace detail

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
